//! Models of the lock's word: nobody sleeps beside a free lock, in any order of accesses and wherever a process dies.
//!
//! [`death`] plays the kernel's part as the documentation describes it. A sleeper that nobody wakes is a deadlock,
//! which `loom` reports. Each section reads and writes a word without any ordering of its own. So a lock that lets two
//! in, or does not publish what was written under it, loses an increment.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::thread::{JoinHandle, spawn};

use super::protocol::{self, OWNER, OWNER_DIED, Rules, WAITERS};
use super::{AcquireError, Acquired, Patience};
use crate::crash;
use crate::deadline::Deadline;
use crate::word::{ModelledWord32, Word32};

const RULES: Rules = Rules { slice: Duration::MAX, forgets: false };
const WAIT: Patience = Patience::Until(Deadline::NEVER);
/// More points than any of the threads reaches.
const POINTS: u64 = 24;

#[derive(Debug, Default)]
struct Lock {
    word: ModelledWord32,
    /// What the lock protects.
    sections: ModelledWord32,
}

type Model = Arc<Lock>;

/// How a process ended that was meant to die at some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Survived,
    DiedInside,
    DiedOutside,
}

impl Lock {
    /// Runs one whole section of the thread whose kernel id is `own`; returns whether the owner before died.
    fn section(&self, own: u32, patience: Patience) -> Result<Acquired, AcquireError> {
        self.noted_section(own, patience, &Cell::new(false))
    }

    /// Does the same, and sets `inside` while the thread is in the section.
    fn noted_section(
        &self,
        own: u32,
        patience: Patience,
        inside: &Cell<bool>,
    ) -> Result<Acquired, AcquireError> {
        self.pass(own, patience, || {
            inside.set(true);
            crash::point();
            let sections = self.sections.load(Ordering::Relaxed);
            self.sections.store(sections + 1, Ordering::Relaxed);
            crash::point();
            inside.set(false);
        })
    }

    fn pass(&self, own: u32, patience: Patience, inside: impl FnOnce()) -> Result<Acquired, AcquireError> {
        let acquired = match protocol::try_take(&self.word, own) {
            Ok(()) => Acquired::Clean,
            Err(_) => protocol::take(&self.word, own, RULES, patience, || {})?,
        };
        inside();
        if protocol::try_give_up(&self.word, own).is_err() {
            protocol::give_up(&self.word, own, RULES);
        }
        Ok(acquired)
    }

    /// Does what the kernel does when thread `own` dies during a pending operation on this lock.
    fn death(&self, own: u32) {
        loop {
            let found = self.word.load(Ordering::SeqCst);
            if found & OWNER == 0 {
                self.word.wake(1);
                return;
            }
            if found & OWNER != own {
                return;
            }
            if self.word.exchange(found, found & WAITERS | OWNER_DIED).is_ok() {
                if found & WAITERS != 0 {
                    self.word.wake(1);
                }
                return;
            }
        }
    }

    /// Runs a section in a process that dies at its `n`-th point; returns how the process ended.
    fn mortal_section(&self, own: u32, n: u64, patience: Patience) -> End {
        let inside = Cell::new(false);
        let outcome = crash::until(n, || self.noted_section(own, patience, &inside));
        if outcome.is_some() {
            return End::Survived;
        }
        self.death(own);
        if inside.get() { End::DiedInside } else { End::DiedOutside }
    }
}

fn locker(lock: &Model, own: u32) -> JoinHandle<()> {
    let lock = Arc::clone(lock);
    spawn(move || {
        lock.section(own, WAIT).unwrap();
    })
}

fn is_free(lock: &Lock) {
    assert_eq!(lock.word.load(Ordering::SeqCst) & OWNER, 0, "everybody has left");
}

/// Three threads, one of which comes twice and overtakes the others: each section is alone, and nobody is left asleep.
#[test]
fn sections_are_alone_and_nobody_is_left_asleep() {
    loom::model(|| {
        let lock = Model::default();
        let others = [locker(&lock, 2), locker(&lock, 3)];
        lock.section(1, WAIT).unwrap();
        lock.section(1, WAIT).unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(lock.sections.load(Ordering::SeqCst), 4);
        is_free(&lock);
    });
}

