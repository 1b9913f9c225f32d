//! Locks of a manager.

use manager_rt::{Lock, LockError, LockResult, Manager, RLock};
use mp::RawValue;
use mp_sys::testing::{Random, eventually, hang};

use super::{MOMENT_MAX, until_held, until_waiting, with_manager};
use crate::cell::{HANG, Outcome, define_cells, spawn};

/// The common operations of both kinds.
trait Lockable {
    fn make(manager: &Manager) -> Self;
    /// Takes the lock and runs the body under it; returns whether the last holder died, or `None` after [`HANG`].
    fn under_lock(&self, body: impl FnOnce()) -> Option<bool>;
}

fn outcome<G>(taken: LockResult<G>, body: impl FnOnce()) -> Option<bool> {
    let (guard, owner_died) = match taken {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied(guard)) => (guard, true),
        Err(LockError::TimedOut) => return None,
        Err(other) => panic!("{other}"),
    };
    body();
    drop(guard);
    Some(owner_died)
}

impl Lockable for Lock {
    fn make(manager: &Manager) -> Self {
        manager.lock().unwrap()
    }

    fn under_lock(&self, body: impl FnOnce()) -> Option<bool> {
        outcome(self.lock_timeout(HANG), body)
    }
}

impl Lockable for RLock {
    fn make(manager: &Manager) -> Self {
        manager.rlock().unwrap()
    }

    /// The lock is held twice.
    fn under_lock(&self, body: impl FnOnce()) -> Option<bool> {
        outcome(self.lock_timeout(HANG), || {
            let _inner = self.lock().unwrap();
            body();
        })
    }
}

/// The holder dies: the next locker gets the lock at once, and learns of the death.
fn holder<L: Lockable>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (lock, mut random) = (L::make(manager), Random::new());
        for _ in 0..kills {
            let holds = RawValue::new(false).unwrap();
            let work = || {
                holds.store(true);
                hang();
            };
            let victim = spawn(|| assert!(lock.under_lock(work).is_some()));
            until_held(manager, 1);
            // Nobody learns of the death of a process that did not know yet that it had the lock.
            eventually("the victim has the lock", || holds.load());
            random.pause(MOMENT_MAX);
            match out.recover(&victim, || lock.under_lock(|| {})) {
                Some(true) => {}
                Some(false) => out.torn += 1,
                None => out.hangs += 1,
            }
        }
    })
}

/// A waiter dies: the next one gets the lock, and no death is reported.
fn waiter<L: Lockable>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (lock, mut random) = (L::make(manager), Random::new());
        for _ in 0..kills {
            let mut next = None;
            let told = lock.under_lock(|| {
                let victim = spawn(|| assert!(lock.under_lock(|| {}).is_some()));
                until_waiting(manager, 1);
                next = Some(spawn(|| assert_eq!(lock.under_lock(|| {}), Some(false))));
                until_waiting(manager, 2);
                random.pause(MOMENT_MAX);
                out.recover(&victim, || until_waiting(manager, 1));
            });
            out.hangs += u32::from(told.is_none());
            out.torn += u32::from(told == Some(true));
            out.expect_end(&next.unwrap());
        }
    })
}

/// Two clients wait. The lock is released, and the first one is killed as it gets it: the other one gets the lock.
fn just_woken<L: Lockable>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (lock, mut random) = (L::make(manager), Random::new());
        for _ in 0..kills {
            let mut both = None;
            let _told = lock.under_lock(|| {
                let wait = || assert!(lock.under_lock(|| {}).is_some());
                let victim = spawn(wait);
                until_waiting(manager, 1);
                both = Some((victim, spawn(wait)));
                until_waiting(manager, 2);
            });
            let (victim, survivor) = both.unwrap();
            random.pause(150_000);
            out.recover(&victim, || {});
            out.recoveries.pop();
            out.expect_end(&survivor);
        }
    })
}

/// A client dies anywhere between two calls or in one: the next locker learns of what was left half done.
fn mid_call<L: Lockable>(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (lock, mut random) = (L::make(manager), Random::new());
        let halves = [RawValue::new(0_u64).unwrap(), RawValue::new(0_u64).unwrap()];
        for _ in 0..kills {
            let start = halves[0].load();
            let victim = spawn(|| {
                let mut random = Random::new();
                loop {
                    lock.under_lock(|| {
                        halves[0].fetch_add(1);
                        random.pause(50_000);
                        halves[1].fetch_add(1);
                    });
                }
            });
            eventually("the victim works", || halves[0].load() > start);
            random.pause(MOMENT_MAX);
            let mut is_half = false;
            let told = out.recover(&victim, || {
                lock.under_lock(|| {
                    is_half = halves[0].load() != halves[1].load();
                    halves[1].store(halves[0].load());
                })
            });
            out.hangs += u32::from(told.is_none());
            out.torn += u32::from(is_half && told == Some(false));
        }
    })
}

define_cells! {
    LOCK_HOLDER: "manager_lock", "holder", holder::<Lock>;
    LOCK_WAITER: "manager_lock", "waiter", waiter::<Lock>;
    LOCK_JUST_WOKEN: "manager_lock", "just_woken", just_woken::<Lock>;
    LOCK_MID_CALL: "manager_lock", "mid_call", mid_call::<Lock>;
    RLOCK_HOLDER: "manager_rlock", "holder", holder::<RLock>;
    RLOCK_WAITER: "manager_rlock", "waiter", waiter::<RLock>;
    RLOCK_JUST_WOKEN: "manager_rlock", "just_woken", just_woken::<RLock>;
    RLOCK_MID_CALL: "manager_rlock", "mid_call", mid_call::<RLock>;
}
