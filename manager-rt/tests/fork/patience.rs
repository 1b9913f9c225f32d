//! Calls whose server is stopped by SIGSTOP: short waits stay short, and what they were granted too late is not lost.

use std::time::{Duration, Instant};

use manager_rt::{GetError, LockError, SemaphoreError};
use mp_sys::testing::{PATIENCE, eventually, is_in_state, spawn, succeeded, tests};
use rustix::process::Signal;

use crate::fixture::{Place, with_manager};

tests! {
    what_a_stopped_server_grants_too_late_goes_to_others,
    a_timeout_below_a_millisecond_is_not_rounded_up,
}

/// The process that gave up makes no further call, so it never reads the late answers.
fn what_a_stopped_server_grants_too_late_goes_to_others() {
    with_manager(|manager| {
        let server = Place::of(manager);
        let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
        let (queue, tasks) = (manager.queue::<u64>().unwrap(), manager.joinable_queue::<u64>().unwrap());
        queue.put(&1).unwrap();
        tasks.put(&1).unwrap();
        server.signal(Signal::STOP);
        eventually("the server is stopped", || is_in_state(server.server, 'T'));
        for timeout in [Duration::ZERO, Duration::from_millis(10)] {
            assert!(matches!(lock.lock_timeout(timeout), Err(LockError::TimedOut)));
            assert_eq!(semaphore.acquire_timeout(timeout).map(drop), Err(SemaphoreError::TimedOut));
            assert_eq!(queue.get_timeout(timeout), Err(GetError::TimedOut));
            assert_eq!(tasks.get_timeout(timeout).map(drop), Err(GetError::TimedOut));
        }
        server.signal(Signal::CONT);
        let other = spawn(|| {
            assert!(lock.lock_timeout(PATIENCE).is_ok(), "nobody died with it");
            drop(semaphore.acquire_timeout(PATIENCE).unwrap());
            assert_eq!(queue.get_timeout(PATIENCE), Ok(1));
            let task = tasks.get_timeout(PATIENCE).unwrap();
            assert_eq!(task.deliveries(), 1, "nobody has seen it before");
            assert_eq!(task.done(), Ok(1));
        });
        succeeded(&other);
    });
}

/// The fastest of many waits counts, since any single one may be late on a busy machine.
fn a_timeout_below_a_millisecond_is_not_rounded_up() {
    with_manager(|manager| {
        let queue = manager.queue::<u64>().unwrap();
        let timeout = Duration::from_micros(100);
        let wait = || {
            let started = Instant::now();
            assert_eq!(queue.get_timeout(timeout), Err(GetError::TimedOut));
            started.elapsed()
        };
        let fastest = (0..300).map(|_| wait()).min().unwrap();
        assert!(fastest >= timeout, "never early");
        assert!(fastest < Duration::from_millis(1), "{fastest:?}");
    });
}
