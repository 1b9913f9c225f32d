//! Processes are killed while they hold a lock, while they wait for it, right after they were woken, and at every point
//! of taking it.

use mp::{Array, Lock, LockError, RLock, RawValue, Value};
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::testing::{Random, ended, eventually, hang, kill};

use crate::cell::{HANG, Outcome, define_cells, spawn};
use crate::points::at_every_point;

/// The common operations of the three objects with a lock.
trait Lockable {
    fn make() -> Self;
    /// Takes the lock and runs the body under it; returns whether the lock was poisoned, or `None` after [`HANG`].
    fn under_lock(&self, body: impl FnOnce()) -> Option<bool>;
    fn clear(&self);
}

fn outcome<G>(taken: Result<G, LockError<G>>, body: impl FnOnce()) -> Option<bool> {
    let (guard, poisoned) = match taken {
        Ok(guard) => (guard, false),
        Err(LockError::Poisoned(guard)) => (guard, true),
        Err(LockError::TimedOut) => return None,
        Err(other) => panic!("{other}"),
    };
    body();
    drop(guard);
    Some(poisoned)
}

macro_rules! lockable {
    ($($object:ty: $make:expr;)*) => {$(
        impl Lockable for $object {
            fn make() -> Self {
                $make.unwrap()
            }

            fn under_lock(&self, body: impl FnOnce()) -> Option<bool> {
                outcome(self.lock_timeout(HANG), body)
            }

            fn clear(&self) {
                self.clear_poison();
            }
        }
    )*};
}

lockable! {
    Lock: Lock::new();
    RLock: RLock::new();
    Value<[u64; 2]>: Value::new([0; 2]);
    Array<u64>: Array::zeroed(8);
}

/// The holder dies: the next locker gets the lock at once, with the poison.
fn holder<L: Lockable>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let lock = L::make();
    let mut random = Random::new();
    for _ in 0..kills {
        let held = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            lock.under_lock(|| {
                held.store(true);
                hang();
            });
        });
        eventually("the victim holds the lock", || held.load());
        random.pause(50_000);
        match out.recover(&victim, || lock.under_lock(|| {})) {
            Some(true) => {}
            // The death was not reported, so half changed data would go unnoticed.
            Some(false) => out.torn += 1,
            None => out.hangs += 1,
        }
        lock.clear();
    }
    out
}

/// A waiter dies: the next locker gets the lock when it is released, without poison.
fn waiter<L: Lockable>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let lock = L::make();
    let mut random = Random::new();
    for _ in 0..kills {
        let step = RawValue::new(0_u32).unwrap();
        let holder = spawn(|| {
            let poisoned = lock.under_lock(|| {
                step.store(1);
                eventually("the victim is dead", || step.load() == 2);
            });
            assert_eq!(poisoned, Some(false));
        });
        eventually("the holder holds the lock", || step.load() == 1);
        let waits = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            waits.store(true);
            lock.under_lock(|| {});
        });
        eventually("the victim is about to wait", || waits.load());
        random.pause(100_000);
        let poisoned = out.recover(&victim, || {
            step.store(2);
            lock.under_lock(|| {})
        });
        out.hangs += u32::from(poisoned.is_none());
        out.torn += u32::from(poisoned == Some(true));
        out.expect_end(&holder);
    }
    out
}

/// Two processes wait. The lock is released, and one of them is killed as it wakes up: the other one gets the lock.
fn just_woken<L: Lockable>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let lock = L::make();
    let mut random = Random::new();
    for _ in 0..kills {
        let step = RawValue::new(0_u32).unwrap();
        let holder = spawn(|| {
            lock.under_lock(|| {
                step.fetch_add(1);
                eventually("both wait", || step.load() == 4);
            });
        });
        eventually("the holder holds the lock", || step.load() == 1);
        let wait = || {
            step.fetch_add(1);
            assert!(lock.under_lock(|| {}).is_some(), "the lock came");
        };
        let (victim, survivor) = (spawn(wait), spawn(wait));
        eventually("both are about to wait", || step.load() == 3);
        random.pause(200_000);
        step.fetch_add(1);
        random.pause(20_000);
        out.recover(&victim, || {});
        out.recoveries.pop();
        out.expect_end(&survivor);
        out.expect_end(&holder);
        // The victim may have been killed while it held the lock.
        lock.clear();
    }
    out
}

