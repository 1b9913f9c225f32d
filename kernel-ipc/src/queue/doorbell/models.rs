//! Models of doorbells: no process sleeps through what it waits for, in any order of accesses.
//!
//! The queue around the bell is modelled as a number of items under a lock. It changes as the positions of the ring do, by
//! one sequentially consistent operation, and waiters read it without the lock.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread::{JoinHandle, spawn};
use mp_sys::word::{Modelled, Words};

use super::*;

type Word = <Modelled as Words>::Word32;

/// A queue as its waiters see it.
#[derive(Default)]
struct Model {
    lock: Mutex<()>,
    items: Word,
    closed: Word,
    bell: Word,
}

impl Model {
    fn change(&self, by: impl Fn(u32) -> Option<u32>) -> bool {
        let _held = self.lock.lock().unwrap();
        self.items.update(by).is_ok()
    }

    fn put(&self) {
        assert!(self.change(|items| Some(items + 1)));
        ring(&self.bell);
    }

    fn take(&self) -> bool {
        self.change(|items| items.checked_sub(1))
    }

    fn has_items(&self) -> bool {
        self.items.load(Ordering::SeqCst) > 0
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) != 0
    }

    /// Takes an item as the core does. Returns `false` if the queue is closed and empty.
    fn get(&self) -> bool {
        let mut slept = false;
        let got = loop {
            if self.take() {
                break true;
            }
            let is_closed = self.is_closed();
            if self.has_items() {
                continue;
            }
            if is_closed {
                break false;
            }
            sleep(&self.bell, || self.has_items() || self.is_closed(), Deadline::NEVER);
            slept = true;
        };
        if slept {
            pass_on(&self.bell, || self.has_items() || self.is_closed());
        }
        got
    }

    /// Sleeps once and then gives up, no matter what woke it.
    fn give_up(&self) {
        sleep(&self.bell, || self.has_items(), Deadline::NEVER);
        pass_on(&self.bell, || self.has_items());
    }
}

fn start<R: 'static>(model: &Arc<Model>, run: impl FnOnce(&Model) -> R + 'static) -> JoinHandle<R> {
    let model = Arc::clone(model);
    spawn(move || run(&model))
}

/// Two items reach two consumers, no matter which of them sleep.
#[test]
fn two_items_reach_two_consumers() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumers = [start(&model, Model::get), start(&model, Model::get)];
        model.put();
        model.put();
        assert!(consumers.into_iter().all(|consumer| consumer.join().unwrap()));
        assert!(!model.has_items());
    });
}

/// The items of two producers reach a consumer that sleeps before each.
#[test]
fn two_producers_reach_a_consumer() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumer = start(&model, |model| model.get() && model.get());
        let producer = start(&model, Model::put);
        model.put();
        producer.join().unwrap();
        assert!(consumer.join().unwrap());
    });
}

/// A process that never slept takes the item that a sleeper was woken for. The next item still wakes a sleeper.
#[test]
fn a_sleeper_that_comes_too_late_is_woken_again() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let sleeper = start(&model, Model::get);
        let thief = start(&model, |model| model.take());
        model.put();
        let stolen = thief.join().unwrap();
        if stolen {
            model.put();
        }
        assert!(sleeper.join().unwrap());
    });
}

/// A sleeper that is woken and gives up, as at its deadline, leaves the item to another sleeper.
#[test]
fn a_sleeper_that_gives_up_passes_the_bell_on() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumer = start(&model, Model::get);
        let quitter = start(&model, Model::give_up);
        model.put();
        // The second item lets the quitter end, since it has no deadline here.
        model.put();
        assert!(consumer.join().unwrap());
        quitter.join().unwrap();
    });
}

/// Closing reaches two sleepers.
#[test]
fn closing_reaches_all() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let consumers = [start(&model, Model::get), start(&model, Model::get)];
        model.put();
        model.closed.update(|_| Some(1)).unwrap();
        ring_for_all(&model.bell);
        let got = consumers.into_iter().map(|consumer| consumer.join().unwrap());
        assert_eq!(got.filter(|got| *got).count(), 1, "the item before the end reaches one of them");
    });
}

/// A queue of tasks: the numbers of waiting and of leased tasks. A task puts the next one before it is done.
#[derive(Default)]
struct Tasks {
    lock: Mutex<()>,
    waiting: Word,
    leased: Word,
    bell: Word,
}

impl Tasks {
    /// Looks as the core's `all_is_finished` does: at the cells first, and then at the ring, under the lock.
    fn all_is_finished(&self) -> bool {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return false;
        }
        let _held = self.lock.lock().unwrap();
        self.leased.load(Ordering::SeqCst) == 0 && self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Leases a task as the core does: the cell is filled before the head moves over the item.
    fn lease(&self) {
        let _held = self.lock.lock().unwrap();
        self.leased.update(|count| Some(count + 1)).unwrap();
        self.waiting.update(|count| count.checked_sub(1)).unwrap();
    }

    fn done(&self) {
        self.leased.update(|count| count.checked_sub(1)).unwrap();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            ring_for_all(&self.bell);
        }
    }

    fn join(&self) {
        while !self.all_is_finished() {
            sleep(&self.bell, || self.all_is_finished(), Deadline::NEVER);
        }
    }
}

/// `join` ends when the last of two tasks is done, and not before, although the first task puts the second.
#[test]
fn join_waits_for_the_last_task() {
    loom::model(|| {
        let tasks = Arc::new(Tasks::default());
        tasks.waiting.store(1, Ordering::SeqCst);
        let worker = {
            let tasks = Arc::clone(&tasks);
            spawn(move || {
                tasks.lease();
                tasks.waiting.update(|count| Some(count + 1)).unwrap();
                tasks.done();
                tasks.lease();
                tasks.done();
            })
        };
        tasks.join();
        assert_eq!(tasks.leased.load(Ordering::SeqCst), 0);
        assert_eq!(tasks.waiting.load(Ordering::SeqCst), 0);
        worker.join().unwrap();
    });
}

/// Two workers that finish at the same moment wake a process that joins.
#[test]
fn the_last_of_two_workers_wakes_the_joiner() {
    loom::model(|| {
        let tasks = Arc::new(Tasks::default());
        tasks.leased.store(2, Ordering::SeqCst);
        let workers = [0, 1].map(|_| {
            let tasks = Arc::clone(&tasks);
            spawn(move || tasks.done())
        });
        tasks.join();
        assert_eq!(tasks.leased.load(Ordering::SeqCst), 0);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// The last task wakes all joiners, not just one of them.
#[test]
fn the_last_task_wakes_all_joiners() {
    loom::model(|| {
        let tasks = Arc::new(Tasks::default());
        tasks.leased.store(1, Ordering::SeqCst);
        let joiners = [0, 1].map(|_| {
            let tasks = Arc::clone(&tasks);
            spawn(move || tasks.join())
        });
        tasks.done();
        for joiner in joiners {
            joiner.join().unwrap();
        }
    });
}
