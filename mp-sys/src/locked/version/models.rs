//! Models of [`Version`]: a copy that is kept is whole, and shows what was written before it, wherever a process dies.
//!
//! The data is two words, in each of two slots, that are equal whenever nobody changes them. The lock is a mutex of
//! `loom`: when a writer dies, it passes on.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::{Mutex, MutexGuard};
use loom::thread::spawn;

use super::{Version, before_any_change};
use crate::crash;
use crate::word::{Modelled, ModelledWord32, ModelledWord64, Word32, Word64};

/// Two halves of a value.
type Halves = [ModelledWord64; 2];

#[derive(Debug, Default)]
struct Model {
    lock: Mutex<()>,
    version: Version<Modelled>,
    slots: [Halves; 2],
    /// The number of a new value plus one while the first slot is overwritten with it, otherwise 0.
    journal: ModelledWord64,
    poison: ModelledWord32,
    /// Written before a value, without any ordering of its own.
    beside: ModelledWord64,
}

/// What a reader got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Whole(u64),
    Poisoned,
}

impl Model {
    fn slot(&self, slot: usize) -> &Halves {
        self.slots.get(slot).unwrap()
    }

    fn halves(&self, slot: usize) -> [u64; 2] {
        self.slot(slot).each_ref().map(|half| half.load(Ordering::Relaxed))
    }

    fn store(&self, slot: usize, value: u64) {
        for half in self.slot(slot) {
            half.store(value, Ordering::Relaxed);
            crash::point();
        }
    }

    /// Sets a large value as `Value::set` does, under the lock.
    fn set(&self, value: u64) {
        before_any_change::<Modelled>();
        self.store(self.version.slot() ^ 1, value);
        self.version.flip();
        crash::point();
    }

    /// Changes the value as a guard does.
    fn change(&self, value: u64) {
        self.version.lend();
        crash::point();
        self.store(self.version.slot(), value);
        self.version.close();
        crash::point();
    }

    /// Does what a holder does that finds the data poisoned and repairs it.
    fn put_right(&self, value: u64) {
        self.version.lend();
        self.store(self.version.slot(), value);
        self.poison.store(0, Ordering::Release);
        self.version.close();
    }

    /// Sets an element that needs a journal, as `Array::set` does.
    fn replace(&self, value: u64) {
        self.version.begin_write();
        crash::point();
        self.journal.store(value + 1, Ordering::Release);
        crash::point();
        self.redo();
        self.version.close();
        crash::point();
    }

    fn redo(&self) {
        if let Some(value) = self.journal.load(Ordering::Relaxed).checked_sub(1) {
            self.store(0, value);
            self.journal.store(0, Ordering::Release);
            crash::point();
        }
    }

    /// Takes the lock, and does what the next owner does after a death.
    fn take_over(&self) -> MutexGuard<'_, ()> {
        let held = self.lock.lock().unwrap();
        if self.version.seen().is_none() {
            self.repair();
        }
        held
    }

    fn repair(&self) {
        if self.version.is_lent() {
            self.poison.store(1, Ordering::Release);
            crash::point();
        }
        self.redo();
        self.version.close();
        crash::point();
    }

    /// Takes the lock and dies at the `n`-th point of `process`; returns whether it died.
    fn dies(&self, n: u64, process: impl FnOnce(&Self)) -> bool {
        // The lock passes on, as the kernel ensures.
        let _held = self.lock.lock().unwrap();
        crash::until(n, || process(self)).is_none()
    }

    /// Reads as `Value::get` does.
    fn get(&self) -> Got {
        if let Some(copied) = self.version.glimpse(|seen| self.copied(seen.slot())) {
            return Self::judge(copied);
        }
        let _held = self.take_over();
        Self::judge(self.copied(self.version.slot()))
    }

    fn copied(&self, slot: usize) -> ([u64; 2], u32) {
        (self.halves(slot), self.poison.load(Ordering::Relaxed))
    }

    fn judge(([first, second], poison): ([u64; 2], u32)) -> Got {
        if poison != 0 {
            return Got::Poisoned;
        }
        assert_eq!(first, second, "a kept copy is whole");
        Got::Whole(first)
    }
}

/// A writer beside a reader that reads twice: each result is whole, and never older than the one before.
fn a_reader_beside(write: fn(&Model, u64)) {
    loom::model(move || {
        let model = Arc::new(Model::default());
        let writer = {
            let model = Arc::clone(&model);
            spawn(move || {
                for value in [1, 2] {
                    let _held = model.take_over();
                    write(&model, value);
                }
            })
        };
        let read = || match model.get() {
            Got::Whole(value) => value,
            Got::Poisoned => panic!("nobody died"),
        };
        let (earlier, later) = (read(), read());
        assert!(earlier <= later, "{later} after {earlier}");
        writer.join().unwrap();
        assert_eq!(model.get(), Got::Whole(2));
    });
}

