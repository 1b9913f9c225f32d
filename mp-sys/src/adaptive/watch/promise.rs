//! What one who watches leaves in shared memory: since when, and which process it is of.
//!
//! | bits of the word | meaning |
//! |---|---|
//! | 0-19 | the process's mark; two processes have the same one in a million cases, and then pass for one |
//! | 20-63 | the upper bits of the [`SharedTime`] at which it was promised to be back a slice later, so in steps of 1 ms |

use std::time::Duration;

use crate::deadline::SharedTime;
use crate::futex::SLICE;
use crate::identity::Stamp;

/// How late a promise may be kept on a busy machine.
const GRACE: Duration = Duration::from_millis(20);
/// How old a promise is when nobody believes in it any more.
pub(super) const KEPT_FOR: Duration = SLICE.saturating_add(GRACE);

const MARK_BITS: u32 = 20;
const MARK_MASK: u64 = (1 << MARK_BITS) - 1;

/// Which process, as far as so few bits tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn current() -> Self {
        Self::of(Stamp::current().to_bits())
    }

    /// That of the process with this stamp; never 0, so that no promise is.
    pub(super) fn of(stamp: u64) -> Self {
        let mixed = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - MARK_BITS);
        Self(mixed.max(1))
    }

    /// A number for one of the process's waiters, as good as random.
    pub(super) fn lot(self, waiter: usize) -> u32 {
        let mixed = (self.0 << 44 ^ waiter as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper bits of a product depend on all bits of its factor; folded, since addresses differ in the middle.
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> u32::BITS) as u32
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise(u64);

impl Promise {
    /// Nobody's.
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

    /// Whether it is kept so far. One of another clock is nobody's.
    pub(super) fn is_kept(self, now: SharedTime) -> bool {
        SharedTime::from_bits(self.0 & !MARK_MASK).age_at(now) < KEPT_FOR
    }
}
