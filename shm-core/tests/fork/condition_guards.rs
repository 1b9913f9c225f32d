//! The guards that a `Condition` waits with.

use std::time::Duration;

use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded, tests};
use shm_core::{Array, Condition, LockError, RLock, RawValue, Value};

tests! {
    a_lock_that_is_held_twice_is_released_and_taken_again_as_deep,
    the_data_of_the_lock_is_lent,
}

fn a_lock_that_is_held_twice_is_released_and_taken_again_as_deep() {
    let (lock, condition, steps) =
        (RLock::new().unwrap(), Condition::new().unwrap(), RawValue::new(0_u32).unwrap());
    let waiter = spawn(|| {
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        let inner = condition.wait_while(inner, |()| steps.load() == 0).unwrap();
        let (notified, inner) = condition.wait_timeout(inner, Duration::from_millis(1)).unwrap();
        assert!(!notified);
        drop(inner);
        steps.store(2);
        eventually("the other one has looked", || steps.load() == 3);
        drop(outer);
    });
    eventually("it waits", || condition.n_waiting() == 1);
    // Both guards have released the lock.
    let guard = lock.lock_timeout(PATIENCE).unwrap();
    steps.store(1);
    assert_eq!(condition.notify(1), 1);
    drop(guard);
    eventually("it goes on with one guard", || steps.load() == 2);
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)), "it has the other one still");
    steps.store(3);
    succeeded(&waiter);
    drop(lock.lock_timeout(PATIENCE).unwrap());
    // A dead waiter holds nothing, and a holder that dies after the wait has poisoned the lock.
    let dead = spawn(|| drop(condition.wait(lock.lock().unwrap())));
    eventually("it waits", || condition.n_waiting() == 1);
    kill(&dead);
    drop(lock.lock_timeout(PATIENCE).unwrap());
    // Only the next waiter finds its place in the first condition.
    let condition = Condition::new().unwrap();
    let dead = spawn(|| {
        let _guard = condition.wait(lock.lock().unwrap()).unwrap();
        steps.store(4);
        hang();
    });
    eventually("it waits", || condition.notify(1) == 1);
    eventually("it has the lock", || steps.load() == 4);
    kill(&dead);
    assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
}

fn the_data_of_the_lock_is_lent() {
    let (condition, soon) = (Condition::new().unwrap(), Duration::from_millis(1));
    let value = Value::new(1_u32).unwrap();
    let count = |value: &mut u32| {
        *value += 1;
        *value < 3
    };
    let (is_over, guard) = condition.wait_timeout_while(value.lock().unwrap(), soon, count).unwrap();
    drop(guard);
    assert!(is_over, "the closure may change it");
    assert_eq!(value.get(), Ok(3));
    let array = Array::from_slice(&[1_u8, 2]).unwrap();
    let guard = condition.wait_while(array.lock().unwrap(), |array| array.contains(&3)).unwrap();
    drop(guard);
}
