//! What happened before a call was sent is visible to the call, whichever socket the server reads first.
//!
//! The server looks at the socket of its newest client far more often than at all others. The tests stop it while it
//! looks; then a client ends, and the newest client asks for what the other one held.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use manager_rt::{Barrier, JoinableQueue, Lock, Manager, Semaphore, Value};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, eventually, hang, is_in_state, kill, spawn, succeeded, tests};
use rustix::process::Signal;
use rustix::thread::gettid;

use crate::fixture::{Place, until, until_held, until_waiting, with_manager};

tests! {
    the_holdings_of_a_killed_client_are_free_for_the_process_that_reaped_it,
    a_killed_waiter_gets_nothing_from_the_process_that_reaped_it,
}

/// Each round asks another question first.
const ROUNDS: usize = 70;
/// How many calls come right before the server is stopped. It then looks for the next one.
const CALLS: usize = 20;

struct Objects {
    lock: Lock,
    semaphore: Semaphore,
    tasks: JoinableQueue<u64>,
    barrier: Barrier,
    value: Value<u64>,
}

impl Objects {
    fn new(manager: &Manager) -> Self {
        let tasks = manager.joinable_queue().unwrap();
        tasks.put(&1).unwrap();
        Self {
            lock: manager.lock().unwrap(),
            semaphore: manager.semaphore(1).unwrap(),
            tasks,
            barrier: manager.barrier(1).unwrap(),
            value: manager.value(&0).unwrap(),
        }
    }

    /// Takes all of it, and keeps it.
    fn hold(&self) {
        self.barrier.wait().unwrap();
        let _held = (self.lock.lock().unwrap(), self.semaphore.acquire().unwrap(), self.tasks.get().unwrap());
        hang();
    }

    /// Checks that no client holds anything.
    fn ask(&self, question: usize) {
        match question % 7 {
            0 => drop(self.lock.try_lock().inspect_err(|error| {
                assert!(matches!(error, manager_rt::LockError::OwnerDied(_)), "{error}");
            })),
            1 => assert_eq!(self.lock.is_locked(), Ok(false)),
            2 => drop(self.semaphore.try_acquire().unwrap()),
            3 => assert_eq!(self.semaphore.available(), Ok(1)),
            4 => drop(self.tasks.try_get().unwrap()),
            5 => assert_eq!(self.tasks.len(), Ok(1)),
            _ => {
                self.barrier.reset().unwrap();
                assert_eq!(self.barrier.wait(), Ok(0), "an earlier end breaks nothing");
            }
        }
    }
}

/// Kills and reaps the victim, and sends the question, while the server is stopped.
fn ask_after_the_end(victim: &ChildProcess, value: &Value<u64>, server: &Place, ask: impl FnOnce()) {
    for _ in 0..CALLS {
        value.get().unwrap();
    }
    server.signal(Signal::STOP);
    kill(victim);
    let (asking, asks) = (format!("self/task/{}", gettid()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the question is sent", || asks.load(SeqCst) && is_in_state(&asking, 'S'));
            server.signal(Signal::CONT);
        });
        asks.store(true, SeqCst);
        ask();
    });
}

fn the_holdings_of_a_killed_client_are_free_for_the_process_that_reaped_it() {
    with_manager(|manager| {
        let server = Place::of(manager);
        for question in 0..ROUNDS {
            let objects = Objects::new(manager);
            let victim = spawn(|| objects.hold());
            until_held(manager, 3);
            until(manager, "the two are connected", |info| info.clients == 2);
            ask_after_the_end(&victim, &objects.value, &server, || objects.ask(question));
        }
    });
}

fn a_killed_waiter_gets_nothing_from_the_process_that_reaped_it() {
    with_manager(|manager| {
        let server = Place::of(manager);
        let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
        let value = manager.value(&0).unwrap();
        for question in 0..ROUNDS {
            let wait_for_the_lock = || drop(lock.lock_timeout(PATIENCE).unwrap());
            let wait_to_be_notified = || {
                let guard = lock.lock().unwrap();
                let (is_notified, _guard) = condition.wait_timeout(guard, PATIENCE).unwrap();
                assert!(is_notified);
            };
            if question % 2 == 0 {
                let guard = lock.lock().unwrap();
                let victim = spawn(wait_for_the_lock);
                until_waiting(manager, 1);
                let next = spawn(wait_for_the_lock);
                until_waiting(manager, 2);
                ask_after_the_end(&victim, &value, &server, || {
                    drop(guard);
                    // Sent after the release.
                    value.get().unwrap();
                });
                succeeded(&next);
            } else {
                let victim = spawn(wait_to_be_notified);
                until_waiting(manager, 1);
                let next = spawn(wait_to_be_notified);
                until_waiting(manager, 2);
                ask_after_the_end(&victim, &value, &server, || {
                    assert_eq!(condition.notify(1), Ok(1));
                });
                succeeded(&next);
            }
        }
    });
}
