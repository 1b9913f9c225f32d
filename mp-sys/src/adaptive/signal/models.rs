//! Models of [`Signal`]: no wake-up is lost, in any order of accesses.
//!
//! A waiter that sleeps for ever is a deadlock, which `loom` reports.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::sync::Arc;

use loom::thread::{JoinHandle, spawn};

use super::*;
use crate::word::Modelled;

type Model = Arc<Signal<Modelled>>;

fn waiter(signal: &Model, while_it_holds: u32) -> JoinHandle<u32> {
    let signal = Arc::clone(signal);
    spawn(move || signal.wait_while(while_it_holds, &Budget::new(), Deadline::NEVER).unwrap())
}

fn nobody_sleeps(signal: &Model) {
    assert_eq!(signal.sleepers.load(Ordering::SeqCst), 0, "every announcement was taken back");
}

/// A post reaches both waiters, whether they sleep, are about to sleep, or come later.
#[test]
fn a_post_reaches_two_waiters() {
    loom::model(|| {
        let signal = Model::default();
        let waiters = [waiter(&signal, 0), waiter(&signal, 0)];
        signal.post(1);
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 1));
        nobody_sleeps(&signal);
    });
}

/// Two updates that each wake one sleeper let both waiters go on: no wake-up is spent on a waiter that was already
/// woken.
#[test]
fn two_updates_of_one_reach_two_waiters() {
    loom::model(|| {
        let signal = Model::default();
        let waiters = [waiter(&signal, 0), waiter(&signal, 0)];
        signal.update(1, |word| Some(word + 1));
        signal.update(1, |word| Some(word + 1));
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() > 0));
        nobody_sleeps(&signal);
    });
}

/// Two posters, and a waiter for the second value: it does not sleep through that value.
#[test]
fn the_last_of_two_posters_is_seen() {
    loom::model(|| {
        let signal = Model::default();
        let poster = {
            let signal = Arc::clone(&signal);
            spawn(move || signal.update(1, |word| Some(word + 1)))
        };
        let waiter = {
            let signal = Arc::clone(&signal);
            spawn(move || {
                let mut seen = 0;
                while seen < 2 {
                    seen = signal.wait_while(seen, &Budget::new(), Deadline::NEVER).unwrap();
                }
            })
        };
        signal.update(1, |word| Some(word + 1));
        poster.join().unwrap();
        waiter.join().unwrap();
        nobody_sleeps(&signal);
    });
}

/// A waiter that times out either leaves or was chosen: never both, never neither.
#[test]
fn giving_up_races_with_being_chosen() {
    const WAITING: u32 = 1;
    const CHOSEN: u32 = 2;
    loom::model(|| {
        let signal = Model::default();
        signal.reset(WAITING);
        let chooser = {
            let signal = Arc::clone(&signal);
            spawn(move || signal.update(1, |word| (word == WAITING).then_some(CHOSEN)) == WAITING)
        };
        let passed = Deadline::after(std::time::Duration::ZERO);
        let in_time = signal.wait_while(WAITING, &Budget::new(), passed);
        let left = in_time.is_none() && signal.give_up(WAITING, 0);
        let chosen = chooser.join().unwrap();
        assert_ne!(left, chosen);
        assert_eq!(signal.get(), if chosen { CHOSEN } else { 0 });
        nobody_sleeps(&signal);
    });
}
