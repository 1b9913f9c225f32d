//! The lease of a lock never ends later for its holder than for the manager, even if one of the two was stopped.

use std::time::{Duration, Instant};

use manager_rt::LockError;
use mp_sys::testing::{PATIENCE, eventually, is_in_state, spawn, succeeded, tests};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::fixture::{Place, until_waiting, with_manager};
use crate::frozen::freeze;

tests! {
    a_client_that_was_stopped_does_not_hold_what_has_passed_on,
    a_call_that_a_stopped_server_left_waiting_counts_towards_the_lease,
}

const SIGCONT: i32 = 18;
const LEASE: Duration = Duration::from_millis(100);

fn a_client_that_was_stopped_does_not_hold_what_has_passed_on() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        let held = lock.lock().unwrap();
        let client = spawn(|| {
            let guard = lock.lock_leased(LEASE).unwrap();
            assert!(!guard.is_valid(), "the manager has ended the lease");
        });
        until_waiting(manager, 1);
        freeze(&client);
        // The stopped client gets the lock. When its lease is over, it passes on.
        drop(held);
        let next = lock.lock_timeout(PATIENCE);
        assert!(matches!(next, Err(LockError::OwnerDied(_))), "{next:?}");
        client.signal(SIGCONT).unwrap();
        succeeded(&client);
    });
}

/// The call takes long to arrive, and its sender cannot know which part of that was before the grant.
fn a_call_that_a_stopped_server_left_waiting_counts_towards_the_lease() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        let place = Place::of(manager);
        let (start, go) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (connected, ready) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let client = spawn(|| {
            assert_eq!(lock.is_locked(), Ok(false));
            assert_eq!(rustix::io::write(&ready, &[0]), Ok(1));
            assert_eq!(rustix::io::read(&start, &mut [0]), Ok(1));
            let guard = lock.lock_leased(LEASE).unwrap();
            assert!(!guard.is_valid(), "the call was sent longer ago than the lease lasts");
        });
        assert_eq!(rustix::io::read(&connected, &mut [0]), Ok(1));
        place.signal(Signal::STOP);
        eventually("the server is stopped", || is_in_state(place.server, 'T'));
        assert_eq!(rustix::io::write(&go, &[0]), Ok(1));
        eventually("the client has read that", || rustix::io::ioctl_fionread(&start).unwrap() == 0);
        eventually("the client waits for the answer", || is_in_state(client.id(), 'S'));
        let (_open, silence) = std::sync::mpsc::channel::<()>();
        let stopped = Instant::now();
        assert!(silence.recv_timeout(5 * LEASE).is_err() && stopped.elapsed() > LEASE);
        place.signal(Signal::CONT);
        succeeded(&client);
    });
}
