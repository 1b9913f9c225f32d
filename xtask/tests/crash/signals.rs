//! Semaphores and events: killed with a permit, while waiting for one, right after being woken, and at every point.

use mp::{Event, RawValue, Semaphore};
use mp_sys::testing::{Random, eventually, hang, kill, spawn};

use crate::cell::{HANG, Outcome, define_cells};
use crate::points::at_every_point;

/// A holder dies: its permit comes back to the next one.
fn semaphore_holder(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = Semaphore::new(1).unwrap();
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

/// A waiter dies: the permit goes to somebody else.
fn semaphore_waiter(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = Semaphore::new(1).unwrap();
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

/// Two wait; the permit is given back, and one of them is killed as it wakes up: the other one gets it.
fn semaphore_just_woken(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = Semaphore::new(1).unwrap();
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

/// Killed anywhere between taking and giving back: no permit is lost, and none is made.
fn semaphore_mid_acquire(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = Semaphore::new(3).unwrap();
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
    /// Takes all permits there should be, and one more.
    fn count_permits(&mut self, semaphore: &Semaphore, expected: usize) {
        let permits: Vec<_> = (0..=expected).map_while(|_| semaphore.try_acquire().ok()).collect();
        self.lost += u32::from(permits.len() < expected);
        self.duplicated += u32::from(permits.len() > expected);
    }
}

fn semaphore_every_point(_: u32) -> Outcome {
    let semaphore = Semaphore::new(1).unwrap();
    at_every_point(
        || {},
        || drop(semaphore.acquire()),
        |_| {
            let permit = semaphore.try_acquire();
            permit.is_ok() && semaphore.try_acquire().is_err()
        },
    )
}

/// A process that dies while it adds permits has added some of them, and no others are lost.
fn semaphore_every_point_of_add(_: u32) -> Outcome {
    let semaphore = Semaphore::new(0).unwrap();
    at_every_point(
        || {},
        || semaphore.add_permits(2).unwrap(),
        |survived| {
            let taken: Vec<_> = (0..5).map_while(|_| semaphore.try_acquire().ok()).collect();
            let count = taken.len();
            taken.into_iter().for_each(mp::Permit::forget);
            if survived { count == 2 } else { count <= 2 }
        },
    )
}

/// A waiter dies: `set` does not wait for it, and the others go on.
fn event_waiter(kills: u32) -> Outcome {
    event(kills, |random, event, victim| {
        random.pause(100_000);
        kill(victim);
        event.set();
    })
}

/// A waiter dies as it wakes up.
fn event_just_woken(kills: u32) -> Outcome {
    event(kills, |random, event, victim| {
        random.pause(100_000);
        event.set();
        random.pause(20_000);
        kill(victim);
    })
}

fn event(kills: u32, act: impl Fn(&mut Random, &Event, &mp_sys::child::ChildProcess)) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let event = Event::new().unwrap();
    for _ in 0..kills {
        event.clear();
        let waiting = RawValue::new(0_u32).unwrap();
        let wait = || {
            waiting.fetch_add(1);
            assert!(event.wait_timeout(HANG), "the event came");
        };
        let (victim, survivor) = (spawn(wait), spawn(wait));
        eventually("both are about to wait", || waiting.load() == 2);
        act(&mut random, &event, &victim);
        out.kills += 1;
        out.expect_end(&survivor);
    }
    out
}

define_cells! {
    SEMAPHORE_HOLDER: "semaphore", "holder", semaphore_holder;
    SEMAPHORE_WAITER: "semaphore", "waiter", semaphore_waiter;
    SEMAPHORE_JUST_WOKEN: "semaphore", "just_woken", semaphore_just_woken;
    SEMAPHORE_MID_ACQUIRE: "semaphore", "mid_acquire", semaphore_mid_acquire;
    SEMAPHORE_EVERY_POINT: "semaphore", "every_point_of_acquire", semaphore_every_point;
    SEMAPHORE_EVERY_POINT_OF_ADD: "semaphore", "every_point_of_add", semaphore_every_point_of_add;
    EVENT_WAITER: "event", "waiter", event_waiter;
    EVENT_JUST_WOKEN: "event", "just_woken", event_just_woken;
}
