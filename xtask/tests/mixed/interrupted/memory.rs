//! Objects in shared memory.

use std::sync::mpsc::channel;
use std::thread;

use mp::{
    Array, Barrier, BarrierError, BoundedSemaphore, Condition, Event, Lock, LockError, RLock, RwLock,
    Semaphore, SemaphoreError, Value,
};
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded};

use super::{Case, STOP, Storm, asleep_under_a_timer};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case { file: "shm-core/src/value.rs", method: "lock_timeout", run: value },
        Case { file: "shm-core/src/array.rs", method: "lock_timeout", run: array },
        Case { file: "shm-core/src/sync/lock.rs", method: "lock_timeout", run: lock },
        Case { file: "shm-core/src/sync/rlock.rs", method: "lock_timeout", run: rlock },
        Case { file: "shm-core/src/sync/rwlock.rs", method: "read_timeout", run: rwlock_read },
        Case { file: "shm-core/src/sync/rwlock.rs", method: "write_timeout", run: rwlock_write },
        Case { file: "shm-core/src/sync/bounded.rs", method: "acquire_timeout", run: bounded },
        Case { file: "shm-core/src/sync/semaphore.rs", method: "acquire_timeout", run: semaphore },
        Case { file: "shm-core/src/sync/event.rs", method: "wait_timeout", run: event },
        Case { file: "shm-core/src/sync/barrier.rs", method: "wait_timeout", run: barrier },
        Case { file: "shm-core/src/sync/barrier.rs", method: "with_timeout", run: default_timeout },
        Case { file: "shm-core/src/sync/barrier/party.rs", method: "wait_timeout", run: party },
        Case { file: "shm-core/src/sync/condition.rs", method: "wait_timeout", run: condition },
        Case { file: "shm-core/src/sync/condition.rs", method: "wait_timeout_while", run: condition_while },
    ]
}

/// Runs `wait` while another thread holds what `take` returns.
pub(super) fn while_held<G>(take: impl FnOnce() -> G + Send, wait: impl FnOnce()) {
    let (tell, told) = channel();
    let (end, until) = channel::<()>();
    thread::scope(|scope| {
        // Dropping it ends the other thread, also after a panic.
        let end = end;
        scope.spawn(move || {
            let _held = take();
            tell.send(()).unwrap();
            until.recv().unwrap_err();
        });
        told.recv().unwrap();
        wait();
        drop(end);
    });
}

fn value(storm: Storm) {
    let value = Value::new(1_u64).unwrap();
    let wait = || storm.outlasts(|timeout| matches!(value.lock_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| value.lock().unwrap(), wait);
}

fn array(storm: Storm) {
    let array = Array::from_slice(&[1_u64]).unwrap();
    let wait = || storm.outlasts(|timeout| matches!(array.lock_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| array.lock().unwrap(), wait);
}

fn lock(storm: Storm) {
    let lock = Lock::new().unwrap();
    let wait = || storm.outlasts(|timeout| matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| lock.lock().unwrap(), wait);
}

fn rlock(storm: Storm) {
    let lock = RLock::new().unwrap();
    let wait = || storm.outlasts(|timeout| matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| lock.lock().unwrap(), wait);
}

fn rwlock_read(storm: Storm) {
    let lock = RwLock::new(1_u64).unwrap();
    let wait = || storm.outlasts(|timeout| matches!(lock.read_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| lock.write().unwrap(), wait);
}

fn rwlock_write(storm: Storm) {
    let lock = RwLock::new(1_u64).unwrap();
    let wait = || storm.outlasts(|timeout| matches!(lock.write_timeout(timeout), Err(LockError::TimedOut)));
    while_held(|| lock.read().unwrap(), wait);
}

fn bounded(storm: Storm) {
    let semaphore = BoundedSemaphore::new(1).unwrap();
    let _permit = semaphore.acquire();
    storm.outlasts(|timeout| matches!(semaphore.acquire_timeout(timeout), Err(SemaphoreError::TimedOut)));
}

fn semaphore(storm: Storm) {
    let semaphore = Semaphore::new(0).unwrap();
    storm.outlasts(|timeout| matches!(semaphore.acquire_timeout(timeout), Err(SemaphoreError::TimedOut)));
}

fn event(storm: Storm) {
    let event = Event::new().unwrap();
    storm.outlasts(|timeout| !event.wait_timeout(timeout));
}

fn barrier(storm: Storm) {
    let barrier = Barrier::new(2).unwrap();
    storm.outlasts(|timeout| matches!(barrier.wait_timeout(timeout), Err(BarrierError::TimedOut)));
}

fn default_timeout(storm: Storm) {
    let barrier = Barrier::new(2).unwrap();
    storm.outlasts(|timeout| matches!(barrier.with_timeout(timeout).wait(), Err(BarrierError::TimedOut)));
}

fn party(storm: Storm) {
    let barrier = Barrier::new(2).unwrap();
    let party = barrier.party().unwrap();
    storm.outlasts(|timeout| matches!(party.wait_timeout(timeout), Err(BarrierError::TimedOut)));
}

fn condition(storm: Storm) {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let guard = lock.lock().unwrap();
    storm.outlasts(|timeout| matches!(condition.wait_timeout(guard, timeout), Ok((false, _))));
}

fn condition_while(storm: Storm) {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let guard = lock.lock().unwrap();
    storm
        .outlasts(|timeout| matches!(condition.wait_timeout_while(guard, timeout, |_| true), Ok((false, _))));
}

pub(super) fn a_holder_dies() {
    let (semaphore, taken) = (Semaphore::new(1).unwrap(), Event::new().unwrap());
    let holder = spawn(|| {
        let _permit = semaphore.acquire();
        taken.set();
        hang();
    });
    assert!(taken.wait_timeout(PATIENCE));
    let waiter = asleep_under_a_timer(|| drop(semaphore.acquire()));
    kill(&holder);
    succeeded(&waiter);
}

pub(super) fn a_party_dies() {
    let (barrier, registered) = (Barrier::new(2).unwrap(), Event::new().unwrap());
    let party = spawn(|| {
        let _party = barrier.party().unwrap();
        registered.set();
        hang();
    });
    assert!(registered.wait_timeout(PATIENCE));
    let waiter = asleep_under_a_timer(|| assert_eq!(barrier.wait(), Err(BarrierError::Broken)));
    kill(&party);
    succeeded(&waiter);
}

pub(super) fn a_notified_waiter_dies() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let wait = || drop(condition.wait(lock.lock().unwrap()).unwrap());
    let first = spawn(wait);
    eventually("the first one waits", || condition.n_waiting() == 1);
    let second = asleep_under_a_timer(wait);
    eventually("both wait", || condition.n_waiting() == 2);
    // It is stopped, so that its notification is lost when it is killed.
    first.signal(STOP).unwrap();
    eventually("it is stopped", || first.is_stopped());
    assert_eq!(condition.notify(1), 1);
    kill(&first);
    succeeded(&second);
}
