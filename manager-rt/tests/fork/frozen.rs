//! Clients that are stopped by SIGSTOP: they delay neither the server nor other clients, and keep what they hold until
//! they die.

use std::time::Duration;

use manager_rt::{BarrierError, GetError, LockError, Manager};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, eventually, hang, is_in_state, kill, spawn, succeeded, tests};

use crate::fixture::{until, until_held, until_waiting, with_manager};

tests! {
    a_frozen_holder_keeps_what_it_holds,
    a_frozen_waiter_is_served_in_its_turn,
    a_frozen_waiter_for_an_item_keeps_it_until_it_dies,
    a_frozen_party_and_a_frozen_event_waiter_delay_no_other,
    a_frozen_reader_of_long_answers_delays_no_other,
    a_continued_client_goes_on,
}

const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
/// How long a test watches for something that must not happen.
const MOMENT: Duration = Duration::from_millis(50);

pub(crate) fn freeze(child: &ChildProcess) {
    child.signal(SIGSTOP).unwrap();
    eventually("the process is stopped", || is_in_state(child.id(), 'T'));
}

/// Checks that the manager works normally for other clients.
fn others_go_on(manager: &Manager) {
    let other = spawn(|| {
        let value = manager.value(&1_u64).unwrap();
        for _ in 0..100 {
            value.fetch_add(1).unwrap();
        }
        assert_eq!(value.get(), Ok(101));
    });
    succeeded(&other);
}

fn a_frozen_holder_keeps_what_it_holds() {
    with_manager(|manager| {
        let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
        let tasks = manager.joinable_queue::<u64>().unwrap();
        tasks.put(&1).unwrap();
        let victim = spawn(|| {
            let _kept = (lock.lock().unwrap(), semaphore.acquire().unwrap(), tasks.get().unwrap());
            hang();
        });
        until_held(manager, 3);
        freeze(&victim);
        assert!(matches!(lock.lock_timeout(MOMENT), Err(LockError::TimedOut)));
        assert!(semaphore.acquire_timeout(MOMENT).is_err());
        assert_eq!(tasks.get_timeout(MOMENT).map(drop), Err(GetError::TimedOut));
        others_go_on(manager);
        kill(&victim);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        drop(semaphore.acquire_timeout(PATIENCE).unwrap());
        assert_eq!(tasks.get_timeout(PATIENCE).unwrap().done(), Ok(1));
    });
}

fn a_frozen_waiter_is_served_in_its_turn() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        let guard = lock.lock().unwrap();
        let victim = spawn(|| drop(lock.lock()));
        until_waiting(manager, 1);
        freeze(&victim);
        let next = spawn(|| assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_)))));
        until_waiting(manager, 2);
        drop(guard);
        // It has the lock without knowing it, so no other process has it.
        until_waiting(manager, 1);
        assert_eq!(lock.is_locked(), Ok(true));
        others_go_on(manager);
        until_waiting(manager, 1);
        kill(&victim);
        succeeded(&next);
    });
}

fn a_frozen_waiter_for_an_item_keeps_it_until_it_dies() {
    with_manager(|manager| {
        let (queue, tasks) = (manager.queue::<u64>().unwrap(), manager.joinable_queue::<u64>().unwrap());
        let victims = [spawn(|| drop(queue.get())), spawn(|| drop(tasks.get()))];
        until_waiting(manager, 2);
        victims.iter().for_each(freeze);
        queue.put_many(&[1, 2]).unwrap();
        tasks.put_many(&[1, 2]).unwrap();
        assert_eq!(queue.get_timeout(PATIENCE), Ok(2));
        assert_eq!(tasks.get_timeout(PATIENCE).unwrap().done(), Ok(2));
        assert_eq!(queue.get_timeout(MOMENT), Err(GetError::TimedOut));
        others_go_on(manager);
        victims.iter().for_each(kill);
        assert_eq!(queue.get_timeout(PATIENCE), Ok(1), "the dead waiter had not read it");
        assert_eq!(tasks.get_timeout(PATIENCE).unwrap().done(), Ok(1));
    });
}

fn a_frozen_party_and_a_frozen_event_waiter_delay_no_other() {
    with_manager(|manager| {
        let (barrier, event) = (manager.barrier(3).unwrap(), manager.event().unwrap());
        let party = spawn(|| drop(barrier.wait()));
        let waiter = spawn(|| drop(event.wait()));
        until_waiting(manager, 2);
        [&party, &waiter].into_iter().for_each(freeze);
        event.set().unwrap();
        others_go_on(manager);
        let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
        until(manager, "two wait at the barrier", |_| barrier.n_waiting() == Ok(2));
        kill(&party);
        succeeded(&other);
        kill(&waiter);
    });
}

/// The client requested more than its socket can hold. Its answers stay in the server, and no other client waits for
/// it.
fn a_frozen_reader_of_long_answers_delays_no_other() {
    const LEN: usize = 8 << 20;
    with_manager(|manager| {
        let value = manager.value(&vec![7_u8; LEN]).unwrap();
        let started = manager.event().unwrap();
        let victim = spawn(|| {
            started.set().unwrap();
            loop {
                assert_eq!(value.get().unwrap().len(), LEN);
            }
        });
        assert_eq!(started.wait_timeout(PATIENCE), Ok(true));
        freeze(&victim);
        others_go_on(manager);
        kill(&victim);
    });
}

fn a_continued_client_goes_on() {
    with_manager(|manager| {
        let (event, value) = (manager.event().unwrap(), manager.value(&0_u64).unwrap());
        let child = spawn(|| {
            assert_eq!(event.wait_timeout(PATIENCE), Ok(true));
            value.fetch_add(1).unwrap();
        });
        until_waiting(manager, 1);
        freeze(&child);
        event.set().unwrap();
        others_go_on(manager);
        assert_eq!(value.get(), Ok(0));
        child.signal(SIGCONT).unwrap();
        succeeded(&child);
        assert_eq!(value.get(), Ok(1));
    });
}
