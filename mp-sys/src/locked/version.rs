//! The version of locked data, which makes reading without the lock possible: a seqlock that survives its writers.
//!
//! One word beside the lock, which only the holder of the lock stores:
//!
//! | bits | meaning |
//! |---|---|
//! | 0, [`LENT`] | the data is lent: a holder that dies now leaves it half changed |
//! | 1, [`WRITING`] | the holder writes and keeps a journal: a holder that dies now leaves a change that can be repaired |
//! | 2, the slot | which of two places the data lies in, if the tier has two |
//! | 3 on | how often the data has changed; a value never comes back |
//!
//! A reader loads the word, copies the data, and loads the word again. If neither bit was set and the word is the same,
//! nobody changed the data in between, and the copy is whole. Otherwise the reader throws the copy away, and after a
//! few tries takes the lock, as every writer does.
//!
//! # Deaths
//! A holder that dies leaves the word as it is. If a bit is set, every reader goes for the lock, and the first one
//! learns of the death there. The tier repairs the data or poisons it, and only then [closes](Version::close) the word.
//!
//! # Why a reader sees no half of a change
//! The holder stores the word, executes a release fence, and then changes the data. The reader copies the data,
//! executes an acquire fence, and then loads the word. If it copied any byte of a change, it finds the word that was
//! stored before that change. A reader that finds the word that ends a change has acquired all of it.

#[cfg(all(mp_loom, test, feature = "testing"))]
mod models;

use std::sync::atomic::{Ordering, compiler_fence};

use crate::word::{Shared, Word64, Words};

/// The data is lent.
const LENT: u64 = 1;
/// The holder writes something that can be repaired.
const WRITING: u64 = 2;
/// Either of the two: a copy is worthless.
const BUSY: u64 = LENT | WRITING;
/// Which of two slots holds the data.
const SLOT: u64 = 4;
/// One change that stays in its slot. A word that counts these (and counts two changes of the slot as one) lasts for
/// more than a thousand years.
const STEP: u64 = 8;

/// Copies that a reader tries before it takes the lock. In a model one try is as good as several.
const fn tries<W: Words>() -> usize {
    if W::SPINS { 4 } else { 1 }
}

/// The version of locked data.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Version<W: Words = Shared>(W::Word64);

/// A version at which nobody was changing the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// Which of the two slots the data lies in: 0 or 1.
    #[inline]
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.0 & SLOT != 0)
    }
}

impl<W: Words> Version<W> {
    /// Copies the data without the lock: returns what `copy` returned while nobody changed anything, or `None` after a
    /// few tries.
    #[inline]
    pub fn glimpse<R>(&self, mut copy: impl FnMut(Seen) -> R) -> Option<R> {
        for _ in 0..tries::<W>() {
            if let Some(seen) = self.seen() {
                let copied = copy(seen);
                if self.is_still(seen) {
                    return Some(copied);
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Resets the version of data that no other process knows yet.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The current version, or `None` while the data is being changed.
    #[inline]
    fn seen(&self) -> Option<Seen> {
        let now = self.0.load(Ordering::Acquire);
        (now & BUSY == 0).then_some(Seen(now))
    }

    /// Whether nobody has begun to change the data since `seen`.
    #[inline]
    fn is_still(&self, seen: Seen) -> bool {
        W::fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == seen.0
    }

    /// Which of the two slots the data lies in, for the holder.
    #[inline]
    #[must_use]
    pub fn slot(&self) -> usize {
        Seen(self.now()).slot()
    }

    /// Whether nobody lends or writes the data, in the one order of all sequentially consistent accesses.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.0.load(Ordering::SeqCst) & BUSY == 0
    }

    /// Whether the data is lent, or was lent when its holder died.
    #[inline]
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.now() & LENT != 0
    }

    #[inline]
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Marks the data as lent: from now on, a death leaves it half changed.
    #[inline(always)]
    pub(super) fn lend(&self) {
        self.open(LENT);
    }

    /// Marks the start of a write that can be repaired after a death.
    #[inline(always)]
    pub(super) fn begin_write(&self) {
        self.open(WRITING);
    }

    #[inline(always)]
    fn open(&self, mark: u64) {
        self.0.store(self.now() & !BUSY | mark, Ordering::Relaxed);
        before_any_change::<W>();
    }

    /// Marks the data as whole again, in the same place.
    #[inline(always)]
    pub(super) fn close(&self) {
        self.0.store((self.now() & !BUSY).wrapping_add(STEP), Ordering::Release);
    }

    /// Moves the data to the other slot.
    #[inline(always)]
    pub(super) fn flip(&self) {
        self.0.store((self.now() & !BUSY).wrapping_add(SLOT), Ordering::Release);
    }
}

/// Orders the word before later stores: any process that sees a later store of the caller also finds what the word
/// holds now. It comes before every change: after the store that announces the change, and after the lock is taken for
/// a slot that nobody should be reading.
#[inline(always)]
pub(super) fn before_any_change<W: Words>() {
    W::fence(Ordering::Release);
    // A kill falls between two instructions, so the order of the instructions matters as well.
    compiler_fence(Ordering::SeqCst);
}
