//! The words of a barrier, and the meaning of each store to them.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | the round: how often the barrier was passed or reset |
//! | 1 | whether it is broken |
//! | 2 | the round that is being reset plus one, 0 if none is |
//! | from 3 on | two words for each place: the stamp of the process that has it, and its [`State`] |
//! | after the places | the newest [`RESETS_KEPT`] rounds that ended by a reset, each plus one |
//!
//! A place is 16 bytes and aligned to that, so it never crosses a cache line, and three places share a line with word 1. All
//! accesses hold the lock, and most of them scan all places, so a few shared lines are better than one line for each place.

use mp_sys::crash;
use mp_sys::locked::CONTROL_BYTES;

pub(super) const ROUND: usize = 0;
pub(super) const BROKEN: usize = 8;
pub(super) const RESETTING: usize = 16;
const FIRST_PLACE: usize = 24;
const PLACE_BYTES: usize = 16;
const _: () = assert!((CONTROL_BYTES + FIRST_PLACE).is_multiple_of(PLACE_BYTES), "no place crosses a line");
/// The number of resets whose rounds are kept for waiters that have not woken up yet.
pub(super) const RESETS_KEPT: usize = 6;

/// Access to the words, for the holder of the lock.
pub(super) trait Table {
    /// Returns the word at this offset.
    fn load(&self, at: usize) -> u64;
    /// Stores a word. A kill happens before or after it.
    fn store(&self, at: usize, value: u64);
}

/// The state of a place: the round in which its process arrived last, plus one, and whether the process registered in
/// advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    arrived: u64,
    is_registered: bool,
}

impl State {
    const fn from_bits(bits: u64) -> Self {
        Self { arrived: bits >> 1, is_registered: bits & 1 == 1 }
    }

    fn to_bits(self) -> u64 {
        self.arrived << 1 | u64::from(self.is_registered)
    }

    pub(super) const fn has_arrived(self, round: u64) -> bool {
        self.arrived == round.wrapping_add(1)
    }

    /// Returns whether the round needs the process. Otherwise its place is free.
    pub(super) const fn is_needed(self, round: u64) -> bool {
        self.is_registered || self.has_arrived(round)
    }
}

/// The offsets of the words of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    fn nth(number: usize) -> Self {
        // At most PARTIES_MAX: far from overflowing.
        Self(FIRST_PLACE.wrapping_add(number.wrapping_mul(PLACE_BYTES)))
    }

    pub(super) fn all(parties: usize) -> impl Iterator<Item = Self> {
        (0..parties).map(Self::nth)
    }

    const fn state_word(self) -> usize {
        self.0.wrapping_add(8)
    }

    /// Returns the stamp of the process that has the place, or had it last.
    pub(super) fn stamp(self, held: &impl Table) -> u64 {
        held.load(self.0)
    }

    pub(super) fn state(self, held: &impl Table) -> State {
        State::from_bits(held.load(self.state_word()))
    }

    fn set(self, held: &impl Table, state: State) {
        held.store(self.state_word(), state.to_bits());
        crash::point();
    }

    /// Takes a free place, or one that the process already has. The second store decides: until then, the place is as free as
    /// before.
    fn take(self, held: &impl Table, stamp: u64, state: State) {
        if self.stamp(held) != stamp {
            held.store(self.0, stamp);
            crash::point();
        }
        self.set(held, state);
    }

    pub(super) fn register(self, held: &impl Table, stamp: u64) {
        self.take(held, stamp, State { is_registered: true, arrived: 0 });
    }

    /// Marks the process as arrived. A registered process stays registered.
    pub(super) fn arrive(self, held: &impl Table, stamp: u64, round: u64) {
        let is_registered = self.state(held).is_registered;
        self.take(held, stamp, State { is_registered, arrived: round.wrapping_add(1) });
    }

    /// Removes a registration. A process that waits keeps the place until the round ends.
    pub(super) fn leave(self, held: &impl Table) {
        let arrived = self.state(held).arrived;
        self.set(held, State { is_registered: false, arrived });
    }

    /// Removes a process that died.
    pub(super) fn clear(self, held: &impl Table) {
        self.set(held, State { is_registered: false, arrived: 0 });
    }

    /// Returns whether the process is registered here and the round still waits for it.
    pub(super) fn expects(self, held: &impl Table, stamp: u64, round: u64) -> bool {
        let state = self.state(held);
        self.stamp(held) == stamp && state.is_registered && !state.has_arrived(round)
    }

    pub(super) fn is_registered_to(self, held: &impl Table, stamp: u64) -> bool {
        self.stamp(held) == stamp && self.state(held).is_registered
    }
}

/// Returns the number of bytes of the words for so many parties.
pub(super) fn bytes_for(parties: usize) -> usize {
    Place::nth(parties).0.wrapping_add(RESETS_KEPT * 8)
}

/// The offsets of the newest resets, in no particular order.
fn resets(parties: usize) -> impl Iterator<Item = usize> {
    let first = Place::nth(parties).0;
    (0..RESETS_KEPT).map(move |number| first.wrapping_add(number.wrapping_mul(8)))
}

/// Returns whether a round that is over ended by a reset, or may have. Nothing is known of rounds before the oldest reset
/// that is kept.
pub(super) fn was_reset(held: &impl Table, parties: usize, round: u64) -> bool {
    let ended = round.wrapping_add(1);
    let kept = || resets(parties).map(|at| held.load(at));
    kept().any(|reset| reset == ended) || kept().all(|reset| reset > ended)
}

/// Finishes a reset. The process that began it calls this, or the next one if that process died.
pub(super) fn finish_reset(held: &impl Table, parties: usize) {
    let ended = held.load(RESETTING);
    let Some(round) = ended.checked_sub(1) else {
        return;
    };
    // Waiters must be able to see how their round ended before it ends.
    if held.load(ROUND) == round {
        let oldest = resets(parties).min_by_key(|at| held.load(*at));
        if let Some(oldest) = oldest
            && !resets(parties).any(|at| held.load(at) == ended)
        {
            held.store(oldest, ended);
            crash::point();
        }
        held.store(ROUND, ended);
        crash::point();
    }
    held.store(BROKEN, 0);
    crash::point();
    held.store(RESETTING, 0);
    crash::point();
}
