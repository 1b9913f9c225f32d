//! `Lock`, and the limit of held locks over all objects.

use shm_core::sync::HELD_MAX;
use shm_core::{Array, Lock, LockError, Value};

#[test]
fn one_at_a_time() {
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.lock(), Err(LockError::Deadlock)));
    drop(guard);
    drop(lock.try_lock().unwrap());
}

#[test]
fn a_panicking_holder_poisons() {
    let lock = Lock::new().unwrap();
    let body = std::panic::AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        panic!("on purpose");
    });
    std::panic::catch_unwind(body).unwrap_err();
    assert!(lock.is_poisoned());
    assert!(lock.lock().unwrap_err().into_poisoned().is_some());
    lock.clear_poison();
    drop(lock.lock().unwrap());
}

#[test]
fn the_limit_of_held_locks_and_one_above() {
    let values: Vec<Value<u32>> = (0..=HELD_MAX).map(|_| Value::new(0).unwrap()).collect();
    let mut guards: Vec<_> = values[..HELD_MAX].iter().map(|value| value.lock().unwrap()).collect();
    assert!(matches!(values[HELD_MAX].lock(), Err(LockError::TooManyHeld)));
    assert_eq!(values[HELD_MAX].set(1), Err(LockError::TooManyHeld));
    // Reading takes no lock, nor does creating an object.
    assert_eq!(values[HELD_MAX].get(), Ok(0));
    assert_eq!(Array::from_slice(&[1_u8, 2]).unwrap().to_vec(), Ok(vec![1, 2]));
    assert_eq!(format!("{:?}", Value::new(7).unwrap()), "Value(7)");
    guards.pop();
    assert_eq!(values[HELD_MAX].set(1), Ok(()));
}
