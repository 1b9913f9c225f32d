//! Tier 1: closures under locks, closures that wait, and guards that a panic drops.

use std::thread;
use std::time::Duration;

use mp::{Array, BoundedSemaphore, Condition, Event, Lock, LockError, LockResult, RLock, Semaphore, Value};
use mp_sys::testing::Checked;

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Trap, is_caught, spring};

const BESIDE: Beside = Beside::ProcessAndThread;

define_cells! {
    "Value", "update(f)", value_update;
    "Value", "lock(), a guard in hand", value_guard;
    "Value", "get() (T: CheckedBitPattern)", || looked(|(value, _)| assert!(value.get().is_ok()));
    "Value", "replace() (T: CheckedBitPattern)", || looked(|(value, _)| assert!(value.replace(Checked(1)).is_ok()));
    "Value", "update(f) (T: CheckedBitPattern)", || looked(|(value, _)| assert!(value.update(|seen| seen).is_ok()));
    "Value", "lock() (T: CheckedBitPattern)", value_looked;
    "Value", "Debug (T: CheckedBitPattern)", || looked(|(value, _)| drop(format!("{value:?}")));
    "Array", "get() (T: CheckedBitPattern)", || looked(|(_, array)| assert!(array.get(0).is_ok()));
    "Array", "read() (T: CheckedBitPattern)", || looked(|(_, array)| assert!(array.read(0..3).is_ok()));
    "Array", "to_vec() (T: CheckedBitPattern)", || looked(|(_, array)| assert!(array.to_vec().is_ok()));
    "Array", "lock() (T: CheckedBitPattern)", || looked(|(_, array)| drop(array.lock()));
    "Array", "lock(), a guard in hand", array_guard;
    "Lock", "lock(), a guard in hand", lock_guard;
    "RLock", "lock(), two guards in hand", rlock_guards;
    "Condition", "wait_while(f), a Lock", wait_while;
    "Condition", "wait_timeout_while(f), a Lock", wait_timeout_while;
    "Condition", "wait_while(f), a Value", wait_while_value;
    "Condition", "wait_until_async(f), a Lock", wait_until_async;
    "Semaphore", "acquire(), a permit in hand", semaphore_permit;
    "BoundedSemaphore", "acquire(), a permit in hand", bounded_permit;
    "Event", "set(), a flag in hand", event;
}

/// Handles a panic that poisons: a locker that sees the poison clears it.
pub(crate) fn taken<G>(outcome: LockResult<G>, clear: impl FnOnce()) -> bool {
    match outcome {
        Ok(_) => true,
        Err(LockError::Poisoned(_)) => {
            clear();
            true
        }
        Err(_) => false,
    }
}

/// Whether the panic of an undisturbed thread is reported to the next locker, until the poison is cleared.
pub(crate) fn tells(
    poisons: impl FnOnce() + Send,
    is_poisoned: impl Fn() -> bool,
    clear: impl FnOnce(),
) -> bool {
    let panicked = thread::scope(|scope| scope.spawn(poisons).join().is_err());
    let told = is_poisoned();
    clear();
    panicked && told && !is_poisoned()
}

fn value_update() -> Outcome {
    contended(
        BESIDE,
        || Value::new(0_u64).unwrap(),
        |value| value.update(|number| number + 1).is_ok(),
        Trap::Closure,
        |value| {
            value
                .update(|number| {
                    (0..4).for_each(|_| spring(Trap::Closure));
                    number
                })
                .unwrap();
        },
        |value| !value.is_poisoned() && value.get().unwrap() > 0,
    )
}

