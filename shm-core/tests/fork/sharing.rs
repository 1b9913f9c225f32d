//! The others see what one process stores, and no update is lost.

use mp_sys::child::{ChildProcess, Ended, ForkError, fork};
use mp_sys::testing::{ended, eventually, spawn, spawn_holding, succeeded, tests};
use shm_core::{Array, Lock, LockError, RawArray, RawValue, Value};

tests! {
    both_sides_see_every_store,
    grandchildren_share_too,
    no_increment_is_lost,
    a_lock_excludes_processes,
    fork_is_refused_while_a_guard_is_held,
    an_inherited_guard_does_nothing,
    a_forgotten_guard_and_the_drop_of_its_handle,
    a_forgotten_guard_keeps_its_slot,
    a_thread_that_ends_with_a_leaked_guard_ends_the_process,
    an_inherited_guard_does_not_release_the_childs_own_lock,
}

/// Debug builds are slow, and the kernel switches often enough to find a lost update in either.
const INCREMENTS: u64 = 100_000;
const PROCESSES: u64 = 4;

fn both_sides_see_every_store() {
    let value = Value::new([1_u64; 4]).unwrap();
    let raw = RawValue::new('a').unwrap();
    let array = Array::from_slice(&[1_i16, 2, 3]).unwrap();
    let raw_array = RawArray::<f64>::zeroed(1000).unwrap();
    let turn = RawValue::new(0_u8).unwrap();
    let child = spawn(|| {
        assert_eq!(value.get(), Ok([1; 4]));
        assert_eq!(array.to_vec(), Ok(vec![1, 2, 3]));
        value.set([2; 4]).unwrap();
        raw.store('ß');
        array.write(1, &[20, 30]).unwrap();
        raw_array.write(500, &[0.5; 500]).unwrap();
        turn.store(1);
        eventually("the parent answers", || turn.load() == 2);
        assert_eq!(*value.lock().unwrap(), [3; 4]);
        assert_eq!(array.get(0), Ok(10));
    });
    eventually("the child has stored", || turn.load() == 1);
    assert_eq!(value.get(), Ok([2; 4]));
    assert_eq!(raw.load(), 'ß');
    assert_eq!(array.to_vec(), Ok(vec![1, 20, 30]));
    assert_eq!(raw_array.to_vec().iter().sum::<f64>(), 250.0);
    value.set([3; 4]).unwrap();
    array.lock().unwrap()[0] = 10;
    turn.store(2);
    succeeded(&child);
}

fn grandchildren_share_too() {
    let copied = vec![1];
    let shared = Value::new(1).unwrap();
    let child = spawn(|| {
        let mut copied = copied.clone();
        copied.push(2);
        shared.update(|n| n + 1).unwrap();
        succeeded(&spawn(|| {
            assert_eq!(copied, [1, 2], "copied at the second fork");
            shared.update(|n| n + 1).unwrap();
        }));
        assert_eq!(shared.get(), Ok(3));
    });
    succeeded(&child);
    assert_eq!(copied, [1]);
    assert_eq!(shared.get(), Ok(3));
}

/// Lets all processes begin together, and waits for them.
fn together(body: impl Fn()) {
    let gate = RawValue::new(0_u64).unwrap();
    let worker = || {
        gate.fetch_add(1);
        eventually("all processes are there", || gate.load() == PROCESSES);
        body();
    };
    let children: Vec<ChildProcess> = (0..PROCESSES).map(|_| spawn(worker)).collect();
    children.iter().for_each(succeeded);
}

fn no_increment_is_lost() {
    let updated = Value::new(0_u64).unwrap();
    let wide = Value::new([0_u64; 3]).unwrap();
    let locked = Value::new(0_u64).unwrap();
    let added = RawValue::new(0_u64).unwrap();
    let floats = RawArray::<f32>::zeroed(2).unwrap();
    let array = Array::<u32>::zeroed(3).unwrap();
    together(|| {
        for _ in 0..INCREMENTS {
            updated.update(|n| n + 1).unwrap();
            wide.update(|n| n.map(|n| n + 1)).unwrap();
            *locked.lock().unwrap() += 1;
            added.fetch_add(1);
            floats.fetch_add(1, 1.0).unwrap();
            array.lock().unwrap()[2] += 1;
        }
    });
    let expected = PROCESSES * INCREMENTS;
    assert_eq!(updated.get(), Ok(expected));
    assert_eq!(wide.get(), Ok([expected; 3]));
    assert_eq!(locked.get(), Ok(expected));
    assert_eq!(added.load(), expected);
    assert_eq!(f64::from(floats.get(1).unwrap()), 400_000.0);
    assert_eq!(u64::from(array.get(2).unwrap()), expected);
}

