//! Killed while holding a lock, while waiting for it, and right after being woken.

use mp::{Array, Lock, LockError, RLock, RawValue, Value};
use mp_sys::testing::{Random, eventually, hang, spawn};

use crate::cell::{HANG, Outcome, define_cells};

/// What the three objects with a lock have in common.
trait Lockable {
    fn make() -> Self;
    /// Takes the lock, runs the body under it, and says whether the lock was poisoned; `None` after [`HANG`].
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

/// The holder dies: the next one gets the lock at once, and is told.
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
            // Not told: data may be half changed in silence.
            Some(false) => out.torn += 1,
            None => out.hangs += 1,
        }
        lock.clear();
    }
    out
}

/// A waiter dies: the next one gets the lock when it is released, and nobody is told anything.
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

/// Two wait; the lock is released, and one of them is killed as it wakes up: the other one gets the lock.
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

define_cells! {
    LOCK_HOLDER: "lock", "holder", holder::<Lock>;
    LOCK_WAITER: "lock", "waiter", waiter::<Lock>;
    LOCK_JUST_WOKEN: "lock", "just_woken", just_woken::<Lock>;
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
