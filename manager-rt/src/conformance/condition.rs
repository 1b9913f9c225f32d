//! `Condition`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until, until_dead, until_waiting};
use crate::proto::{Fault, Kind};
use crate::{CallError, Condition, LockError, Manager};

/// Longer than a client waits for the answer to other calls after their timeout.
const LATE: Duration = Duration::from_millis(800);

tests! {
    [Condition, Lock] {
        as_many_waiters_wake_as_are_notified,
        a_wait_takes_the_lock_again_however_it_ends,
        a_leased_lock_has_its_lease_again_after_a_wait,
        a_wait_ends_with_the_lock_however_late,
        a_notification_is_reported_however_late_the_lock_comes,
        a_dead_waiter_uses_up_no_notification,
        a_condition_cannot_be_used_as_a_lock,
    }
    [Condition, RLock] {
        the_depth_of_a_reentrant_lock_is_kept,
    }
    [Condition, Lock, Value] {
        the_condition_no_longer_holds_when_wait_while_returns,
    }
}

fn as_many_waiters_wake_as_are_notified(fixture: &dyn Fixture) {
    const WAITERS: usize = 4;
    let clients: Vec<Manager> = (0..WAITERS).map(|_| fixture.client()).collect();
    let notifier = fixture.client();
    let condition = notifier.named("condition").condition().unwrap();
    let woken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let lock = client.named("lock").lock().unwrap();
                let condition = client.named("condition").condition().unwrap();
                let held = lock.lock_timeout(PATIENCE).unwrap();
                let (notified, _held) = condition.wait_timeout(held, PATIENCE).unwrap();
                assert!(notified);
                woken.fetch_add(1, Ordering::Relaxed);
            });
        }
        until("the wait", || condition.n_waiting().unwrap() == WAITERS);
        assert_eq!(condition.notify(1).unwrap(), 1);
        until("the first", || woken.load(Ordering::Relaxed) == 1);
        assert_eq!(condition.n_waiting().unwrap(), 3);
        assert_eq!(condition.notify(0).unwrap(), 0);
        assert_eq!(condition.notify(2).unwrap(), 2);
        until("the next", || woken.load(Ordering::Relaxed) == 3);
        assert_eq!(condition.notify_all().unwrap(), 1);
    });
    assert_eq!(condition.notify_all().unwrap(), 0);
}

fn a_wait_takes_the_lock_again_however_it_ends(fixture: &dyn Fixture) {
    let client = fixture.client();
    let (lock, condition) = (client.lock().unwrap(), client.condition().unwrap());
    let held = lock.lock().unwrap();
    let first = held.token();
    let (notified, held) = condition.wait_timeout(held, MOMENT).unwrap();
    assert!(!notified && lock.is_locked().unwrap());
    assert!(held.token() > first, "it was released meanwhile");
    let (holds, held) = condition.wait_timeout_while(held, MOMENT, |_| true).unwrap();
    assert!(!holds);
    let (holds, held) = condition.wait_timeout_while(held, MOMENT, |_| false).unwrap();
    assert!(holds);
    drop(held);
    assert!(!lock.is_locked().unwrap());
}

fn the_depth_of_a_reentrant_lock_is_kept(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, condition) = (one.named("lock").rlock().unwrap(), one.named("condition").condition().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let condition = other.named("condition").condition().unwrap();
            until("the wait", || condition.n_waiting().unwrap() == 1);
            let lock = other.named("lock").rlock().unwrap();
            let _held = lock.lock_timeout(PATIENCE).unwrap();
            condition.notify_all().unwrap();
        });
        let outer = lock.lock().unwrap();
        let inner = lock.lock().unwrap();
        let (notified, inner) = condition.wait_timeout(inner, PATIENCE).unwrap();
        assert!(notified);
        assert_eq!(outer.token(), inner.token(), "all guards of the thread have the new token");
        drop(outer);
        assert!(lock.is_locked().unwrap());
        drop(inner);
        assert!(!lock.is_locked().unwrap());
    });
}

/// Lets a client wait with a lock that another client then has for a long time, and returns whether it was notified.
fn wait_while_another_has_the_lock(
    fixture: &dyn Fixture,
    timeout: Duration,
    holding: impl Fn(&Condition) + Send + Sync,
) -> bool {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, condition) = (one.named("lock").lock().unwrap(), one.named("condition").condition().unwrap());
    let held = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = other.named("lock").lock().unwrap();
            let condition = other.named("condition").condition().unwrap();
            // It is next, so it has the lock as soon as the other one waits.
            let _held = lock.lock_timeout(PATIENCE).unwrap();
            holding(&condition);
            let (_open, silence) = std::sync::mpsc::channel::<()>();
            assert!(silence.recv_timeout(timeout + LATE).is_err());
        });
        until_waiting(fixture, 1);
        let (notified, _held) = condition.wait_timeout(held, timeout).unwrap();
        assert!(lock.is_locked().unwrap());
        notified
    })
}