fn a_lock_excludes_processes() {
    let lock = Lock::new().unwrap();
    let inside = RawValue::new(0_u32).unwrap();
    together(|| {
        for _ in 0..10_000 {
            let _held = lock.lock().unwrap();
            assert_eq!(inside.swap(1), 0, "nobody else is inside");
            assert_eq!(inside.swap(0), 1, "nobody else was inside");
        }
    });
}

fn fork_is_refused_while_a_guard_is_held() {
    let (value, array, lock) =
        (Value::new(1).unwrap(), Array::<u8>::zeroed(2).unwrap(), Lock::new().unwrap());
    let guards = (value.lock().unwrap(), array.lock().unwrap(), lock.lock().unwrap());
    assert_eq!(fork(|| 0).unwrap_err(), ForkError::GuardHeld(3));
    drop(guards);
    succeeded(&fork(|| 0).unwrap());
}

fn an_inherited_guard_does_nothing() {
    let value = Value::new(1).unwrap();
    let guard = std::cell::Cell::new(Some(value.lock().unwrap()));
    let child = spawn_holding(|| {
        std::panic::set_hook(Box::new(|_| {}));
        // A panic drops it, which would poison if the child held the lock.
        let panicking = std::panic::AssertUnwindSafe(|| {
            let _guard = guard.take();
            panic!("on purpose");
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert!(!value.is_poisoned());
        assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
    });
    succeeded(&child);
    drop(guard.take());
    assert_eq!(value.get(), Ok(1));
}

/// The lock stays held, its memory stays mapped, and its death notice still reaches the others.
fn a_forgotten_guard_and_the_drop_of_its_handle() {
    let value = Value::new(1).unwrap();
    let forgetful = spawn(|| {
        let value = std::cell::Cell::new(Some(&value));
        std::mem::forget(value.take().unwrap().lock().unwrap());
        assert_eq!(fork(|| 0).unwrap_err(), ForkError::GuardHeld(1));
    });
    succeeded(&forgetful);
    assert!(matches!(value.get(), Err(LockError::Poisoned(1))), "the holder ended while it held the lock");
    value.clear_poison();

    let own = Value::new(2).unwrap();
    succeeded(&spawn(|| {
        let made_here = Value::new(3).unwrap();
        std::mem::forget(made_here.lock().unwrap());
        let mapped = shm_core::memory_mapped();
        drop(made_here);
        assert_eq!(shm_core::memory_mapped(), mapped);
        assert_eq!(own.get(), Ok(2));
    }));
}

fn a_forgotten_guard_keeps_its_slot() {
    // In a child, because its end counts as a death for the lock, and because its leaks end with it.
    succeeded(&spawn(|| {
        let value = Value::new(1_u8).unwrap();
        std::mem::forget(value.lock().unwrap());
        assert_eq!(value.get(), Err(LockError::Deadlock));
        drop(value);
        // The slot is not used again, because the lock in it is still held.
        let others: Vec<Value<u8>> = (0..100).map(|_| Value::new(2).unwrap()).collect();
        assert!(others.iter().all(|other| other.get() == Ok(2)));
    }));
}

/// The kernel releases a lock whose thread ends, but a leaked guard would still lend the data.
fn a_thread_that_ends_with_a_leaked_guard_ends_the_process() {
    let value = Value::new(1).unwrap();
    let process = spawn(|| {
        let outcome: u64 = std::thread::scope(|scope| {
            let leaker = || &mut **Box::leak(Box::new(value.lock().unwrap()));
            let lent: &mut u64 =
                std::thread::Builder::new().spawn_scoped(scope, leaker).unwrap().join().unwrap();
            *lent = 2;
            *lent
        });
        assert_eq!(outcome, 2);
    });
    assert_eq!(ended(&process), Ended::Signaled(6), "aborted before anybody could use it");
    assert_eq!(value.get(), Err(LockError::Poisoned(1)), "and the others are told");
    value.clear_poison();
    // A thread that has held and released locks ends like any other.
    succeeded(&spawn(|| {
        std::thread::scope(|scope| {
            let user = || {
                *value.lock().unwrap() += 1;
                value.update(|n| n + 1)
            };
            assert_eq!(std::thread::Builder::new().spawn_scoped(scope, user).unwrap().join().unwrap(), Ok(2));
        });
    }));
}

/// The child holds the same lock when it drops the inherited guard, and keeps holding it.
fn an_inherited_guard_does_not_release_the_childs_own_lock() {
    let value = Value::new(1).unwrap();
    let released = RawValue::new(false).unwrap();
    let guard = std::cell::Cell::new(Some(value.lock().unwrap()));
    let child = spawn_holding(|| {
        eventually("the parent has released", || released.load());
        let own = value.lock().unwrap();
        drop(guard.take());
        assert_eq!(value.get(), Err(LockError::Deadlock), "still held");
        succeeded(&spawn_holding(|| assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)))));
        drop(own);
        assert_eq!(value.get(), Ok(1));
    });
    drop(guard.take());
    released.store(true);
    succeeded(&child);
}