/// A death inside a section is reported. A death at another point of taking or releasing the lock leaves no trace.
fn every_point_of_holding<L: Lockable>(_: u32) -> Outcome {
    let lock = L::make();
    let inside = RawValue::new(false).unwrap();
    at_every_point(
        || {
            lock.clear();
            inside.store(false);
        },
        || {
            let poisoned = lock.under_lock(|| {
                inside.store(true);
                crash::point();
                inside.store(false);
            });
            assert_eq!(poisoned, Some(false));
        },
        |survived| is_told(&lock, survived, inside.load()),
    )
}

/// Whether the next locker got the lock, with a report of a death inside, and without one if nobody died.
fn is_told<L: Lockable>(lock: &L, survived: bool, died_inside: bool) -> bool {
    let told = lock.under_lock(|| {});
    lock.clear();
    let others_get_it = ended(&spawn(|| assert_eq!(lock.under_lock(|| {}), Some(false))));
    let is_right = match told {
        Some(told) => {
            if survived {
                !told
            } else {
                told || !died_inside
            }
        }
        None => false,
    };
    is_right && others_get_it == Ended::Exited(0)
}

/// The process that takes over from a dead holder dies as well, at every point: the next locker still learns of a
/// death.
fn every_point_of_taking_over<L: Lockable>(_: u32) -> Outcome {
    let lock = L::make();
    at_every_point(
        || {
            lock.clear();
            let holds = RawValue::new(false).unwrap();
            let holder = spawn(|| {
                lock.under_lock(|| {
                    holds.store(true);
                    hang();
                });
            });
            eventually("the holder holds", || holds.load());
            kill(&holder);
        },
        || assert_eq!(lock.under_lock(|| {}), Some(true)),
        |_| lock.under_lock(|| {}) == Some(true),
    )
}

/// A death at any depth of a lock that is taken again is reported, and the next locker begins at depth 0.
fn every_point_of_nesting(_: u32) -> Outcome {
    let lock = RLock::new().unwrap();
    let inside = RawValue::new(false).unwrap();
    at_every_point(
        || {
            lock.clear_poison();
            inside.store(false);
        },
        || {
            let outer = lock.lock().unwrap();
            inside.store(true);
            let inner = lock.lock().unwrap();
            drop(outer);
            let innermost = lock.lock().unwrap();
            drop(inner);
            inside.store(false);
            drop(innermost);
        },
        |survived| is_told(&lock, survived, inside.load()),
    )
}

define_cells! {
    LOCK_HOLDER: "lock", "holder", holder::<Lock>;
    LOCK_WAITER: "lock", "waiter", waiter::<Lock>;
    LOCK_JUST_WOKEN: "lock", "just_woken", just_woken::<Lock>;
    LOCK_EVERY_POINT_OF_HOLDING: "lock", "every_point_of_holding", every_point_of_holding::<Lock>;
    LOCK_EVERY_POINT_OF_TAKING_OVER: "lock", "every_point_of_taking_over", every_point_of_taking_over::<Lock>;
    RLOCK_EVERY_POINT_OF_HOLDING: "rlock", "every_point_of_holding", every_point_of_holding::<RLock>;
    RLOCK_EVERY_POINT_OF_NESTING: "rlock", "every_point_of_nesting", every_point_of_nesting;
    RLOCK_EVERY_POINT_OF_TAKING_OVER: "rlock", "every_point_of_taking_over", every_point_of_taking_over::<RLock>;
    RLOCK_HOLDER: "rlock", "holder", holder::<RLock>;
    RLOCK_WAITER: "rlock", "waiter", waiter::<RLock>;
    RLOCK_JUST_WOKEN: "rlock", "just_woken", just_woken::<RLock>;
    VALUE_HOLDER: "value", "holder", holder::<Value<[u64; 2]>>;
    VALUE_WAITER: "value", "waiter", waiter::<Value<[u64; 2]>>;
    VALUE_JUST_WOKEN: "value", "just_woken", just_woken::<Value<[u64; 2]>>;
    ARRAY_HOLDER: "array", "holder", holder::<Array<u64>>;
    ARRAY_WAITER: "array", "waiter", waiter::<Array<u64>>;
    ARRAY_JUST_WOKEN: "array", "just_woken", just_woken::<Array<u64>>;
}
