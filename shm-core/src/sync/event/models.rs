//! Models of [`Flag`]: no waiter sleeps through a `set`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU32;
use loom::thread::{JoinHandle, spawn};
use mp_sys::adaptive::{Budget, Signal};
use mp_sys::deadline::Deadline;
use mp_sys::word::Modelled;

use crate::sync::event::flag::Flag;

type Word = Arc<Signal<Modelled>>;

fn waiter(word: &Word) -> JoinHandle<()> {
    let word = Arc::clone(word);
    spawn(move || assert!(Flag(&*word).wait_until(&Budget::new(), Deadline::NEVER)))
}

/// A thread that was waiting when the flag was set goes on, although the flag was cleared at once.
///
/// A thread that comes after the `clear` rightly waits; the second `set` here is for that case.
#[test]
fn set_and_clear_reach_a_waiter() {
    loom::model(|| {
        let word = Word::default();
        let waiter = waiter(&word);
        let flag = Flag(&*word);
        flag.set();
        flag.clear();
        assert!(!flag.is_set());
        flag.set();
        waiter.join().unwrap();
    });
}

/// A thread that is known to be waiting goes on after a `set` and `clear`, without another `set`.
#[test]
fn a_pulse_reaches_whoever_has_looked_before() {
    loom::model(|| {
        let word = Word::default();
        // The word that the waiter saw before it waits.
        let seen = word.get();
        let waiter = {
            let word = Arc::clone(&word);
            spawn(move || word.wait_while(seen, &Budget::new(), Deadline::NEVER).is_some())
        };
        Flag(&*word).set();
        Flag(&*word).clear();
        assert!(waiter.join().unwrap());
    });
}

/// A `set` reaches both of two waiters.
#[test]
fn a_set_reaches_two_waiters() {
    loom::model(|| {
        let word = Word::default();
        let waiters = [waiter(&word), waiter(&word)];
        Flag(&*word).set();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

/// A waiter sees everything that was written before the `set`.
#[test]
fn a_set_publishes_what_was_written_before() {
    loom::model(|| {
        let word = Word::default();
        let written = Arc::new(AtomicU32::new(0));
        let setter = {
            let (word, written) = (Arc::clone(&word), Arc::clone(&written));
            spawn(move || {
                written.store(1, Ordering::Relaxed);
                Flag(&*word).set();
            })
        };
        assert!(Flag(&*word).wait_until(&Budget::new(), Deadline::NEVER));
        assert_eq!(written.load(Ordering::Relaxed), 1);
        setter.join().unwrap();
    });
}

/// A timed wait that ends at the same time as a `set` reports correctly whether the flag was set.
#[test]
fn a_timeout_and_a_set() {
    loom::model(|| {
        let word = Word::default();
        let setter = {
            let word = Arc::clone(&word);
            spawn(move || Flag(&*word).set())
        };
        let told = Flag(&*word).wait_until(&Budget::new(), Deadline::after(std::time::Duration::ZERO));
        assert!(!told || Flag(&*word).is_set(), "it reported a `set` that happened");
        setter.join().unwrap();
        assert!(Flag(&*word).wait_until(&Budget::new(), Deadline::NEVER));
    });
}
