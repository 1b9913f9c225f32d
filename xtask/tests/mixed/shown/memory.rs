//! Objects in shared memory, and their guards.

use std::time::Duration;

use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value,
};
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, spawn_holding, succeeded};

use super::Seen;

/// An element whose `Debug` is long.
const LONG: [u64; 500] = [7; 500];

pub(super) fn states(seen: &mut Seen) {
    values(seen);
    locks(seen);
    counters(seen);
    barriers(seen);
}

fn values(seen: &mut Seen) {
    let value = Value::new(5_u8).unwrap();
    seen.look(&value, "Value", "5");
    let guard = value.lock().unwrap();
    seen.look(&value, "Value", "locked by this thread");
    seen.look(&guard, "ValueGuard", "5");
    drop(guard);
    poison(|| drop(value.lock().map(panic_with)));
    seen.look(&value, "Value", "5, poisoned");
    let long = Value::new(LONG).unwrap();
    seen.look_for(&long, "Value", &["[7, 7, ", "…"]);
    seen.look_for(&long.lock().unwrap(), "ValueGuard", &["[7, 7, ", "…"]);

    let array = Array::from_slice(&[1_u16, 2, 3]).unwrap();
    seen.look(&array, "Array", "3 elements, free");
    let guard = array.lock().unwrap();
    seen.look(&array, "Array", "3 elements, locked by this thread");
    seen.look(&guard, "ArrayGuard", "3 elements");
    drop(guard);
    seen.look(&Array::<u8>::zeroed(1).unwrap(), "Array", "1 element, free");

    seen.look(&RawValue::new('ß').unwrap(), "RawValue", "'ß'");
    seen.look_for(&RawValue::new(LONG).unwrap(), "RawValue", &["…"]);
    seen.look(&RawArray::<f64>::zeroed(1000).unwrap(), "RawArray", "1000 elements");
    seen.look(&SharedMemory::new(1).unwrap(), "SharedMemory", "1 byte");
    seen.look(&SharedMemory::new(5000).unwrap(), "SharedMemory", "5000 bytes");

    let rwlock = RwLock::new(LONG).unwrap();
    seen.look_for(&rwlock, "RwLock", &["…", ", 0 readers"]);
    let readers = (rwlock.read().unwrap(), rwlock.read().unwrap());
    seen.look_for(&rwlock, "RwLock", &["…", ", 2 readers"]);
    seen.look_for(&readers.0, "RwLockReadGuard", &["…"]);
    drop(readers);
    let writer = rwlock.write().unwrap();
    seen.look(&rwlock, "RwLock", "locked by this thread");
    seen.look_for(&writer, "RwLockWriteGuard", &["…"]);
}

fn locks(seen: &mut Seen) {
    let lock = Lock::new().unwrap();
    seen.look(&lock, "Lock", "free");
    let guard = lock.lock().unwrap();
    seen.look(&lock, "Lock", "locked by this thread");
    seen.look(&guard, "LockGuard", "held");
    drop(guard);
    poison(|| drop(lock.lock().map(panic_with)));
    seen.look(&lock, "Lock", "free, poisoned");
    let rlock = RLock::new().unwrap();
    seen.look(&rlock, "RLock", "free");
    let guards = (rlock.lock().unwrap(), rlock.lock().unwrap());
    seen.look(&rlock, "RLock", "locked by this thread");
    seen.look(&guards.1, "RLockGuard", "held");
}

fn counters(seen: &mut Seen) {
    let semaphore = Semaphore::new(3).unwrap();
    seen.look(&semaphore, "Semaphore", "3 permits free, 0 held");
    let permit = semaphore.acquire();
    seen.look(&semaphore, "Semaphore", "2 permits free, 1 held");
    seen.look(&permit, "Permit", "held");
    permit.forget();
    seen.look(&semaphore, "Semaphore", "2 permits free, 0 held");
    let bounded = BoundedSemaphore::new(1).unwrap();
    seen.look(&bounded, "BoundedSemaphore", "1 permit free, 0 held");
    let _permit = bounded.acquire();
    seen.look(&bounded, "BoundedSemaphore", "0 permits free, 1 held");
    let event = Event::new().unwrap();
    seen.look(&event, "Event", "not set");
    event.set();
    seen.look(&event, "Event", "set");
    seen.look(&Condition::new().unwrap(), "Condition", "0 waiting");
}

fn barriers(seen: &mut Seen) {
    let barrier = Barrier::new(2).unwrap();
    seen.look(&barrier, "Barrier", "0 of 2 waiting");
    let party = barrier.party().unwrap();
    seen.look(&party, "Party", "registered");
    drop(party);
    assert!(barrier.wait_timeout(Duration::from_millis(1)).is_err());
    seen.look(&barrier, "Barrier", "broken, for 2");
}

