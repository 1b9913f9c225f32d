//! Conditions, events and barriers whose waiters are killed.

use manager_rt::{BarrierError, LockError};
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};

use crate::fixture::{until, until_held, until_waiting, with_manager};

tests! {
    a_waiter_for_an_event_is_killed,
    a_waiter_for_a_notification_is_killed,
    a_notified_waiter_is_killed_before_it_has_the_lock,
    a_notifier_is_killed_with_the_lock,
    a_party_is_killed_while_it_waits,
    a_party_is_killed_after_all_have_come,
    one_set_of_children_after_another_meets,
    a_party_is_killed_while_it_acts,
}

fn a_waiter_for_an_event_is_killed() {
    with_manager(|manager| {
        let event = manager.event().unwrap();
        let victim = spawn(|| drop(event.wait()));
        let next = spawn(|| assert_eq!(event.wait_timeout(PATIENCE), Ok(true)));
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        event.set().unwrap();
        succeeded(&next);
    });
}

fn a_waiter_for_a_notification_is_killed() {
    with_manager(|manager| {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let wait = || {
            let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), PATIENCE).unwrap();
            assert!(notified);
            drop(guard);
        };
        let victim = spawn(wait);
        until_waiting(manager, 1);
        let next = spawn(wait);
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        let guard = lock.lock_timeout(PATIENCE).unwrap();
        assert_eq!(condition.notify(1), Ok(1));
        drop(guard);
        succeeded(&next);
        assert_eq!(condition.n_waiting(), Ok(0));
    });
}

/// The notification was used up, as by a waiter that woke. The lock still passes on.
fn a_notified_waiter_is_killed_before_it_has_the_lock() {
    with_manager(|manager| {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let victim = spawn(|| drop(condition.wait(lock.lock().unwrap())));
        until_waiting(manager, 1);
        let guard = lock.lock_timeout(PATIENCE).unwrap();
        assert_eq!(condition.notify_all(), Ok(1));
        assert_eq!(condition.n_waiting(), Ok(0));
        let next = spawn(|| drop(lock.lock_timeout(PATIENCE).unwrap()));
        until_waiting(manager, 2);
        kill(&victim);
        until_waiting(manager, 1);
        drop(guard);
        succeeded(&next);
    });
}

fn a_notifier_is_killed_with_the_lock() {
    with_manager(|manager| {
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let waiter = spawn(|| match condition.wait(lock.lock().unwrap()) {
            Err(LockError::OwnerDied(guard)) => drop(guard),
            other => panic!("{other:?}"),
        });
        until_waiting(manager, 1);
        let victim = spawn(|| {
            let _guard = lock.lock().unwrap();
            assert_eq!(condition.notify(1), Ok(1));
            hang();
        });
        until_held(manager, 1);
        until(manager, "the waiter stands in line for the lock", |_| condition.n_waiting() == Ok(0));
        kill(&victim);
        succeeded(&waiter);
    });
}

fn a_party_is_killed_while_it_waits() {
    with_manager(|manager| {
        let barrier = manager.barrier(3).unwrap();
        let victim = spawn(|| drop(barrier.wait()));
        let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
        until_waiting(manager, 2);
        kill(&victim);
        succeeded(&other);
        assert_eq!(barrier.is_broken(), Ok(true));
        assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        let parties = [(); 2].map(|()| spawn(|| assert!(barrier.wait_timeout(PATIENCE).is_ok())));
        barrier.wait_timeout(PATIENCE).unwrap();
        parties.iter().for_each(succeeded);
    });
}

fn a_party_is_killed_after_all_have_come() {
    with_manager(|manager| {
        let barrier = manager.barrier(2).unwrap();
        for is_registered in [false, true] {
            let victim = spawn(|| {
                let _party = is_registered.then(|| barrier.party().unwrap());
                barrier.wait_timeout(PATIENCE).unwrap();
                hang();
            });
            barrier.wait_timeout(PATIENCE).unwrap();
            kill(&victim);
            if is_registered {
                // The next round needs the dead party, so the next party to arrive gets an error.
                assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
                until(manager, "the victim is gone", |info| info.clients == 1);
                barrier.reset().unwrap();
            }
            let next = spawn(|| assert!(barrier.wait_timeout(PATIENCE).is_ok()));
            assert!(barrier.wait_timeout(PATIENCE).is_ok(), "its place is free");
            succeeded(&next);
        }
    });
}

fn one_set_of_children_after_another_meets() {
    with_manager(|manager| {
        let barrier = manager.barrier(3).unwrap();
        for _ in 0..4 {
            let set = [(); 3].map(|()| spawn(|| assert!(barrier.wait_timeout(PATIENCE).is_ok())));
            set.iter().for_each(succeeded);
            assert_eq!(barrier.is_broken(), Ok(false));
        }
        // The next set may arrive before the previous one has ended.
        let set = [(); 9].map(|()| spawn(|| assert!(barrier.wait_timeout(PATIENCE).is_ok())));
        set.iter().for_each(succeeded);
    });
}

fn a_party_is_killed_while_it_acts() {
    with_manager(|manager| {
        let barrier = manager.barrier(2).unwrap();
        let event = manager.event().unwrap();
        let acts = event.clone();
        let acting = barrier.clone().with_action(move || {
            acts.set().unwrap();
            hang();
        });
        let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
        until_waiting(manager, 1);
        let victim = spawn(|| drop(acting.wait_timeout(PATIENCE)));
        assert_eq!(event.wait_timeout(PATIENCE), Ok(true));
        assert_eq!(barrier.n_waiting(), Ok(1), "no party goes on");
        kill(&victim);
        succeeded(&other);
    });
}