fn a_wait_ends_with_the_lock_however_late(fixture: &dyn Fixture) {
    assert!(!wait_while_another_has_the_lock(fixture, MOMENT, |_| {}));
}

fn a_notification_is_reported_however_late_the_lock_comes(fixture: &dyn Fixture) {
    let timeout = Duration::from_secs(1);
    assert!(wait_while_another_has_the_lock(fixture, timeout, |condition| {
        assert_eq!(condition.notify(1).unwrap(), 1);
    }));
}

fn a_leased_lock_has_its_lease_again_after_a_wait(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let condition = one.condition().unwrap();
    let held = lock.lock_leased(Duration::from_millis(500)).unwrap();
    let (notified, held) = condition.wait_timeout(held, MOMENT).unwrap();
    assert!(!notified);
    let next = same.lock_timeout(PATIENCE / 2).unwrap_err().into_guard();
    assert!(next.is_some_and(|next| next.token() > held.token()), "the lease ends");
}

fn a_dead_waiter_uses_up_no_notification(fixture: &dyn Fixture) {
    let (dying, waiting, notifier) = (fixture.client(), fixture.client(), fixture.client());
    let condition = notifier.named("condition").condition().unwrap();
    let wait = |client: &Manager| {
        let lock = client.named("lock").lock().unwrap();
        let condition = client.named("condition").condition().unwrap();
        let held = lock.lock_timeout(patience(fixture)).map_err(LockError::discard)?;
        condition
            .wait_timeout(held, patience(fixture))
            .map(|(notified, _)| notified)
            .map_err(LockError::discard)
    };
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| wait(&dying));
        until_dead(fixture, "the first wait", || condition.n_waiting().unwrap() == 1);
        let next = scope.spawn(|| wait(&waiting));
        until_dead(fixture, "the second wait", || condition.n_waiting().unwrap() == 2);
        fixture.kill(&dying);
        assert!(matches!(dead.join().unwrap(), Err(LockError::Call(_))));
        assert_eq!(condition.notify(1).unwrap(), 1);
        assert_eq!(next.join().unwrap(), Ok(true));
    });
}

fn the_condition_no_longer_holds_when_wait_while_returns(fixture: &dyn Fixture) {
    const ITEMS: u32 = 50;
    let (producer, consumer) = (fixture.client(), fixture.client());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lock = producer.named("lock").lock().unwrap();
            let condition = producer.named("condition").condition().unwrap();
            let stock = producer.named("stock").value(&0_u32).unwrap();
            for _ in 0..ITEMS {
                let _held = lock.lock_timeout(PATIENCE).unwrap();
                stock.fetch_add(1).unwrap();
                condition.notify(1).unwrap();
            }
        });
        let lock = consumer.named("lock").lock().unwrap();
        let condition = consumer.named("condition").condition().unwrap();
        let stock = consumer.named("stock").value(&0_u32).unwrap();
        for _ in 0..ITEMS {
            let held = lock.lock_timeout(PATIENCE).unwrap();
            let waits = |_: &mut _| stock.get().unwrap() == 0;
            let (holds, _held) = condition.wait_timeout_while(held, PATIENCE, waits).unwrap();
            assert!(holds);
            stock.fetch_add(u32::MAX).unwrap();
        }
        assert_eq!(stock.get().unwrap(), 0);
    });
}

fn a_condition_cannot_be_used_as_a_lock(fixture: &dyn Fixture) {
    let client = fixture.client();
    client.named("lock").condition().unwrap();
    let wrong = CallError::Fault(Fault::WrongKind { found: Kind::Condition });
    assert_eq!(client.named("lock").lock().unwrap_err(), wrong.into());
    // A guard whose lock was removed cannot be used to wait.
    let lock = client.named("other").lock().unwrap();
    let condition = client.condition().unwrap();
    let held = lock.lock().unwrap();
    client.remove("other").unwrap();
    let gone = CallError::Fault(Fault::UnknownObject);
    assert!(matches!(condition.wait(held), Err(LockError::Call(error)) if error == gone));
}