fn value_guard() -> Outcome {
    contended(
        BESIDE,
        || Value::new(0_u64).unwrap(),
        |value| taken(value.lock_timeout(HANG), || value.clear_poison()),
        Trap::Closure,
        |value| {
            let _guard = value.lock();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |value| {
            value.clear_poison();
            let poisons = || {
                let _guard = value.lock().unwrap();
                panic!("on purpose");
            };
            tells(poisons, || value.is_poisoned() && value.get().is_err(), || value.clear_poison())
                && value.set(1).is_ok()
        },
    )
}

/// Reads that check the bits of each element. They change nothing, so nothing is poisoned.
fn looked(entry: impl Fn(&(Value<Checked>, Array<Checked>))) -> Outcome {
    Checked::on_look(|| spring(Trap::Look));
    contended(
        BESIDE,
        || (Value::new(Checked(0)).unwrap(), Array::from_slice(&[Checked(5); 3]).unwrap()),
        |(value, array)| {
            value.update(|number| Checked(number.0 + 1)).is_ok()
                && array.set(1, Checked(1)).is_ok()
                && array.lock_timeout(HANG).is_ok()
        },
        Trap::Look,
        entry,
        |(value, array)| {
            !value.is_poisoned()
                && !array.is_poisoned()
                && value.get().unwrap().0 > 0
                && array.to_vec() == Ok(vec![Checked(5), Checked(1), Checked(5)])
        },
    )
}

/// Nothing changes the value: a panic that treats its bits as invalid would change it.
fn value_looked() -> Outcome {
    Checked::on_look(|| spring(Trap::Look));
    contended(
        BESIDE,
        || Value::new(Checked(5)).unwrap(),
        |value| value.lock_timeout(HANG).is_ok(),
        Trap::Look,
        |value| drop(value.lock()),
        |value| !value.is_poisoned() && value.get() == Ok(Checked(5)),
    )
}

fn array_guard() -> Outcome {
    contended(
        BESIDE,
        || Array::<u32>::zeroed(100).unwrap(),
        |array| taken(array.lock_timeout(HANG), || array.clear_poison()),
        Trap::Closure,
        |array| {
            let _guard = array.lock();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |array| {
            array.clear_poison();
            let poisons = || {
                let _guard = array.lock().unwrap();
                panic!("on purpose");
            };
            tells(poisons, || array.is_poisoned() && array.get(0).is_err(), || array.clear_poison())
                && array.set(0, 1).is_ok()
        },
    )
}

fn lock_guard() -> Outcome {
    contended(
        BESIDE,
        || Lock::new().unwrap(),
        |lock| taken(lock.lock_timeout(HANG), || lock.clear_poison()),
        Trap::Closure,
        |lock| {
            let _guard = lock.lock();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |lock| {
            lock.clear_poison();
            let poisons = || {
                let _guard = lock.lock().unwrap();
                panic!("on purpose");
            };
            tells(poisons, || lock.is_poisoned(), || lock.clear_poison()) && lock.try_lock().is_ok()
        },
    )
}

fn rlock_guards() -> Outcome {
    contended(
        BESIDE,
        || RLock::new().unwrap(),
        |lock| taken(lock.lock_timeout(HANG), || lock.clear_poison()),
        Trap::Closure,
        |lock| {
            let _outer = lock.lock();
            let _inner = lock.lock();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |lock| {
            lock.clear_poison();
            let poisons = || {
                let _outer = lock.lock().unwrap();
                let _inner = lock.lock().unwrap();
                panic!("on purpose");
            };
            tells(poisons, || lock.is_poisoned(), || lock.clear_poison()) && lock.try_lock().is_ok()
        },
    )
}

/// Waits a little, and notifies all waiters, as the other contenders do.
fn meet((lock, condition): &(Lock, Condition)) -> bool {
    let waited = match lock.lock_timeout(HANG) {
        Ok(guard) => condition.wait_timeout(guard, Duration::from_millis(1)).is_ok(),
        Err(LockError::Poisoned(_)) => false,
        Err(_) => return false,
    };
    if !waited {
        lock.clear_poison();
    }
    condition.notify_all();
    true
}

fn wait_while_with(entry: impl Fn(&(Lock, Condition))) -> Outcome {
    contended(
        BESIDE,
        || (Lock::new().unwrap(), Condition::new().unwrap()),
        meet,
        Trap::Closure,
        &entry,
        |object| {
            let (lock, condition) = object;
            lock.clear_poison();
            // At the second check, after a slice: the panicking thread is registered, and nothing notifies it.
            let is_alone = is_caught(Trap::Closure, 1, || entry(object));
            lock.clear_poison();
            is_alone && condition.n_waiting() == 0 && one_notification_reaches_one(lock, condition)
        },
    )
}

/// A registered waiter that no longer exists would take the notification.
fn one_notification_reaches_one(lock: &Lock, condition: &Condition) -> bool {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| condition.wait_timeout(lock.lock().unwrap(), HANG).unwrap().0);
        while condition.n_waiting() == 0 {
            thread::yield_now();
        }
        drop(lock.lock().unwrap());
        condition.notify(1) == 1 && waiter.join().unwrap()
    })
}

fn unpoisoned(lock: &Lock) -> mp::LockGuard<'_> {
    lock.lock().unwrap_or_else(|error| error.into_poisoned().unwrap())
}

