//! A word in shared memory that is read and written as an ordinary variable is: the kind of data that a lock protects.
//!
//! An atomic could not witness a lock: it never races, so `ThreadSanitizer` has nothing to report about it. Here a
//! missing lock is a race that the sanitizer reports, and increments are lost between processes.

use std::ptr::NonNull;

use crate::span::{Chunk, Span};

/// A shared word without any synchronisation of its own; it starts at 0.
#[derive(Debug)]
pub struct Plain {
    place: NonNull<u64>,
    /// Keeps the word mapped.
    _span: Span,
}

// SAFETY: the word lies in a mapping that lives as long as the span. The test that uses it finds out whether its
// threads use it one at a time.
unsafe impl Send for Plain {}
// SAFETY: as above.
unsafe impl Sync for Plain {}

impl Plain {
    /// Makes a word in memory of its own.
    ///
    /// # Panics
    /// If there is no memory.
    #[must_use]
    pub fn new() -> Self {
        let mut chunk = Chunk::for_one(size_of::<u64>()).expect("a test has memory");
        let span = chunk.cut(size_of::<u64>()).expect("the chunk is for one word");
        Self { place: span.start().cast(), _span: span }
    }

    /// The value of the word.
    #[must_use]
    pub fn get(&self) -> u64 {
        // SAFETY: an aligned word in a span that nothing else uses. The access is volatile, so that a race that the
        // test should find is one load of whatever bits are there, on which the compiler bases nothing.
        unsafe { self.place.read_volatile() }
    }

    /// Stores `value`.
    pub fn set(&self, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.place.write_volatile(value) };
    }

    /// Adds `more`, in two steps: an increment that comes in between is lost.
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spawner::{Spawner, Threads};

    /// `cargo xtask tsan` begins with this test: a sanitizer that does not report this race reports nothing.
    #[test]
    #[ignore = "a race on purpose, for the sanitizer to see"]
    fn an_increment_without_a_lock_is_a_race() {
        let word = Plain::new();
        Threads::all(2, |_| (0..1_000).for_each(|_| word.add(1)));
        assert!(word.get() <= 2_000);
    }

    #[test]
    fn a_word_holds_what_was_stored() {
        let word = Plain::new();
        word.set(u64::MAX);
        word.add(3);
        assert_eq!(word.get(), 2);
    }
}
