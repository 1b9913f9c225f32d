//! Models of [`Readers`]: nobody reads beside a writer, and no writer sleeps once all readers have left, wherever a
//! process dies.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread::spawn;

use super::{Kept, LINE, Readers, Witness};
use crate::adaptive::{Budget, Signal};
use crate::crash;
use crate::deadline::Deadline;
use crate::locked::Version;
use crate::robust::Patience;
use crate::word::{Modelled, ModelledWord64, Word64};

/// Stamps.
const READER: u64 = 11;
const OTHER: u64 = 12;
const DEAD: u64 = 13;

const FOR_EVER: Patience = Patience::Until(Deadline::NEVER);

#[derive(Debug, Default)]
struct Model {
    lock: Mutex<()>,
    signal: Signal<Modelled>,
    used: ModelledWord64,
    slots: [ModelledWord64; LINE],
    version: Version<Modelled>,
    /// Two halves that are equal except during a write.
    halves: [ModelledWord64; 2],
    poison: ModelledWord64,
    dead: ModelledWord64,
}

impl Witness<Modelled> for ModelledWord64 {
    fn is_turn_to_look(&self, _: &Self, _: Duration) -> bool {
        true
    }

    fn look(&self) -> impl FnMut(u64) -> bool {
        |bits| self.load(Ordering::Acquire) == bits
    }
}

impl Model {
    fn readers(&self) -> Readers<'_, Modelled> {
        Readers { signal: &self.signal, used: &self.used, slots: &self.slots, version: &self.version }
    }

    /// Reads as `SharedLock::read` does.
    fn read(&self, own: u64) -> u64 {
        let at = match self.readers().enter(own, 0) {
            Ok(at) => at,
            Err(Kept::Out) => {
                let _held = self.lock.lock().unwrap();
                self.repair();
                self.readers().register(own, 0).unwrap()
            }
            Err(Kept::Full) => panic!("there is room"),
        };
        let [first, second] = self.halves.each_ref().map(|half| half.load(Ordering::Relaxed));
        let is_poisoned = self.poison.load(Ordering::Relaxed) != 0;
        assert!(first == second || is_poisoned, "nobody writes beside a reader");
        crash::point();
        self.readers().leave(at);
        first
    }

    /// Writes as `SharedLock::write` does.
    fn write(&self, value: u64, patience: Patience) -> bool {
        let _held = self.lock.lock().unwrap();
        self.repair();
        self.write_locked(value, patience)
    }

    fn write_locked(&self, value: u64, patience: Patience) -> bool {
        self.version.begin_write();
        crash::point();
        let is_alone = self.readers().drain(patience, &Budget::new(), &self.dead);
        if is_alone {
            self.version.lend();
            crash::point();
            for half in &self.halves {
                half.store(value, Ordering::Relaxed);
                crash::point();
            }
        }
        self.version.close();
        crash::point();
        is_alone
    }

    /// Does what the next owner does after a death.
    fn repair(&self) {
        if self.version.is_quiet() {
            return;
        }
        if self.version.is_lent() {
            self.poison.store(1, Ordering::Release);
        }
        self.version.close();
    }
}

#[test]
fn a_reader_beside_a_writer() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let writer = {
            let model = Arc::clone(&model);
            spawn(move || assert!(model.write(1, FOR_EVER)))
        };
        let earlier = model.read(READER);
        assert!(earlier <= model.read(READER));
        writer.join().unwrap();
        assert_eq!(model.read(READER), 1);
    });
}

#[test]
fn two_readers_and_a_writer() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let other = {
            let model = Arc::clone(&model);
            spawn(move || _ = model.read(OTHER))
        };
        let writer = {
            let model = Arc::clone(&model);
            spawn(move || assert!(model.write(1, FOR_EVER)))
        };
        model.read(READER);
        other.join().unwrap();
        writer.join().unwrap();
    });
}

/// A writer that only tries either gets in, or leaves everything as it was.
#[test]
fn a_writer_that_gives_up_beside_a_reader() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let writer = {
            let model = Arc::clone(&model);
            spawn(move || u64::from(model.write(1, Patience::None)))
        };
        model.read(READER);
        assert_eq!(writer.join().unwrap(), model.read(READER));
        assert!(model.write(2, Patience::None));
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

/// A reader that dies after any of its steps: a writer that comes later gets in.
#[test]
fn a_reader_that_dies_keeps_no_writer_out() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        let dying = {
            let model = Arc::clone(&model);
            spawn(move || {
                let died = crash::until(n, || model.read(DEAD)).is_none();
                if died {
                    model.dead.store(DEAD, Ordering::Release);
                }
                died
            })
        };
        model.read(READER);
        let died = dying.join().unwrap();
        assert!(model.write(1, Patience::None));
        assert_eq!(model.read(READER), 1);
        died
    });
}

/// A writer that dies after any of its steps, beside a reader: it leaves poison if it was in, and nothing if it waited.
#[test]
fn a_writer_that_dies_lets_the_others_go_on() {
    at_every_point(|n| {
        let model = Arc::new(Model::default());
        let dying = {
            let model = Arc::clone(&model);
            spawn(move || {
                let _held = model.lock.lock().unwrap();
                crash::until(n, || model.write_locked(1, FOR_EVER)).is_none()
            })
        };
        model.read(READER);
        let died = dying.join().unwrap();
        let late = model.read(READER);
        let is_poisoned = model.poison.load(Ordering::Relaxed) != 0;
        assert!(is_poisoned || late == 1 || died);
        assert!(model.write(2, Patience::None));
        died
    });
}
