//! Proxies of a manager.

use std::os::unix::net::UnixListener;

use mp::manager::{
    BarrierError, ConnectError, GetError, LockError, Manager, PutError, ReachError, SemaphoreError,
};
use mp_sys::testing::{PATIENCE, spawn, succeeded};

use super::memory::while_held;
use super::{Case, Storm, TIMEOUT};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case { file: "manager-rt/src/proxy/lock.rs", method: "lock_timeout", run: lock },
        Case { file: "manager-rt/src/proxy/rlock.rs", method: "lock_timeout", run: rlock },
        Case { file: "manager-rt/src/proxy/condition.rs", method: "wait_timeout", run: condition },
        Case {
            file: "manager-rt/src/proxy/condition.rs",
            method: "wait_timeout_while",
            run: condition_while,
        },
        Case { file: "manager-rt/src/proxy/semaphore.rs", method: "acquire_timeout", run: semaphore },
        Case { file: "manager-rt/src/proxy/semaphore.rs", method: "acquire_timeout", run: bounded },
        Case { file: "manager-rt/src/proxy/event.rs", method: "wait_timeout", run: event },
        Case { file: "manager-rt/src/proxy/barrier.rs", method: "wait_timeout", run: barrier },
        Case { file: "manager-rt/src/proxy/barrier.rs", method: "with_timeout", run: default_timeout },
        Case { file: "manager-rt/src/proxy/barrier/party.rs", method: "wait_timeout", run: party },
        Case { file: "manager-rt/src/proxy/queue.rs", method: "get_timeout", run: get },
        Case { file: "manager-rt/src/proxy/queue.rs", method: "get_many_timeout", run: get_many },
        Case { file: "manager-rt/src/proxy/queue.rs", method: "put_timeout", run: put },
        Case { file: "manager-rt/src/proxy/joinable_queue.rs", method: "get_timeout", run: get_task },
        Case { file: "manager-rt/src/proxy/joinable_queue.rs", method: "put_timeout", run: put_task },
        Case { file: "manager-rt/src/proxy/joinable_queue.rs", method: "join_timeout", run: join_timeout },
        Case { file: "manager-rt/src/proxy/joinable_queue.rs", method: "join", run: join },
        Case { file: "manager-rt/src/manager/connect.rs", method: "timeout", run: connect },
    ]
}

/// Runs `case` with a server that no other process uses.
fn with_manager(case: impl FnOnce(&Manager)) {
    let manager = Manager::start().unwrap();
    case(&manager);
    manager.shutdown().unwrap();
}

fn lock(storm: Storm) {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        let wait =
            || storm.outlasts(|timeout| matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
        while_held(|| lock.lock().unwrap(), wait);
    });
}

fn rlock(storm: Storm) {
    with_manager(|manager| {
        let lock = manager.rlock().unwrap();
        let wait =
            || storm.outlasts(|timeout| matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
        while_held(|| lock.lock().unwrap(), wait);
    });
}

fn condition(storm: Storm) {
    with_manager(|manager| {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let guard = lock.lock().unwrap();
        storm.outlasts(|timeout| matches!(condition.wait_timeout(guard, timeout), Ok((false, _))));
    });
}

fn condition_while(storm: Storm) {
    with_manager(|manager| {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let guard = lock.lock().unwrap();
        storm.outlasts(|timeout| {
            matches!(condition.wait_timeout_while(guard, timeout, |_| true), Ok((false, _)))
        });
    });
}

fn semaphore(storm: Storm) {
    with_manager(|manager| {
        let permits = manager.semaphore(0).unwrap();
        storm.outlasts(|timeout| matches!(permits.acquire_timeout(timeout), Err(SemaphoreError::TimedOut)));
    });
}

fn bounded(storm: Storm) {
    with_manager(|manager| {
        let permits = manager.bounded_semaphore(1).unwrap();
        let _permit = permits.acquire().unwrap();
        storm.outlasts(|timeout| matches!(permits.acquire_timeout(timeout), Err(SemaphoreError::TimedOut)));
    });
}

fn event(storm: Storm) {
    with_manager(|manager| {
        let event = manager.event().unwrap();
        storm.outlasts(|timeout| event.wait_timeout(timeout) == Ok(false));
    });
}

fn barrier(storm: Storm) {
    with_manager(|manager| {
        let barrier = manager.barrier(2).unwrap();
        storm.outlasts(|timeout| barrier.wait_timeout(timeout) == Err(BarrierError::TimedOut));
    });
}

fn default_timeout(storm: Storm) {
    with_manager(|manager| {
        let barrier = manager.barrier(2).unwrap();
        storm.outlasts(|timeout| barrier.with_timeout(timeout).wait() == Err(BarrierError::TimedOut));
    });
}

fn party(storm: Storm) {
    with_manager(|manager| {
        let barrier = manager.barrier(2).unwrap();
        let party = barrier.party().unwrap();
        storm.outlasts(|timeout| party.wait_timeout(timeout) == Err(BarrierError::TimedOut));
    });
}

fn get(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.queue::<u32>().unwrap();
        storm.outlasts(|timeout| queue.get_timeout(timeout) == Err(GetError::TimedOut));
    });
}

fn get_many(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.queue::<u32>().unwrap();
        storm.outlasts(|timeout| queue.get_many_timeout(2, timeout) == Err(GetError::TimedOut));
    });
}

fn put(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.bounded_queue::<u32>(1).unwrap();
        queue.put(&1).unwrap();
        storm.outlasts(|timeout| queue.put_timeout(&2, timeout) == Err(PutError::TimedOut));
    });
}

fn get_task(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.joinable_queue::<u32>().unwrap();
        storm.outlasts(|timeout| matches!(queue.get_timeout(timeout), Err(GetError::TimedOut)));
    });
}

fn put_task(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.bounded_joinable_queue::<u32>(1).unwrap();
        queue.put(&1).unwrap();
        storm.outlasts(|timeout| queue.put_timeout(&2, timeout) == Err(PutError::TimedOut));
    });
}

fn join_timeout(storm: Storm) {
    with_manager(|manager| {
        let queue = manager.joinable_queue::<u32>().unwrap();
        queue.put(&1).unwrap();
        storm.outlasts(|timeout| queue.join_timeout(timeout) == Ok(false));
    });
}

fn join(storm: Storm) {
    with_manager(|manager| {
        let (queue, never) = (manager.joinable_queue::<u32>().unwrap(), manager.event().unwrap());
        queue.put(&1).unwrap();
        let worker = spawn(|| {
            let task = queue.get_timeout(PATIENCE).unwrap();
            assert!(!never.wait_timeout(TIMEOUT).unwrap());
            task.done().unwrap();
        });
        storm.ends(|| queue.join() == Ok(()));
        succeeded(&worker);
    });
}

/// Connects to a listener that accepts no connection.
fn connect(storm: Storm) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let address = format!("mp+unix:{}", path.display());
    storm.outlasts(|timeout| {
        let outcome = Manager::builder().key("key").timeout(timeout).connect(&address);
        matches!(outcome, Err(ReachError::Connect { error: ConnectError::TimedOut, .. }))
    });
}
