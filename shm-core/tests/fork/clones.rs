//! A clone is a second handle of the same object: in this process, in children, and after the first one was dropped.

use std::time::Duration;

use mp_sys::testing::{ended, kill, spawn, succeeded, tests};
use shm_core::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, LockError, NameError, RLock, RawArray,
    RawValue, RwLock, Semaphore, Value, memory_mapped,
};

tests! {
    a_clone_of_each_object_is_the_same_object,
    a_lock_is_held_for_every_clone,
    a_child_has_every_clone_of_its_parent,
    the_lock_of_a_dead_clone_passes_on,
    the_memory_of_clones_is_used_again,
    a_clone_keeps_the_object_after_the_first_handle_is_dropped,
    a_name_lives_as_long_as_a_clone,
}

const PATIENCE: Duration = Duration::from_secs(20);

fn a_clone_of_each_object_is_the_same_object() {
    // The first handle is dropped before the second is used.
    let again = |event: Event| event.clone();
    let event = Event::new().unwrap();
    again(event.clone()).set();
    assert!(event.is_set());

    let value = Value::new([1_u64; 9]).unwrap().clone();
    value.clone().set([2; 9]).unwrap();
    assert_eq!(value.get(), Ok([2; 9]));
    let array = Array::from_slice(&[1_u8, 2]).unwrap().clone();
    array.clone().set(1, 7).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1, 7]);
    let raw = RawValue::new(1_u32).unwrap().clone();
    raw.clone().fetch_add(2);
    assert_eq!(raw.load(), 3);
    let raws = RawArray::<f32>::zeroed(3).unwrap().clone();
    raws.clone().set(2, 0.5).unwrap();
    assert_eq!((raws.len(), raws.get(2)), (3, Ok(0.5)));
    let rwlock = RwLock::new(1_u16).unwrap().clone();
    *rwlock.clone().write().unwrap() = 9;
    assert_eq!(*rwlock.read().unwrap(), 9);

    let semaphore = Semaphore::new(1).unwrap().clone();
    semaphore.clone().acquire().forget();
    assert!(semaphore.try_acquire().is_err());
    let bounded = BoundedSemaphore::new(1).unwrap().clone();
    let (one, other) = (bounded.clone(), bounded);
    let permit = one.acquire();
    assert!(other.try_acquire().is_err());
    drop(permit);
    drop(other.try_acquire().unwrap());

    let (value, barrier, condition) =
        (Value::new(0_u8).unwrap(), Barrier::new(2).unwrap(), Condition::new().unwrap());
    std::thread::scope(|scope| {
        let (same_value, same_barrier, same_condition) = (value.clone(), barrier.clone(), condition.clone());
        scope.spawn(move || {
            same_barrier.wait_timeout(PATIENCE).unwrap();
            *same_value.lock().unwrap() = 1;
            same_condition.notify_all();
        });
        let mut held = value.lock().unwrap();
        // From here on, the other thread waits for the lock, at the latest while this one waits for the condition.
        barrier.wait_timeout(PATIENCE).unwrap();
        while *held == 0 {
            let is_notified;
            (is_notified, held) = condition.wait_timeout(held, PATIENCE).unwrap();
            assert!(is_notified);
        }
    });
}

fn a_lock_is_held_for_every_clone() {
    let (lock, rlock, value) = (Lock::new().unwrap(), RLock::new().unwrap(), Value::new(1_u8).unwrap());
    let (same_lock, same_rlock, same_value) = (lock.clone(), rlock.clone(), value.clone());
    let held = (lock.lock().unwrap(), rlock.lock().unwrap(), value.lock().unwrap());
    assert!(matches!(same_lock.lock(), Err(LockError::Deadlock)));
    drop(same_rlock.lock().unwrap()); // Again, by the same thread.
    assert!(matches!(same_value.try_lock(), Err(LockError::WouldBlock)));
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(same_lock.try_lock(), Err(LockError::WouldBlock))));
        scope.spawn(|| assert!(matches!(same_rlock.try_lock(), Err(LockError::WouldBlock))));
    });
    drop(held);
    drop((same_lock.lock().unwrap(), same_rlock.lock().unwrap(), same_value.lock().unwrap()));
}

fn a_child_has_every_clone_of_its_parent() {
    let value = Value::new(0_u64).unwrap();
    let clone = value.clone();
    let child = spawn(|| {
        let third = clone.clone();
        drop(clone);
        third.update(|n| n + 1).unwrap();
        drop((value.clone(), third));
        assert_eq!(value.get(), Ok(1));
        // Memory that the child dropped is not used for other objects.
        let others: Vec<_> = (0..100).map(|_| Value::new(7_u64).unwrap()).collect();
        assert_eq!(value.get(), Ok(1));
        drop(others);
    });
    succeeded(&child);
}

fn the_lock_of_a_dead_clone_passes_on() {
    let (value, ready) = (Value::new(0_u64).unwrap(), Event::new().unwrap());
    let child = spawn(|| {
        let clone = value.clone();
        let _held = clone.lock().unwrap();
        ready.clone().set();
        mp_sys::testing::hang();
    });
    assert!(ready.wait_timeout(PATIENCE));
    kill(&child);
    ended(&child);
    assert!(matches!(value.clone().lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    value.clone().clear_poison();
    assert_eq!(value.get(), Ok(0));
}

fn the_memory_of_clones_is_used_again() {
    let alive = Value::new(1_u64).unwrap();
    let mapped = memory_mapped();
    for round in 0..200_000_u64 {
        let value = Value::new(round).unwrap();
        let clone = value.clone();
        if round % 2 == 0 {
            drop(value);
            assert_eq!(clone.get(), Ok(round));
        }
    }
    assert_eq!(memory_mapped(), mapped, "one place was enough for all of them");
    assert_eq!(alive.get(), Ok(1));
}

fn a_clone_keeps_the_object_after_the_first_handle_is_dropped() {
    let value = Value::new(5_u64).unwrap();
    let clone = value.clone();
    drop(value);
    let others: Vec<_> = (0..1000).map(|_| Value::new(9_u64).unwrap()).collect();
    let mut held = clone.lock().unwrap();
    assert_eq!(*held, 5);
    *held = 6;
    drop(held);
    assert_eq!(clone.get(), Ok(6));
    assert!(others.iter().all(|other| other.get() == Ok(9)));
}

fn a_name_lives_as_long_as_a_clone() {
    let name = format!("clones-{}", mp_sys::deadline::now_nanos());
    let made = Value::create(&name, 3_u32).unwrap();
    let clone = made.clone();
    drop(made);
    assert_eq!(Value::<u32>::open(&name).unwrap().get(), Ok(3));
    let child = spawn(|| drop(clone.clone()));
    succeeded(&child);
    assert_eq!(Value::<u32>::open(&name).unwrap().get(), Ok(3), "the child's clone was not the last");
    drop(clone);
    assert_eq!(Value::<u32>::open(&name).unwrap_err(), NameError::NotFound);
}
