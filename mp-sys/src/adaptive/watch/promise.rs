//! What a watching waiter leaves in shared memory: since when it watches, and its process.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | 0-19 | the process's mark; two processes have the same mark once in a million cases, and then count as one |
//! | 20-63 | the upper bits of the [`SharedTime`] at which the waiter promised to be back a slice later, in steps of 1 ms |

use std::time::Duration;

use crate::deadline::SharedTime;
use crate::futex::SLICE;
use crate::identity::Stamp;

/// How late a waiter may keep its promise on a busy machine.
const GRACE: Duration = Duration::from_millis(20);
/// The age at which a promise no longer counts.
pub(super) const KEPT_FOR: Duration = SLICE.saturating_add(GRACE);

const MARK_BITS: u32 = 20;
const MARK_MASK: u64 = (1 << MARK_BITS) - 1;

/// Which process made the promise, as far as so few bits can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn current() -> Self {
        Self::of(Stamp::current().to_bits())
    }

    /// The mark of the process with this stamp. It is never 0, so that no promise is 0.
    pub(super) fn of(stamp: u64) -> Self {
        let mixed = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - MARK_BITS);
        Self(mixed.max(1))
    }

    /// A number for one of the process's waiters, as good as random.
    pub(super) fn lot(self, waiter: usize) -> u32 {
        let mixed = (self.0 << 44 ^ waiter as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper bits of a product depend on all bits of its factor. They are folded, because addresses differ in
        // the middle.
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> u32::BITS) as u32
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise(u64);

impl Promise {
    /// No promise.
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn new(now: SharedTime, by: Mark) -> Self {
        Self(now.to_bits() & !MARK_MASK | by.0)
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn mark(self) -> Mark {
        Mark(self.0 & MARK_MASK)
    }

    pub(super) fn is_of(self, process: Mark) -> bool {
        self.mark() == process
    }

    /// Whether the promise still counts. A promise by another clock does not.
    pub(super) fn is_kept(self, now: SharedTime) -> bool {
        SharedTime::from_bits(self.0 & !MARK_MASK).age_at(now) < KEPT_FOR
    }
}