fn wait_while() -> Outcome {
    wait_while_with(|(lock, condition)| {
        let waits = |_: &mut ()| {
            spring(Trap::Closure);
            true
        };
        // Poison from the previous panic ends the wait; that is not a panic.
        while condition.wait_while(unpoisoned(lock), waits).is_err() {
            lock.clear_poison();
        }
    })
}

fn wait_timeout_while() -> Outcome {
    wait_while_with(|(lock, condition)| {
        let waits = |_: &mut ()| {
            spring(Trap::Closure);
            true
        };
        while condition.wait_timeout_while(unpoisoned(lock), HANG, waits).is_err() {
            lock.clear_poison();
        }
    })
}

fn wait_while_value() -> Outcome {
    let entry = |(value, condition): &(Value<u64>, Condition)| {
        loop {
            let guard = value.lock().unwrap_or_else(|error| error.into_poisoned().unwrap());
            let waits = |_: &mut u64| {
                spring(Trap::Closure);
                true
            };
            if condition.wait_while(guard, waits).is_ok() {
                return;
            }
            value.clear_poison();
        }
    };
    contended(
        BESIDE,
        || (Value::new(0_u64).unwrap(), Condition::new().unwrap()),
        |(value, condition)| {
            let stored = taken(value.lock_timeout(HANG), || value.clear_poison());
            condition.notify(1);
            stored
        },
        Trap::Closure,
        entry,
        |object| {
            let (value, condition) = object;
            value.clear_poison();
            let is_alone = is_caught(Trap::Closure, 1, || entry(object));
            value.clear_poison();
            is_alone && condition.n_waiting() == 0 && condition.notify_all() == 0 && value.get().is_ok()
        },
    )
}

fn wait_until_async() -> Outcome {
    let entry = |(lock, condition): &(Lock, Condition)| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let looks = |_: &mut ()| {
            spring(Trap::Closure);
            None::<()>
        };
        // Poison from the previous panic ends the wait.
        while runtime.block_on(condition.wait_until_async(lock, looks)).is_err() {
            lock.clear_poison();
        }
    };
    contended(
        BESIDE,
        || (Lock::new().unwrap(), Condition::new().unwrap()),
        meet,
        Trap::Closure,
        entry,
        |object| {
            let (lock, condition) = object;
            lock.clear_poison();
            let is_alone = is_caught(Trap::Closure, 0, || entry(object));
            let is_told = lock.is_poisoned();
            lock.clear_poison();
            is_alone && is_told && condition.n_waiting() == 0 && one_notification_reaches_one(lock, condition)
        },
    )
}

fn semaphore_permit() -> Outcome {
    contended(
        BESIDE,
        || Semaphore::new(1).unwrap(),
        |semaphore| semaphore.acquire_timeout(HANG).is_ok(),
        Trap::Closure,
        |semaphore| {
            let _permit = semaphore.acquire();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |semaphore| semaphore.available() == 1,
    )
}

fn bounded_permit() -> Outcome {
    contended(
        BESIDE,
        || BoundedSemaphore::new(1).unwrap(),
        |semaphore| semaphore.acquire_timeout(HANG).is_ok(),
        Trap::Closure,
        |semaphore| {
            let _permit = semaphore.acquire();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |semaphore| semaphore.available() == 1 && semaphore.add_permits(1).is_err(),
    )
}

fn event() -> Outcome {
    contended(
        BESIDE,
        || Event::new().unwrap(),
        |event| {
            event.set();
            event.wait_timeout(HANG)
        },
        Trap::Closure,
        |event| {
            event.set();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |event| event.is_set(),
    )
}