#[test]
fn a_reader_beside_a_set() {
    a_reader_beside(Model::set);
}

#[test]
fn a_reader_beside_a_guard() {
    a_reader_beside(Model::change);
}

#[test]
fn a_reader_beside_a_replacement() {
    a_reader_beside(Model::replace);
}

/// Two writers: when the first one has finished, the second one changes the slot that the reader is copying.
#[test]
fn a_reader_that_two_writers_overtake() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let others = [1, 2].map(|value| {
            let model = Arc::clone(&model);
            spawn(move || {
                let _held = model.take_over();
                model.set(value);
            })
        });
        assert!(matches!(model.get(), Got::Whole(0..=2)));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(matches!(model.get(), Got::Whole(1 | 2)));
    });
}

/// A reader that gets a value sees what its writer wrote before.
fn publishes(write: fn(&Model, u64)) {
    loom::model(move || {
        let model = Arc::new(Model::default());
        let writer = {
            let model = Arc::clone(&model);
            spawn(move || {
                model.beside.store(7, Ordering::Relaxed);
                let _held = model.take_over();
                write(&model, 1);
            })
        };
        if model.get() == Got::Whole(1) {
            assert_eq!(model.beside.load(Ordering::Relaxed), 7);
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_set_value_shows_what_was_written_before() {
    publishes(Model::set);
}

#[test]
fn a_guard_shows_what_was_written_before() {
    publishes(Model::change);
}

#[test]
fn a_replaced_value_shows_what_was_written_before() {
    publishes(Model::replace);
}

/// The data is half changed and its holder dead. Another process takes over, repairs the data and clears the poison,
/// beside a reader.
#[test]
fn a_reader_beside_the_clearing_of_poison() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.version.lend();
        model.slot(0)[0].store(9, Ordering::Relaxed);
        let reader = {
            let model = Arc::clone(&model);
            spawn(move || model.get())
        };
        let held = model.take_over();
        model.put_right(1);
        drop(held);
        assert!(matches!(reader.join().unwrap(), Got::Poisoned | Got::Whole(1)));
        assert_eq!(model.get(), Got::Whole(1));
    });
}

/// Runs a model with a process that dies at its first point, then at its second, and so on until it survives.
fn at_every_point(model: fn(u64) -> bool) {
    for n in 1.. {
        let died = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&died);
        loom::model(move || {
            if model(n) {
                told.store(true, Ordering::Relaxed);
            }
        });
        if !died.load(Ordering::Relaxed) {
            assert!(n > 1, "there is a point");
            return;
        }
    }
}

/// A process that dies at the `n`-th point, beside one reader and before another.
fn beside_a_reader(model: &Arc<Model>, n: u64, process: fn(&Model)) -> (bool, Got, Got) {
    let dying = {
        let model = Arc::clone(model);
        spawn(move || model.dies(n, process))
    };
    let early = model.get();
    let died = dying.join().unwrap();
    let late = model.get();
    assert!(late == Got::Poisoned || early != Got::Poisoned, "poison stays");
    assert_eq!(model.get(), late);
    (died, early, late)
}

#[test]
fn a_death_in_set_leaves_the_old_or_the_new_value() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        let (died, early, late) = beside_a_reader(&model, n, |model| model.set(1));
        assert!(late == Got::Whole(1) || died && early == Got::Whole(0) && late == early);
        died
    });
}

#[test]
fn a_death_under_the_guard_poisons_or_leaves_the_new_value() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        let (died, _, late) = beside_a_reader(&model, n, |model| model.change(1));
        assert!(late == Got::Whole(1) || died && late == Got::Poisoned);
        died
    });
}

#[test]
fn a_death_in_replace_leaves_the_old_or_the_new_value() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        let (died, early, late) = beside_a_reader(&model, n, |model| model.replace(1));
        assert!(late == Got::Whole(1) || died && early == Got::Whole(0) && late == early);
        died
    });
}

/// The process that takes over from a dead holder of the guard dies as well.
#[test]
fn a_death_while_poisoning_leaves_the_poisoning_to_the_next() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        model.version.lend();
        model.slot(0)[0].store(9, Ordering::Relaxed);
        let (died, early, late) = beside_a_reader(&model, n, Model::repair);
        assert_eq!((early, late), (Got::Poisoned, Got::Poisoned));
        died
    });
}

/// The same with a value in the journal: every process that comes later finds it there.
#[test]
fn a_death_while_redoing_leaves_the_redo_to_the_next() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        model.version.begin_write();
        model.journal.store(2, Ordering::Relaxed);
        let (died, early, late) = beside_a_reader(&model, n, Model::repair);
        assert_eq!((early, late), (Got::Whole(1), Got::Whole(1)));
        died
    });
}
