//! The version of locked data, by which it is read without the lock: a seqlock that survives its writers.
//!
//! One word beside the lock, which only the holder of the lock stores:
//!
//! | bits | meaning |
//! |---|---|
//! | 0, [`LENT`] | the data is lent: whoever dies now leaves it half changed |
//! | 1, [`WRITING`] | the holder writes, and keeps a journal of it: whoever dies now leaves it to be put right |
//! | 2, the slot | which of two places the data lies in, where the tier has two |
//! | 3 on | how often the data has changed; it never comes back to what it was |
//!
//! A reader loads the word, copies the data, and loads the word again. If neither bit was set, and the word is the same, then
//! nobody has changed the data in between, and the copy is whole. Else the copy is thrown away, and after a few tries the
//! reader takes the lock, as everybody does who writes.
//!
//! # Deaths
//! A holder that dies leaves the word as it is. If a bit is set, every reader goes for the lock, where the first one is told
//! of the death; the tier puts the data right or poisons it, and only then [closes](Version::close) the word.
//!
//! # Why a reader sees no half of a change
//! The holder stores the word, then a release fence, then changes the data. The reader copies the data, then an acquire
//! fence, then loads the word: if it copied any byte of a change, it finds the word that was stored before that change. And
//! who finds the word that ends a change has acquired all of it.

#[cfg(all(loom, test, feature = "testing"))]
mod models;

use std::sync::atomic::{Ordering, compiler_fence};

use crate::word::{Shared, Word64, Words};

/// The data is lent.
const LENT: u64 = 1;
/// The holder writes what it can put right.
const WRITING: u64 = 2;
/// Either: a copy is worth nothing.
const BUSY: u64 = LENT | WRITING;
/// Which of two slots.
const SLOT: u64 = 4;
/// One change that stays in its slot. A word that counts these, and two changes of the slot as one, lasts for more than a
/// thousand years.
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
    /// Copies the data without the lock: gives what `copy` gave while nobody changed anything. `None` after a few tries.
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

    /// Makes a version of data that nobody knows yet.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The version now; `None` while the data is changed.
    #[inline]
    fn seen(&self) -> Option<Seen> {
        let now = self.0.load(Ordering::Acquire);
        (now & BUSY == 0).then_some(Seen(now))
    }

    /// Whether nobody has begun to change the data since.
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

    /// Whether the data is lent, or was when its holder died.
    #[inline]
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.now() & LENT != 0
    }

    #[inline]
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The holder lends the data: from here on, a death leaves it half changed.
    #[inline(always)]
    pub(super) fn lend(&self) {
        self.open(LENT);
    }

    /// The holder writes what can be put right after its death.
    #[inline(always)]
    pub(super) fn begin_write(&self) {
        self.open(WRITING);
    }

    #[inline(always)]
    fn open(&self, mark: u64) {
        self.0.store(self.now() & !BUSY | mark, Ordering::Relaxed);
        before_any_change::<W>();
    }

    /// The data is whole again, where it was.
    #[inline(always)]
    pub(super) fn close(&self) {
        self.0.store((self.now() & !BUSY).wrapping_add(STEP), Ordering::Release);
    }

    /// The data lies in the other slot from now on.
    #[inline(always)]
    pub(super) fn flip(&self) {
        self.0.store((self.now() & !BUSY).wrapping_add(SLOT), Ordering::Release);
    }
}

/// Whoever sees a later store of the caller finds what the word holds now. It stands in front of every change: behind the
/// store that announces it, and behind the lock for a slot that nobody should be reading.
#[inline(always)]
pub(super) fn before_any_change<W: Words>() {
    W::fence(Ordering::Release);
    // A kill falls between two instructions: the order of the instructions counts as well.
    compiler_fence(Ordering::SeqCst);
}
