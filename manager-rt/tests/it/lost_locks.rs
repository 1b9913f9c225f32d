//! A guard says that its lock is lost when its connection or the server ends, although the process lives and can connect
//! again.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use manager_rt::{CallError, LockError, LockGuard, Manager, ObjectError, RLockGuard};
use mp_sys::testing::eventually;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Signal, kill_process};

use crate::relay::Relay;

/// Runs `body` with a server, a relay to it, and a client behind the relay.
fn with_relay(body: impl FnOnce(&Manager, &Relay, &Manager)) {
    let server = Manager::start().unwrap();
    let relay = Relay::to(&server);
    body(&server, &relay, &relay.client());
    drop(relay);
    server.shutdown().unwrap();
}

/// A flag that `on_lost` sets.
#[derive(Default)]
struct Lost(Arc<AtomicBool>);

impl Lost {
    fn set(&self) -> impl FnOnce() + Send + 'static {
        let lost = Arc::clone(&self.0);
        move || assert!(!lost.swap(true, Ordering::SeqCst), "the loss is reported once")
    }

    fn of(held: &LockGuard<'_>) -> Self {
        let lost = Self::default();
        held.on_lost(lost.set());
        lost
    }

    fn of_reentrant(held: &RLockGuard<'_>) -> Self {
        let lost = Self::default();
        held.on_lost(lost.set());
        lost
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_guard_knows_at_once_that_its_connection_broke() {
    with_relay(|server, relay, client| {
        let (lock, same) = (client.named("lock").lock().unwrap(), server.named("lock").lock().unwrap());
        let held = lock.lock().unwrap();
        let lost = Lost::of(&held);
        assert!(held.is_valid() && !lost.is_set());
        relay.sever();
        // No call was made since.
        assert!(!held.is_valid() && lost.is_set());
        assert!(Lost::of(&held).is_set(), "it is lost already");
        let next = same.lock().unwrap_err().into_guard().unwrap();
        assert!(next.token() > held.token());
        drop(held);
        assert!(next.is_valid() && same.is_locked().unwrap(), "dropping the lost guard releases nothing");
    });
}

#[test]
fn another_call_of_the_process_finds_the_loss_although_it_succeeds() {
    with_relay(|_, relay, client| {
        let (lock, value) = (client.named("lock").lock().unwrap(), client.named("value").value(&1).unwrap());
        let held = lock.lock().unwrap();
        let lost = Lost::of(&held);
        relay.sever();
        // The server cannot have read the call, so it is sent again over a new connection.
        assert_eq!(value.get().unwrap(), 1);
        assert!(lost.is_set());
        assert!(!held.is_valid());
        drop(held);
        let again = lock.lock();
        assert!(!matches!(again, Err(LockError::Call(_))), "{again:?}");
    });
}

#[test]
fn a_waiting_thread_finds_the_loss_when_it_happens() {
    with_relay(|server, relay, client| {
        let (lock, queue) = (client.lock().unwrap(), client.named("queue").queue::<u8>().unwrap());
        let held = lock.lock().unwrap();
        let lost = Lost::of(&held);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.get());
            eventually("the wait", || server.info().unwrap().waiters == 1);
            relay.sever();
            assert!(waiting.join().unwrap().is_err());
        });
        assert!(lost.is_set());
        drop(held);
    });
}

#[test]
fn a_reentrant_guard_is_lost_at_every_depth() {
    with_relay(|_, relay, client| {
        let lock = client.named("lock").rlock().unwrap();
        let guards = [lock.lock().unwrap(), lock.lock().unwrap()];
        let lost = Lost::of_reentrant(&guards[1]);
        relay.sever();
        assert!(guards.iter().all(|guard| !guard.is_valid()));
        assert!(lost.is_set());
        drop(guards);
        let again = lock.lock().map_err(LockError::into_guard);
        let (Ok(again) | Err(Some(again))) = again else { panic!("the lock is taken again") };
        assert!(again.is_valid());
    });
}

#[test]
fn a_lock_that_is_lost_in_a_wait_for_a_notification_is_an_error() {
    with_relay(|server, relay, client| {
        let (lock, condition) = (client.lock().unwrap(), client.named("condition").condition().unwrap());
        let held = lock.lock().unwrap();
        let lost = Lost::of(&held);
        let watched = server.named("condition").condition().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                eventually("the wait", || watched.n_waiting().unwrap() == 1);
                relay.sever();
            });
            let waited = condition.wait(held);
            assert!(matches!(waited, Err(LockError::Call(CallError::OutcomeUnknown))), "{waited:?}");
        });
        assert!(lost.is_set());
    });
}

#[test]
fn the_death_of_the_server_is_known_to_guards() {
    let server = Manager::start().unwrap();
    let lock = server.lock().unwrap();
    let held = lock.lock().unwrap();
    let lost = Lost::of(&held);
    let path = server.address().unwrap().trim_start_matches("mp+unix:").to_owned();
    let process = socket_peercred(UnixStream::connect(path).unwrap()).unwrap().pid;
    kill_process(process, Signal::KILL).unwrap();
    eventually("that the guard knows", || !held.is_valid());
    assert!(lost.is_set());
    drop(held);
    let gone = lock.is_locked().unwrap_err();
    assert_eq!(gone, ObjectError::Call(CallError::ServerGone));
    assert!(server.shutdown().is_err());
}

#[test]
fn a_lost_place_at_a_barrier_does_not_give_another_one_back() {
    with_relay(|server, relay, client| {
        let barrier = client.named("meeting").barrier(2).unwrap();
        let lost = barrier.party().unwrap();
        relay.sever();
        let same = server.named("meeting").barrier(2).unwrap();
        eventually("that the barrier breaks", || same.is_broken().unwrap());
        same.reset().unwrap();
        let kept = barrier.party().unwrap();
        drop(lost);
        let other = same.party().unwrap();
        assert!(same.party().is_err(), "the new place is still taken");
        drop((kept, other));
        drop((same.party().unwrap(), same.party().unwrap()));
    });
}

#[test]
fn a_lost_permit_does_not_release_another_one() {
    with_relay(|server, relay, client| {
        let semaphore = client.named("permits").semaphore(2).unwrap();
        let lost = semaphore.acquire().unwrap();
        let told = Lost::default();
        lost.on_lost(told.set());
        assert!(lost.is_valid());
        relay.sever();
        let held = semaphore.acquire().unwrap();
        assert!(told.is_set() && !lost.is_valid() && held.is_valid());
        let same = server.named("permits").semaphore(0).unwrap();
        eventually("that the lost permit comes back", || same.available().unwrap() == 1);
        drop(lost);
        assert_eq!(same.available().unwrap(), 1, "the other permit is still taken");
        drop(held);
        assert_eq!(same.available().unwrap(), 2);
        let (lost, kept) = (semaphore.acquire().unwrap(), same.acquire().unwrap());
        relay.sever();
        assert!(lost.forget().is_err(), "it has come back, so it cannot be kept from others");
        drop(kept);
        eventually("that all come back", || same.available().unwrap() == 2);
    });
}
