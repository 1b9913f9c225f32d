//! `Value`: operations, poison, and operations that a thread must not do.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use shm_core::{LockError, Value};

fn quietly<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
    catch_unwind(AssertUnwindSafe(body))
}

#[test]
fn get_set_replace_update() {
    let value = Value::new(5_i32).unwrap();
    assert_eq!(value.get(), Ok(5));
    assert_eq!(value.set(6), Ok(()));
    assert_eq!(value.replace(7), Ok(6));
    assert_eq!(value.update(|old| old * 2), Ok(7));
    assert_eq!(value.get(), Ok(14));
}

#[test]
fn large_values_alternate_between_two_slots() {
    let value = Value::new([0_u64; 20]).unwrap();
    for round in 1..10 {
        value.set([round; 20]).unwrap();
        assert_eq!(value.get(), Ok([round; 20]));
        value.lock().unwrap()[3] += 100;
        assert_eq!(value.get().unwrap()[3], round + 100);
        assert_eq!(
            value
                .update(|mut old| {
                    old[0] = 9;
                    old
                })
                .unwrap()[3],
            round + 100
        );
        assert_eq!(value.get().unwrap()[..4], [9, round, round, round + 100]);
    }
}

#[test]
fn a_panic_under_the_guard_poisons_until_cleared() {
    let value = Value::new((1_u64, 2_u64).0).unwrap();
    quietly(|| {
        let mut guard = value.lock().unwrap();
        *guard = 99;
        panic!("on purpose");
    })
    .unwrap_err();
    assert!(value.is_poisoned());
    assert_eq!(value.get(), Err(LockError::Poisoned(99)));
    assert_eq!(value.set(3), Err(LockError::Poisoned(3)), "the unsent value comes back");
    assert_eq!(value.replace(4), Err(LockError::Poisoned(4)));
    assert_eq!(value.update(|_| unreachable!()), Err(LockError::Poisoned(99)));
    {
        let mut guard = value.lock().unwrap_err().into_poisoned().unwrap();
        *guard = 1;
        value.clear_poison();
    }
    assert_eq!(value.get(), Ok(1));
}

#[test]
fn a_guard_taken_while_panicking_does_not_poison() {
    struct Touch<'a>(&'a Value<u32>);
    impl Drop for Touch<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let value = Value::new(0_u32).unwrap();
    quietly(|| {
        let _touch = Touch(&value);
        panic!("on purpose");
    })
    .unwrap_err();
    assert_eq!(value.get(), Ok(1));
}

#[test]
fn a_panic_in_update_changes_nothing() {
    let value = Value::new([1_u64; 3]).unwrap();
    quietly(|| value.update(|_| panic!("on purpose"))).unwrap_err();
    assert!(!value.is_poisoned());
    assert_eq!(value.get(), Ok([1; 3]));
}

#[test]
fn reading_inside_an_update_returns_the_previous_value() {
    let (small, large) = (Value::new(1_u8).unwrap(), Value::new([1_u64; 3]).unwrap());
    let read = |found| {
        assert_eq!(small.get(), Ok(1));
        found + 1
    };
    assert_eq!(small.update(read), Ok(1));
    let read = |found: [u64; 3]| {
        assert_eq!(large.get(), Ok([1; 3]));
        assert_eq!(large.set([9; 3]), Err(LockError::Deadlock), "the lock is held");
        found.map(|word| word + 1)
    };
    assert_eq!(large.update(read), Ok([1; 3]));
    assert_eq!((small.get(), large.get()), (Ok(2), Ok([2; 3])));
}

#[test]
fn using_a_value_while_holding_its_guard_is_an_error() {
    let value = Value::new(1_u8).unwrap();
    let guard = value.lock().unwrap();
    assert_eq!(value.get(), Err(LockError::Deadlock));
    assert_eq!(value.set(2), Err(LockError::Deadlock));
    assert!(matches!(value.lock(), Err(LockError::Deadlock)));
    assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    assert_eq!(format!("{value:?}"), "Value(locked by this thread)");
    drop(guard);
    assert_eq!(format!("{value:?}"), "Value(1)");
}

#[test]
fn another_thread_waits_or_times_out() {
    let value = Value::new(1_u8).unwrap();
    let guard = value.lock().unwrap();
    std::thread::scope(|scope| {
        let attempt = || {
            assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
            let timeout = Duration::from_millis(10);
            assert!(matches!(value.lock_timeout(timeout), Err(LockError::TimedOut)));
        };
        std::thread::Builder::new().spawn_scoped(scope, attempt).unwrap();
    });
    drop(guard);
    assert_eq!(*value.lock_timeout(Duration::MAX).unwrap(), 1);
}

#[test]
fn errors_travel_as_boxed_errors() {
    fn touch(value: &Value<u8>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        *value.lock().map_err(LockError::discard)? += 1;
        value.set(2)?;
        Ok(())
    }
    let value = Value::new(1).unwrap();
    touch(&value).unwrap();
    let _guard = value.lock();
    assert_eq!(touch(&value).unwrap_err().to_string(), "the calling thread already holds the lock");
}

/// A number whose `Debug` checks whether the value that it came from is locked.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
struct Asks(u32);

static ASKED: OnceLock<Value<Asks>> = OnceLock::new();

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_free = ASKED.get().is_some_and(|value| value.try_lock().is_ok());
        write!(f, "{} is {}", self.0, if is_free { "free" } else { "locked" })
    }
}

#[test]
fn debug_of_the_value_runs_without_the_lock() {
    let value = ASKED.get_or_init(|| Value::new(Asks(7)).unwrap());
    assert!(format!("{value:?}").contains("7 is free"), "{value:?}");
    let _guard = value.lock().unwrap();
    assert!(format!("{value:?}").contains("locked by"), "{value:?}");
}