/// Five threads: an unlocker woke nobody, because the waiter that left its mark has given up. Before the unlocker asks
/// again, another owner has come. That owner now leaves, and three more threads sleep or arrive.
#[test]
fn asking_for_sleepers_forgets_none() {
    let mut model = loom::model::Builder::new();
    // A higher bound would take minutes.
    model.preemption_bound = Some(2);
    model.check(|| {
        let lock = Model::default();
        // The other owner holds the lock.
        lock.word.store(2 | WAITERS, Ordering::SeqCst);
        let others = [3, 4, 5].map(|own| {
            let lock = Arc::clone(&lock);
            // The section is empty: this model is about who sleeps.
            spawn(move || {
                lock.pass(own, WAIT, || {}).unwrap();
            })
        });
        let asker = {
            let lock = Arc::clone(&lock);
            spawn(move || protocol::ask_for_sleepers(&lock.word, 1))
        };
        protocol::give_up(&lock.word, 2, RULES);
        others.into_iter().chain([asker]).for_each(|other| other.join().unwrap());
        is_free(&lock);
    });
}

/// A waiter that is woken, overtaken by the thread that woke it, and then dies, or that dies at any other point: the
/// next waiter goes on.
#[test]
fn the_death_of_a_waiter_loses_no_wake_up() {
    for n in 1..=POINTS {
        loom::model(move || {
            let lock = Model::default();
            let victim = {
                let lock = Arc::clone(&lock);
                spawn(move || lock.mortal_section(2, n, WAIT))
            };
            let other = locker(&lock, 3);
            lock.section(1, WAIT).unwrap();
            lock.section(1, WAIT).unwrap();
            victim.join().unwrap();
            other.join().unwrap();
            is_free(&lock);
        });
    }
}

/// An owner that dies at any point of a section: exactly one process, the next owner, hears of a death inside it.
#[test]
fn an_owner_that_dies_passes_the_lock_on() {
    for n in 1..=POINTS {
        loom::model(move || {
            let lock = Model::default();
            let other = {
                let lock = Arc::clone(&lock);
                spawn(move || lock.section(2, WAIT).unwrap())
            };
            let first = lock.mortal_section(1, n, WAIT);
            let heard = [other.join().unwrap(), lock.section(3, WAIT).unwrap()];
            let deaths = heard.iter().filter(|acquired| **acquired == Acquired::OwnerDied).count();
            match first {
                End::Survived => assert_eq!(deaths, 0),
                End::DiedInside => assert_eq!(deaths, 1),
                // It died between taking the word and entering the section, or after the section.
                End::DiedOutside => assert!(deaths <= 1),
            }
            is_free(&lock);
        });
    }
}

/// One waiter times out while another goes on waiting: the wake-up that reaches the first is not lost for the second.
#[test]
fn a_waiter_that_gives_up_leaves_the_wake_up_to_others() {
    loom::model(|| {
        let lock = Model::default();
        let passed = Patience::Until(Deadline::after(Duration::ZERO));
        let hurried = {
            let lock = Arc::clone(&lock);
            spawn(move || lock.section(2, passed).map(drop))
        };
        let other = locker(&lock, 3);
        lock.section(1, WAIT).unwrap();
        let outcome = hurried.join().unwrap();
        assert!(matches!(outcome, Ok(()) | Err(AcquireError::TimedOut)));
        other.join().unwrap();
        is_free(&lock);
    });
}

/// Once nobody waits, the mark of waiters is gone, and the next lock and unlock need no system call.
#[test]
fn the_mark_of_waiters_goes_away() {
    loom::model(|| {
        let lock = Model::default();
        let other = locker(&lock, 2);
        lock.section(1, WAIT).unwrap();
        other.join().unwrap();
        lock.section(1, WAIT).unwrap();
        assert_eq!(lock.word.load(Ordering::SeqCst), 0);
    });
}
