//! The protocol of readers beside a lock, over any words: many readers, or one writer.
//!
//! The lock itself belongs to the writers. A reader does not take it: it registers.
//!
//! | word | meaning | who stores it |
//! |---|---|---|
//! | a slot | 0, or the stamp of a process that reads | the reader; a process that finds the reader's process dead sets it to 0 |
//! | used | one bit for each line of slots that ever had a reader | readers, before they use a line; bits stay |
//! | the [version](super::Version) | quiet; *writing*: a writer waits until the readers have left; *lent*: the writer is in | the holder of the lock |
//! | the signal | changes when a reader leaves while a writer waits | readers |
//!
//! A reader registers and then looks at the version. A writer marks the version and then looks at the slots. All of
//! these accesses are sequentially consistent, so at least one of the two sees the other. A reader that sees a writer
//! leaves again, and takes the lock as a writer does, but only to register under it. So a writer that has the lock goes
//! before all readers that arrive later.
//!
//! # Deaths
//! The slot of a dead reader still holds its stamp. A waiting writer looks for dead readers, once before it sleeps and
//! then in slices. The lock of a dead writer passes on, and its next owner sees in the version how far the writer came:
//! a writer in the state *writing* has changed nothing.
//!
//! # Why no wake-up is lost
//! A writer reads the signal, looks at the slots, and sleeps while the signal is what it read. A reader empties its
//! slot, and then changes the signal if it finds the version marked. So a slot that is emptied after the writer's look
//! changes the signal.

#[cfg(all(mp_loom, test, feature = "testing"))]
mod models;

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::adaptive::{Budget, Signal};
use crate::crash;
use crate::dead;
use crate::locked::Version;
use crate::robust::Patience;
use crate::word::{Shared, Word64, Words};

/// The most readers at the same time; each guard counts.
pub const READERS_MAX: usize = 512;
/// Slots in a cache line. A reader starts in the line of its CPU, so that CPUs do not share a line.
pub(super) const LINE: usize = 8;

/// The value of a free slot.
const NOBODY: u64 = 0;

/// What the protocol asks about the processes around it. In a model, the model decides who has died.
pub(super) trait Witness<W: Words> {
    /// Whether it is the caller's turn to look for the dead.
    fn is_turn_to_look(&self, last: &W::Word64, pause: Duration) -> bool;

    /// Starts one look. The closure returns whether the process whose stamp has these bits has died.
    fn look(&self) -> impl FnMut(u64) -> bool;
}

/// The witness of programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

impl Witness<Shared> for Kernel {
    fn is_turn_to_look(&self, last: &std::sync::atomic::AtomicU64, pause: Duration) -> bool {
        dead::is_turn_to_look(last, pause)
    }

    fn look(&self) -> impl FnMut(u64) -> bool {
        dead::look()
    }
}

/// Why a reader was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// A writer waits or is in.
    Out,
    /// All slots are taken.
    Full,
}

/// The words beside the lock.
#[derive(Debug)]
pub(super) struct Readers<'a, W: Words = Shared> {
    pub(super) signal: &'a Signal<W>,
    pub(super) used: &'a W::Word64,
    /// Whole lines, at most 64.
    pub(super) slots: &'a [W::Word64],
    pub(super) version: &'a Version<W>,
}

impl<W: Words> Readers<'_, W> {
    /// Registers the caller if no writer waits or is in; returns its slot. The search begins in line `first`.
    #[inline]
    pub(super) fn enter(&self, own: u64, first: usize) -> Result<usize, Kept> {
        let at = self.register(own, first).ok_or(Kept::Full)?;
        if self.version.is_quiet() {
            return Ok(at);
        }
        self.leave(at);
        Err(Kept::Out)
    }

    /// Registers a caller that knows that no writer is in: it holds the lock, or is registered already.
    #[inline]
    pub(super) fn register(&self, own: u64, first: usize) -> Option<usize> {
        let lines = self.slots.len() / LINE;
        let first = first.checked_rem(lines)?;
        let at = (first..lines).chain(0..first).find_map(|line| self.claim_in(line, own))?;
        crash::point();
        Some(at)
    }

    #[inline]
    fn claim_in(&self, line: usize, own: u64) -> Option<usize> {
        self.mark_used(1_u64.wrapping_shl(u32::try_from(line).unwrap_or(0)));
        let start = line.wrapping_mul(LINE);
        let slots = self.slots.get(start..start.wrapping_add(LINE))?;
        slots.iter().position(|slot| slot.step(NOBODY, own)).map(|at| start.wrapping_add(at))
    }

    #[inline]
    fn mark_used(&self, bit: u64) {
        loop {
            let used = self.used.load(Ordering::Relaxed);
            if used & bit != 0 || self.used.exchange(used, used | bit) {
                return;
            }
        }
    }

    /// How many slots are taken.
    pub(super) fn count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) != NOBODY).count()
    }

    /// Ends a registration.
    #[inline]
    pub(super) fn leave(&self, at: usize) {
        if let Some(slot) = self.slots.get(at) {
            slot.store(NOBODY, Ordering::SeqCst);
            crash::point();
            if !self.version.is_quiet() {
                self.signal.advance(1);
            }
        }
    }

    /// Waits until no reader is registered. The caller holds the lock, and has marked the version.
    pub(super) fn drain(&self, patience: Patience, budget: &Budget, witness: &impl Witness<W>) -> bool {
        // Between the mark and the first look: if a reader misses the mark, this look does not miss the reader.
        W::fence(Ordering::SeqCst);
        if self.is_empty() {
            return true;
        }
        self.free_those_of_the_dead(witness);
        let mut sleeper = self.signal.sleeper();
        loop {
            let seen = self.signal.get();
            if self.is_empty() {
                return true;
            }
            let Patience::Until(deadline) = patience else { return false };
            if self.signal.wait_slice(seen, budget, deadline, &mut sleeper).is_none() {
                if witness.is_turn_to_look(&self.signal.watch().last_look, dead::PAUSE) {
                    self.free_those_of_the_dead(witness);
                }
                if deadline.has_passed() {
                    return self.is_empty();
                }
            }
        }
    }

    /// Slots in lines that ever had a reader.
    fn used_slots(&self) -> impl Iterator<Item = &W::Word64> {
        let used = self.used.load(Ordering::Acquire);
        let lines = self.slots.chunks(LINE).zip(0_u32..);
        lines.filter(move |(_, line)| used.wrapping_shr(*line) & 1 != 0).flat_map(|(slots, _)| slots)
    }

    fn is_empty(&self) -> bool {
        self.used_slots().all(|slot| slot.load(Ordering::Acquire) == NOBODY)
    }

    fn free_those_of_the_dead(&self, witness: &impl Witness<W>) {
        let mut is_dead = witness.look();
        for slot in self.used_slots() {
            let bits = slot.load(Ordering::Relaxed);
            if bits != NOBODY && is_dead(bits) && slot.step(bits, NOBODY) {
                tracing::debug!("a dead reader no longer counts");
            }
        }
    }
}
