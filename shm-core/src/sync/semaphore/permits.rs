//! The protocol of permits, generic over the kind of word.
//!
//! Each permit is a word:
//!
//! | word | meaning | stored by |
//! |---|---|---|
//! | [`NONE`] | no permit: it was forgotten, or not added yet | `forget`; `add` makes it free |
//! | [`FREE`] | a free permit | the holder that gives it back; a process that finds the holder dead |
//! | a process's stamp | a permit that this process has | the process when it takes it |
//!
//! To take, give back, forget or add a permit is one compare-and-exchange, so a process that dies has done it completely or
//! not at all. There is no count that could be wrong: the number of available permits is the number of free words. A waiter
//! looks for stamps of dead processes before its first sleep and after each slice of waiting, and frees their permits. All
//! waiters share the time of the newest look, so that many of them do not look more often than one. Of many waiters, two have
//! short slices ([`mp_sys::adaptive::Watch`]).
//!
//! # Why no wake-up is lost
//! A waiter reads the signal, looks at every permit, and waits as long as the signal is unchanged. A process that frees a
//! permit stores it first, and then changes the signal. So if a permit becomes free after the look, the signal changes after
//! the waiter has read it.

use std::sync::atomic::Ordering;

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::word::{Shared, Word64, Words};

use crate::sync::dead::{PAUSE, Witness, pause_before_sleep};

/// No permit. It is zero, so that fresh memory has no permits.
const NONE: u64 = 0;
/// A free permit. No stamp has all bits set, because process ids end at 2^22 - 2.
pub(super) const FREE: u64 = u64::MAX;

/// A permit that this process has. All threads of a process have the same stamp, so the word does not show whether a permit
/// is still the one that was taken. A permit that was given up once must not be given up again.
#[derive(Debug)]
pub(super) struct Taken {
    at: usize,
    stamp: u64,
    is_held: bool,
}

impl Taken {
    /// Wraps the permit that `claim` took for `stamp`.
    #[inline]
    pub(super) fn new(at: usize, stamp: u64) -> Self {
        Self { at, stamp, is_held: true }
    }

    /// Gives the permit back, unless it was given up before.
    #[inline]
    pub(super) fn give_back<W: Words>(&mut self, permits: &Permits<'_, W>) {
        if std::mem::take(&mut self.is_held) {
            permits.give_back(self.at, self.stamp);
        }
    }

    /// Takes the permit out of the semaphore, unless it was given up before.
    pub(super) fn forget<W: Words>(&mut self, permits: &Permits<'_, W>) {
        if std::mem::take(&mut self.is_held) {
            permits.forget(self.at, self.stamp);
        }
    }
}

/// The words of a semaphore.
#[derive(Debug)]
pub(super) struct Permits<'a, W: Words = Shared> {
    /// Changes whenever permits become free.
    pub(super) signal: &'a Signal<W>,
    /// One word for each possible permit.
    pub(super) slots: &'a [W::Word64],
}

impl<W: Words> Permits<'_, W> {
    /// Returns the number of free permits.
    pub(super) fn available(&self) -> usize {
        self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) == FREE).count()
    }

    /// Takes the first free permit from `hint` on, and returns its index.
    #[inline]
    pub(super) fn claim(&self, own: u64, hint: usize) -> Option<usize> {
        let hint = hint.min(self.slots.len());
        let (before, after) = self.slots.split_at_checked(hint)?;
        let take = |slot: &W::Word64| slot.step(FREE, own);
        let in_after = after.iter().position(take).map(|at| at.wrapping_add(hint));
        let at = in_after.or_else(|| before.iter().position(take))?;
        crash::point();
        Some(at)
    }

    /// Takes the permit at `hint` if it is free. The permit that the same handle gave back last mostly is.
    #[inline]
    pub(super) fn claim_hinted(&self, own: u64, hint: usize) -> Option<usize> {
        self.slots.get(hint)?.step(FREE, own).then(|| {
            crash::point();
            hint
        })
    }

    /// Takes a permit, waiting until `deadline`.
    pub(super) fn claim_until(
        &self,
        own: u64,
        hint: usize,
        budget: &Budget,
        deadline: Deadline,
        witness: &impl Witness<W>,
    ) -> Option<usize> {
        let mut sleeper = self.signal.sleeper();
        loop {
            let seen = self.signal.get();
            if let Some(at) = self.claim(own, hint) {
                return Some(at);
            }
            let look = |pause| {
                if witness.is_turn_to_look(&self.signal.watch().last_look, pause) {
                    self.free_those_of_the_dead(witness);
                }
            };
            let first = || look(pause_before_sleep(PAUSE, self.slots.len()));
            if self.signal.look_and_wait_slice(seen, budget, deadline, &mut sleeper, first).is_none() {
                look(PAUSE);
                if deadline.has_passed() {
                    return self.claim(own, hint);
                }
            }
        }
    }

    /// Returns the number of permits that processes hold, including dead processes.
    pub(super) fn held(&self) -> usize {
        let is_held = |bits: u64| bits != NONE && bits != FREE;
        self.slots.iter().filter(|slot| is_held(slot.load(Ordering::Relaxed))).count()
    }

    /// Gives a permit back, if the caller holds it.
    #[inline]
    pub(super) fn give_back(&self, at: usize, own: u64) {
        if self.exchange(at, own, FREE) {
            crash::point();
            self.announce(1);
        }
    }

    /// Takes a permit out of the semaphore, if the caller holds it.
    pub(super) fn forget(&self, at: usize, own: u64) {
        self.exchange(at, own, NONE);
    }

    #[inline]
    fn exchange(&self, at: usize, from: u64, to: u64) -> bool {
        self.slots.get(at).is_some_and(|slot| slot.step(from, to))
    }

    /// Adds `count` free permits. If there is no room for all of them, adds none and returns `false`.
    pub(super) fn add(&self, count: usize, own: u64) -> bool {
        // First this process takes them, so that nobody sees them before it is known that there is room for all.
        let reserve = |slot: &&W::Word64| slot.step(NONE, own);
        let reserved: Vec<&W::Word64> =
            self.slots.iter().filter(reserve).inspect(|_| crash::point()).take(count).collect();
        let is_enough = reserved.len() == count;
        for slot in &reserved {
            slot.step(own, if is_enough { FREE } else { NONE });
            crash::point();
        }
        if is_enough {
            self.announce(u32::try_from(count).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs()));
        }
        is_enough
    }

    /// Frees the permits of dead processes.
    pub(super) fn free_those_of_the_dead(&self, witness: &impl Witness<W>) {
        let mut is_dead = witness.look();
        let mut freed = 0_u32;
        for slot in self.slots {
            let bits = slot.load(Ordering::Relaxed);
            if bits == NONE || bits == FREE {
                continue;
            }
            if is_dead(bits) && slot.step(bits, FREE) {
                freed = freed.saturating_add(1);
            }
        }
        if freed > 0 {
            // Before the event, because the subscriber is the user's code and may panic.
            self.announce(freed);
            tracing::debug!(freed, "permits of dead processes came back");
        }
    }

    /// Signals to the waiters that permits became free.
    #[inline]
    fn announce(&self, count: u32) {
        self.signal.advance(count);
    }
}
