//! The protocol of a flag, generic over the kind of word.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | 0 | whether the flag is set |
//! | 1-31 | how often it was set |
//!
//! A waiter remembers the word that it saw, and waits until the word has changed. So it goes on even if the flag was set and
//! cleared again before it ran. `set` never waits for a waiter, and a dead waiter leaves nothing behind.

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::deadline::Deadline;
use mp_sys::word::{Shared, Words};

const SET: u32 = 1;
/// The step of the count of how often the flag was set.
const ONCE: u32 = 2;
/// The number of waiters to wake: all.
const ALL: u32 = i32::MAX.unsigned_abs();

/// A flag in one word.
#[derive(Debug)]
pub(super) struct Flag<'a, W: Words = Shared>(pub(super) &'a Signal<W>);

impl<W: Words> Flag<'_, W> {
    pub(super) fn is_set(&self) -> bool {
        self.0.get() & SET != 0
    }

    /// Sets the flag and wakes all waiters.
    pub(super) fn set(&self) {
        self.0.update(ALL, |word| (word & SET == 0).then(|| word.wrapping_add(ONCE) | SET));
    }

    /// Clears the flag.
    pub(super) fn clear(&self) {
        self.0.update(0, |word| (word & SET != 0).then_some(word & !SET));
    }

    /// Waits until the flag is set. Returns `false` if it was not set before `deadline`.
    pub(super) fn wait_until(&self, budget: &Budget, deadline: Deadline) -> bool {
        let seen = self.0.get();
        // A flag that is not set can only change by being set.
        seen & SET != 0 || self.0.wait_while(seen, budget, deadline).is_some()
    }
}
