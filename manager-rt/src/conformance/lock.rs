//! `Lock`.

use std::time::{Duration, Instant};

use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until_waiting};
use crate::proto::Fault;
use crate::{CallError, LockError};

tests! {
    [Lock, Value] {
        it_has_one_holder_at_a_time,
    }
    [Lock] {
        the_longest_waiter_is_next,
        a_thread_does_not_wait_for_itself,
        it_passes_on_when_its_holder_dies,
        a_dead_waiter_is_passed_over,
        a_lease_ends,
        a_lease_that_a_death_grants_ends_after_its_whole_time,
        waiters_get_an_error_when_it_is_removed,
    }
}

fn it_has_one_holder_at_a_time(fixture: &dyn Fixture) {
    const EACH: u64 = 100;
    let clients = [fixture.client(), fixture.client(), fixture.client()];
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                let lock = client.named("lock").lock().unwrap();
                let sum = client.named("sum").value(&0_u64).unwrap();
                let mut newest = 0;
                for _ in 0..EACH {
                    let held = lock.lock_timeout(PATIENCE).unwrap();
                    assert!(held.token() > newest, "tokens grow");
                    newest = held.token();
                    sum.set(&sum.get().unwrap().saturating_add(1)).unwrap();
                }
            });
        }
    });
    let [client, ..] = &clients;
    assert_eq!(client.named("sum").value(&0_u64).unwrap().get().unwrap(), 3 * EACH);
    assert!(!client.named("lock").lock().unwrap().is_locked().unwrap());
}

fn the_longest_waiter_is_next(fixture: &dyn Fixture) {
    let (holder, one, other) = (fixture.client(), fixture.client(), fixture.client());
    if !holder.backend().caps().fair {
        return;
    }
    let lock = holder.named("lock").lock().unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        for (place, client) in [(1, &one), (2, &other)] {
            let order = &order;
            scope.spawn(move || {
                let lock = client.named("lock").lock().unwrap();
                let _held = lock.lock_timeout(PATIENCE).unwrap();
                order.lock().unwrap().push(place);
            });
            until_waiting(fixture, place);
        }
        drop(held);
        // A newcomer does not overtake.
        let _held = lock.lock_timeout(PATIENCE).unwrap();
        order.lock().unwrap().push(3);
    });
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
}

fn a_thread_does_not_wait_for_itself(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let held = lock.lock().unwrap();
    assert!(matches!(lock.lock(), Err(LockError::Deadlock)));
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    // For another client, the same thread is another holder: only the timeout ends its wait.
    assert!(matches!(same.try_lock(), Err(LockError::WouldBlock)));
    assert!(matches!(same.lock_timeout(MOMENT), Err(LockError::TimedOut)));
    assert!(matches!(same.lock_timeout(Duration::ZERO), Err(LockError::TimedOut)));
    assert!(same.is_locked().unwrap());
    drop(held);
    assert!(same.try_lock().is_ok());
    // Another thread of the same client is another holder.
    let _held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(lock.lock_timeout(MOMENT), Err(LockError::TimedOut))));
    });
}

fn it_passes_on_when_its_holder_dies(fixture: &dyn Fixture) {
    let (dying, waiting) = (fixture.client(), fixture.client());
    let (lock, same) = (dying.named("lock").lock().unwrap(), waiting.named("lock").lock().unwrap());
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| {
            let error = same.lock_timeout(patience(fixture)).unwrap_err();
            assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
            let _held = error.into_guard().unwrap();
            assert!(same.is_locked().unwrap());
        });
        until_waiting(fixture, 1);
        fixture.kill(&dying);
        next.join().unwrap();
    });
    drop(held);
    assert!(same.try_lock().is_ok(), "only the next holder gets the error");
}

fn a_dead_waiter_is_passed_over(fixture: &dyn Fixture) {
    let (holder, dying, waiting) = (fixture.client(), fixture.client(), fixture.client());
    let lock = holder.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| {
            let lock = dying.named("lock").lock().unwrap();
            let error = lock.lock_timeout(patience(fixture)).unwrap_err();
            assert!(matches!(error, LockError::Call(_)), "{error:?}");
        });
        until_waiting(fixture, 1);
        let next = scope.spawn(|| {
            let lock = waiting.named("lock").lock().unwrap();
            assert!(lock.lock_timeout(patience(fixture)).is_ok());
        });
        until_waiting(fixture, 2);
        fixture.kill(&dying);
        dead.join().unwrap();
        drop(held);
        next.join().unwrap();
    });
}

fn a_lease_ends(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let frozen = lock.lock_leased(MOMENT).unwrap();
    let next = same.lock_timeout(PATIENCE).unwrap_err().into_guard().unwrap();
    assert!(next.token() > frozen.token());
    // A holder that is too late releases nothing.
    drop(frozen);
    assert!(lock.is_locked().unwrap());
    drop(next);
    // If the lock is released within its lease, the next holder gets no error.
    drop(lock.lock_leased(PATIENCE).unwrap());
    assert!(same.try_lock().is_ok());
}

/// Nobody calls the manager between the death and the end of the lease.
fn a_lease_that_a_death_grants_ends_after_its_whole_time(fixture: &dyn Fixture) {
    const LEASE: Duration = Duration::from_millis(100);
    let (dying, frozen, waiting) = (fixture.client(), fixture.client(), fixture.client());
    let [first, second, third] =
        [&dying, &frozen, &waiting].map(|client| client.named("lock").lock().unwrap());
    let held = first.lock().unwrap();
    std::thread::scope(|scope| {
        let (granted, known) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let guard = second.lock_leased(LEASE).unwrap_err().into_guard().unwrap();
            granted.send(guard.token()).unwrap();
            assert!(ended.recv_timeout(PATIENCE).is_ok());
            drop(guard);
        });
        until_waiting(fixture, 1);
        let next = scope.spawn(move || {
            let guard = third.lock_timeout(PATIENCE).unwrap_err().into_guard().unwrap();
            (guard.token(), Instant::now())
        });
        until_waiting(fixture, 2);
        // The lease must not count from the last call.
        assert!(known.recv_timeout(LEASE).is_err(), "nobody releases the lock");
        let died = Instant::now();
        fixture.kill(&dying);
        let token = known.recv_timeout(PATIENCE).unwrap();
        let (later, got) = next.join().unwrap();
        assert!(later > token);
        let time = got.duration_since(died);
        assert!(time >= LEASE, "two holders at once");
        assert!(time < PATIENCE / 2, "nobody noticed the end of the lease: {time:?}");
        end.send(()).unwrap();
    });
    drop(held);
}

fn waiters_get_an_error_when_it_is_removed(fixture: &dyn Fixture) {
    let (holder, waiting) = (fixture.client(), fixture.client());
    let lock = holder.named("lock").lock().unwrap();
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = waiting.named("lock").lock().unwrap();
            let gone = CallError::Fault(Fault::UnknownObject);
            assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::Call(error)) if error == gone));
        });
        until_waiting(fixture, 1);
        holder.remove("lock").unwrap();
    });
    drop(held);
}
