//! A caller that comes after a death finds it before its first sleep, without a slice of sleep.

use std::time::Duration;

use mp_sys::child::ChildProcess;
use mp_sys::futex::ended_slices;
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};
use shm_core::{Barrier, BarrierError, BoundedSemaphore, Event, Semaphore, SemaphoreError};

tests! {
    a_permit_of_a_dead_process_is_found_without_a_slice_of_sleep,
    a_bounded_permit_of_a_dead_process_is_found_without_a_slice_of_sleep,
    a_timeout_shorter_than_a_slice_finds_the_permit_of_a_dead_process,
    a_dead_party_is_found_without_a_slice_of_sleep,
    waiters_that_come_together_get_all_permits_of_dead_processes,
}

/// Starts a process that holds what `take` returns, and returns when it does.
fn holder<G>(take: impl FnOnce() -> G) -> ChildProcess {
    let ready = Event::new().unwrap();
    let holder = spawn(|| {
        let _held = take();
        ready.set();
        hang();
    });
    assert!(ready.wait_timeout(PATIENCE));
    holder
}

/// Runs `wait`, which finds a death without sleeping for a slice.
fn without_a_slice(wait: impl FnOnce()) {
    let before = ended_slices();
    wait();
    assert_eq!(ended_slices() - before, 0, "slices that had to end");
}

fn a_permit_of_a_dead_process_is_found_without_a_slice_of_sleep() {
    let semaphore = Semaphore::new(1).unwrap();
    kill(&holder(|| semaphore.acquire()));
    without_a_slice(|| drop(semaphore.acquire()));
    assert_eq!(semaphore.available(), 1);
}

fn a_bounded_permit_of_a_dead_process_is_found_without_a_slice_of_sleep() {
    let semaphore = BoundedSemaphore::new(2).unwrap();
    let _own = semaphore.acquire();
    kill(&holder(|| semaphore.acquire()));
    without_a_slice(|| drop(semaphore.acquire_timeout(PATIENCE).unwrap()));
    assert_eq!(semaphore.available(), 1);
}

fn a_timeout_shorter_than_a_slice_finds_the_permit_of_a_dead_process() {
    let (semaphore, little) = (Semaphore::new(2).unwrap(), Duration::from_millis(1));
    let alive = holder(|| semaphore.acquire());
    kill(&holder(|| semaphore.acquire()));
    let permit = semaphore.acquire_timeout(little).unwrap();
    assert_eq!(semaphore.acquire_timeout(little).unwrap_err(), SemaphoreError::TimedOut, "its holder lives");
    drop(permit);
    kill(&alive);
}

fn a_dead_party_is_found_without_a_slice_of_sleep() {
    let barrier = Barrier::new(2).unwrap();
    kill(&holder(|| barrier.party().unwrap()));
    without_a_slice(|| assert_eq!(barrier.wait(), Err(BarrierError::Broken)));
    barrier.reset().unwrap();
    let partner = spawn(|| {
        barrier.wait().unwrap();
    });
    barrier.wait().unwrap();
    succeeded(&partner);
}

fn waiters_that_come_together_get_all_permits_of_dead_processes() {
    const CROWD: usize = 8;
    let (semaphore, start) = (Semaphore::new(CROWD).unwrap(), Event::new().unwrap());
    let waiters: Vec<_> = (0..CROWD)
        .map(|_| {
            spawn(|| {
                assert!(start.wait_timeout(PATIENCE));
                // One waiter looks, and wakes as many as there are permits.
                semaphore.acquire_timeout(PATIENCE).unwrap().forget();
            })
        })
        .collect();
    kill(&holder(|| (0..CROWD).map(|_| semaphore.acquire()).collect::<Vec<_>>()));
    start.set();
    waiters.iter().for_each(succeeded);
    assert_eq!(semaphore.available(), 0);
}