/// Shows objects that another process holds or waits for, and objects that it leaves when it is killed.
pub(super) fn of_others(seen: &mut Seen) {
    let (value, array, lock) =
        (Value::new(5_u8).unwrap(), Array::from_slice(&[1_u8]).unwrap(), Lock::new().unwrap());
    let (rlock, rwlock) = (RLock::new().unwrap(), RwLock::new(6_u8).unwrap());
    let (semaphore, ready) = (Semaphore::new(1).unwrap(), RawValue::new(false).unwrap());
    let holder = spawn(|| {
        let _held = (value.lock().unwrap(), array.lock().unwrap(), lock.lock().unwrap());
        let _held_too = (rlock.lock().unwrap(), rwlock.write().unwrap(), semaphore.acquire());
        ready.store(true);
        hang();
    });
    eventually("all is held", || ready.load());
    let by = format!("locked by thread {}", holder.id());
    seen.look(&value, "Value", &by);
    seen.look(&array, "Array", &format!("1 element, {by}"));
    seen.look(&lock, "Lock", &by);
    seen.look(&rlock, "RLock", &by);
    seen.look(&rwlock, "RwLock", &by);
    kill(&holder);
    // No process has taken over yet, because `Debug` changes nothing.
    for _ in 0..2 {
        seen.look(&value, "Value", "left by a dead holder");
        seen.look(&array, "Array", "1 element, left by a dead holder");
        seen.look(&lock, "Lock", "left by a dead holder");
        seen.look(&rlock, "RLock", "left by a dead holder");
        seen.look(&rwlock, "RwLock", "left by a dead holder");
        seen.look(&semaphore, "Semaphore", "0 permits free, 1 held");
    }
    assert!(lock.lock().is_err());
    seen.look(&lock, "Lock", "free, poisoned");
    waiters(seen);
    inherited();
}

fn waiters(seen: &mut Seen) {
    let (barrier, condition) = (Barrier::new(2).unwrap(), Condition::new().unwrap());
    let at_the_barrier = spawn(|| assert!(barrier.wait_timeout(PATIENCE).unwrap() < 2));
    let at_the_condition = spawn(|| {
        let lock = Lock::new().unwrap();
        drop(condition.wait_timeout(lock.lock().unwrap(), PATIENCE).unwrap());
    });
    let shown = |object: &dyn std::fmt::Debug, text: &str| format!("{object:?}") == text;
    eventually("one waits", || shown(&barrier, "Barrier(1 of 2 waiting)"));
    eventually("one waits", || shown(&condition, "Condition(1 waiting)"));
    seen.look(&barrier, "Barrier", "1 of 2 waiting");
    seen.look(&condition, "Condition", "1 waiting");
    condition.notify_all();
    barrier.wait_timeout(PATIENCE).unwrap();
    succeeded(&at_the_barrier);
    succeeded(&at_the_condition);
}

/// A forked child can show the guards that it inherited from its parent, although it cannot use them.
fn inherited() {
    let (value, array, lock) =
        (Value::new(5_u8).unwrap(), Array::from_slice(&[1_u8]).unwrap(), Lock::new().unwrap());
    let (rlock, rwlock) = (RLock::new().unwrap(), [0, 1].map(|n| RwLock::new(n).unwrap()));
    let (semaphore, barrier) = (Semaphore::new(1).unwrap(), Barrier::new(1).unwrap());
    let guards = (value.lock().unwrap(), array.lock().unwrap(), lock.lock().unwrap(), rlock.lock().unwrap());
    let others = (rwlock[0].write().unwrap(), rwlock[1].read().unwrap());
    let rest = (semaphore.acquire(), barrier.party().unwrap());
    let parent = rustix::process::getpid().as_raw_nonzero();
    succeeded(&spawn_holding(|| {
        let mut seen = Seen::default();
        seen.look(&guards.0, "ValueGuard", "its parent's");
        seen.look(&guards.1, "ArrayGuard", "its parent's");
        seen.look(&guards.2, "LockGuard", "another thread's");
        seen.look(&guards.3, "RLockGuard", "another thread's");
        seen.look(&others.0, "RwLockWriteGuard", "its parent's");
        seen.look(&others.1, "RwLockReadGuard", "its parent's");
        seen.look(&rest.0, "Permit", "its parent's");
        seen.look(&rest.1, "Party", "its parent's");
        seen.look(&lock, "Lock", &format!("locked by thread {parent}"));
    }));
}

fn panic_with<G>(_guard: G) {
    std::panic::resume_unwind(Box::new(()));
}

fn poison(body: impl FnOnce()) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    assert!(panicked.is_err());
}
