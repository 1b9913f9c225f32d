//! Semaphores: processes are killed with a permit, while they wait for one, right after they were woken, and at every
//! point.

use std::cell::Cell;
use std::time::Duration;

use mp::{BoundedSemaphore, Permit, RawValue, Semaphore, SemaphoreError};
use mp_sys::child::Ended;
use mp_sys::testing::{Random, ended, eventually, hang};

use crate::cell::{HANG, Outcome, define_cells, is_asleep, spawn};
use crate::points::{at_every_point, at_every_point_with};

/// The common operations of both kinds of semaphores.
trait Permits {
    fn make(permits: usize) -> Self;
    fn acquire(&self) -> Permit<'_>;
    fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError>;
    fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError>;
}

macro_rules! permits {
    ($($semaphore:ty),*) => {$(
        impl Permits for $semaphore {
            fn make(permits: usize) -> Self {
                <$semaphore>::new(permits).unwrap()
            }

            fn acquire(&self) -> Permit<'_> {
                self.acquire()
            }

            fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
                self.acquire_timeout(timeout)
            }

            fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
                self.try_acquire()
            }
        }
    )*};
}

permits!(Semaphore, BoundedSemaphore);

/// A holder dies: the next process gets its permit.
fn holder<S: Permits>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = S::make(1);
    for _ in 0..kills {
        let holds = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            let _permit = semaphore.acquire();
            holds.store(true);
            hang();
        });
        eventually("the victim has the permit", || holds.load());
        random.pause(50_000);
        let next = out.recover(&victim, || semaphore.acquire_timeout(HANG));
        out.hangs += u32::from(next.is_err());
        drop(next);
        out.count_permits(&semaphore, 1);
    }
    out
}

/// A waiter dies: another process gets the permit.
fn waiter<S: Permits>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = S::make(1);
    for _ in 0..kills {
        let waits = RawValue::new(false).unwrap();
        let permit = semaphore.acquire();
        let victim = spawn(|| {
            waits.store(true);
            let _permit = semaphore.acquire();
            hang();
        });
        eventually("the victim is about to wait", || waits.load());
        random.pause(100_000);
        let next = out.recover(&victim, || {
            drop(permit);
            semaphore.acquire_timeout(HANG)
        });
        out.hangs += u32::from(next.is_err());
        drop(next);
        out.count_permits(&semaphore, 1);
    }
    out
}

/// Two processes wait. The permit is released, and one of them is killed as it wakes up: the other one gets the permit.
fn just_woken<S: Permits>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = S::make(1);
    for _ in 0..kills {
        let waiting = RawValue::new(0_u32).unwrap();
        let permit = semaphore.acquire();
        let wait = || {
            waiting.fetch_add(1);
            assert!(semaphore.acquire_timeout(HANG).is_ok(), "the permit came");
        };
        let (victim, survivor) = (spawn(wait), spawn(wait));
        eventually("both are about to wait", || waiting.load() == 2);
        random.pause(200_000);
        drop(permit);
        random.pause(20_000);
        out.recover(&victim, || {});
        out.recoveries.pop();
        out.expect_end(&survivor);
        out.count_permits(&semaphore, 1);
    }
    out
}

/// A process is killed anywhere between acquiring and releasing: no permit is lost, and none is made.
fn mid_acquire<S: Permits>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = S::make(3);
    for _ in 0..kills {
        let works = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            loop {
                let two = (semaphore.acquire(), semaphore.acquire());
                works.store(true);
                drop(two);
            }
        });
        eventually("the victim works", || works.load());
        random.pause(200_000);
        out.recover(&victim, || {});
        out.recoveries.pop();
        out.count_permits(&semaphore, 3);
    }
    out
}

impl Outcome {
    /// Takes all the permits that there should be, and one more.
    fn count_permits(&mut self, semaphore: &impl Permits, expected: usize) {
        let permits: Vec<_> = (0..=expected).map_while(|_| semaphore.try_acquire().ok()).collect();
        self.lost += u32::from(permits.len() < expected);
        self.duplicated += u32::from(permits.len() > expected);
    }
}

/// A process that dies at any point of acquiring has taken a permit, which comes back, or has taken none.
fn every_point_of_acquire(_: u32) -> Outcome {
    let semaphore = Semaphore::new(1).unwrap();
    at_every_point(|| {}, || drop(semaphore.acquire()), |_| has_one_permit(&semaphore))
}

/// A process that dies at any point of releasing has released the permit, or the permit comes back; the waiter gets it.
fn every_point_of_release(_: u32) -> Outcome {
    let semaphore = Semaphore::new(1).unwrap();
    let (held, waiter_id) = (RawValue::new(false).unwrap(), RawValue::new(0_u32).unwrap());
    let waiter = Cell::new(None);
    at_every_point_with(
        || {
            held.store(false);
            let child = spawn(|| {
                eventually("the victim has the permit", || held.load());
                drop(semaphore.acquire_timeout(HANG).unwrap());
            });
            waiter_id.store(child.id());
            waiter.set(Some(child));
        },
        || {
            let permit = semaphore.acquire();
            held.store(true);
            eventually("the next one sleeps", || is_asleep(waiter_id.load()));
            permit
        },
        drop,
        |_| ended(&waiter.take().unwrap()) == Ended::Exited(0) && has_one_permit(&semaphore),
    )
}

fn has_one_permit(semaphore: &Semaphore) -> bool {
    let permit = semaphore.try_acquire();
    permit.is_ok() && semaphore.try_acquire().is_err()
}

/// A process that dies while it adds permits has added some of them, and no others are lost.
fn every_point_of_add(_: u32) -> Outcome {
    let semaphore = Semaphore::new(0).unwrap();
    at_every_point(
        || {},
        || semaphore.add_permits(2).unwrap(),
        |survived| {
            let taken: Vec<_> = (0..5).map_while(|_| semaphore.try_acquire().ok()).collect();
            let count = taken.len();
            taken.into_iter().for_each(Permit::forget);
            if survived { count == 2 } else { count <= 2 }
        },
    )
}

define_cells! {
    HOLDER: "semaphore", "holder", holder::<Semaphore>;
    WAITER: "semaphore", "waiter", waiter::<Semaphore>;
    JUST_WOKEN: "semaphore", "just_woken", just_woken::<Semaphore>;
    MID_ACQUIRE: "semaphore", "mid_acquire", mid_acquire::<Semaphore>;
    EVERY_POINT_OF_ACQUIRE: "semaphore", "every_point_of_acquire", every_point_of_acquire;
    EVERY_POINT_OF_RELEASE: "semaphore", "every_point_of_release", every_point_of_release;
    EVERY_POINT_OF_ADD: "semaphore", "every_point_of_add", every_point_of_add;
    BOUNDED_HOLDER: "bounded_semaphore", "holder", holder::<BoundedSemaphore>;
    BOUNDED_WAITER: "bounded_semaphore", "waiter", waiter::<BoundedSemaphore>;
    BOUNDED_JUST_WOKEN: "bounded_semaphore", "just_woken", just_woken::<BoundedSemaphore>;
    BOUNDED_MID_ACQUIRE: "bounded_semaphore", "mid_acquire", mid_acquire::<BoundedSemaphore>;
}
