//! Readers of values and arrays beside writers that are killed: what they read is whole or poisoned, and they go on.

use std::ops::Deref;

use mp::{Array, LockError, LockResult, RawArray, RawValue, Value};
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::testing::{Random, ended, eventually, spawn};

use crate::cell::{Outcome, define_cells};

/// The longest that a victim works before it is killed, in nanoseconds.
const MOMENT_MAX: u64 = 200_000;
const READERS: usize = 2;

/// An object whose elements are all equal whenever nobody changes it.
trait Readable {
    fn make() -> Self;
    /// Reads it, sometimes only a single element; returns `None` if it is poisoned.
    fn read(&self, round: u64) -> Option<Vec<u64>>;
    /// Changes it in one of its ways, and repairs it first if it is poisoned.
    fn change(&self, round: u64);
}

/// What a writer does after a dead one: it returns the guard, with everything behind it in order.
fn repaired<G: Deref>(taken: LockResult<G>, repair: impl FnOnce(&mut G)) -> G {
    match taken {
        Ok(guard) => guard,
        Err(LockError::Poisoned(mut guard)) => {
            repair(&mut guard);
            guard
        }
        Err(other) => panic!("{other}"),
    }
}

fn unless_poisoned<T>(read: LockResult<T>) -> Option<T> {
    match read {
        Ok(found) => Some(found),
        Err(LockError::Poisoned(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Too large for one store.
type Large = [u64; 40];

impl Readable for Value<Large> {
    fn make() -> Self {
        Self::new([0; 40]).unwrap()
    }

    fn read(&self, _: u64) -> Option<Vec<u64>> {
        unless_poisoned(self.get()).map(Vec::from)
    }

    fn change(&self, round: u64) {
        if round.is_multiple_of(2) {
            // Refused while the value is poisoned.
            _ = self.set([round; 40]);
            return;
        }
        let mut guard = repaired(self.lock(), |guard| {
            guard.fill(0);
            self.clear_poison();
        });
        guard.iter_mut().for_each(|word| *word = word.wrapping_add(1));
    }
}

/// A word with two halves that are changed one after the other.
impl Readable for Value<u64> {
    fn make() -> Self {
        Self::new(0).unwrap()
    }

    fn read(&self, _: u64) -> Option<Vec<u64>> {
        let word = unless_poisoned(self.get())?;
        Some(vec![word >> 32, word & u64::from(u32::MAX)])
    }

    fn change(&self, round: u64) {
        if round.is_multiple_of(2) {
            let half = round & 0xffff;
            // Refused while the value is poisoned.
            _ = self.set(half << 32 | half);
            return;
        }
        let mut guard = repaired(self.lock(), |guard| {
            **guard = 0;
            self.clear_poison();
        });
        *guard ^= 1;
        *guard ^= 1 << 32;
    }
}

/// Elements that go through the journal, each of which is set alone.
impl Readable for Array<[u64; 3]> {
    fn make() -> Self {
        Self::zeroed(30).unwrap()
    }

    fn read(&self, round: u64) -> Option<Vec<u64>> {
        if round.is_multiple_of(2) {
            // For one element; the others say nothing about it.
            return self.get(29).ok().map(Vec::from);
        }
        unless_poisoned(self.to_vec()).map(|elements| elements.as_flattened().to_vec())
    }

    fn change(&self, round: u64) {
        if round.is_multiple_of(2) {
            // The same element again and again: unchanged, or refused.
            if let Ok(found) = self.get(7) {
                _ = self.set(7, found);
            }
            return;
        }
        let mut guard = repaired(self.lock(), |guard| {
            guard.fill([0; 3]);
            self.clear_poison();
        });
        guard.as_flattened_mut().iter_mut().for_each(|word| *word = word.wrapping_add(1));
    }
}

/// Reads for ever, and panics if it sees a mixture that is not reported.
fn keep_reading<R: Readable>(object: &R, counts: &RawArray<u64>, number: usize) {
    for round in 0_u64.. {
        if let Some(found) = object.read(round) {
            assert!(found.iter().all(|word| *word == found[0]), "torn: {found:?}");
        }
        counts.fetch_add(number, 1).unwrap();
    }
}

fn beside_dying_writers<R: Readable>(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let object = R::make();
    let counts = RawArray::<u64>::zeroed(READERS).unwrap();
    let readers: Vec<ChildProcess> =
        (0..READERS).map(|number| spawn(|| keep_reading(&object, &counts, number))).collect();
    for _ in 0..kills {
        let works = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            for round in 1_u64.. {
                object.change(round);
                works.store(true);
            }
        });
        eventually("the writer works", || works.load());
        random.pause(MOMENT_MAX);
        let before = counts.to_vec();
        let moved = || counts.to_vec().iter().zip(&before).all(|(now, before)| now > before);
        out.recover(&victim, || eventually("all readers go on", moved));
        // This is the time of the scheduler, not of the object.
        out.recoveries.pop();
    }
    for reader in &readers {
        // A process that ended earlier saw something torn.
        reader.signal(9).unwrap();
        out.torn += u32::from(ended(reader) != Ended::Signaled(9));
    }
    out
}

define_cells! {
    SMALL: "value", "readers_of_a_word", beside_dying_writers::<Value<u64>>;
    LARGE: "value", "readers", beside_dying_writers::<Value<Large>>;
    ARRAY: "array", "readers", beside_dying_writers::<Array<[u64; 3]>>;
}
