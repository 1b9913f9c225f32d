//! The protocol of rounds, generic over the words and the lock. The module [`places`](super::places) explains the words.
//!
//! The number of arrived parties is counted from their places, and one store of the round passes the barrier. So there is no
//! count that a dead process could leave wrong. If a process dies in a reset, the next holder of the lock finishes it.
//!
//! # Whose death breaks the barrier
//! A process has a place while one of its threads waits in the current round, and while it is registered in advance. One word
//! says both, so one store takes a place, and the end of a round frees the places of all processes that did not register. A
//! round needs the processes that have a place, and no others. The death of one of them breaks the barrier; any other process
//! may end at any time. A registered process that is killed looks the same as one that ends without removing its
//! registration, so both break the barrier.
//!
//! A waiter looks for deaths before it sleeps, and after a slice of sleep when it is its turn. The last party looks before it
//! passes, if no look was recent: otherwise it might count a party that arrived and died while nobody else waited. A caller
//! that finds no place looks as well, since a dead process may have one.
//!
//! # The end of a round
//! A waiter that wakes up needs nothing from its place, which may belong to another process by then. It compares the round
//! with its own, and looks for it among the newest resets. If there were more resets than are kept while it slept, it cannot
//! know how its round ended, and reports a reset.
//!
//! # The action
//! The last party runs it while all parties are marked as arrived and the round has not ended, so its death or panic breaks
//! the barrier like that of any party. A caller that comes meanwhile belongs to the next round, and waits for it to begin.
//!
//! # Why no wake-up is lost
//! A waiter reads the signal while it holds the lock, and sleeps as long as the signal is unchanged. A process that ends a
//! round or breaks the barrier does so under the lock, and changes the signal afterwards.

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::word::{Shared, Words};

use crate::error::BarrierError;
use crate::sync::barrier::places::{BROKEN, Place, RESETTING, ROUND, Table, finish_reset, was_reset};
use crate::sync::dead::{PAUSE_OF_MANY, Witness, pause_before_sleep};

/// The number of waiters to wake: all.
const ALL: u32 = i32::MAX.unsigned_abs();

/// The lock over the words.
pub(super) trait TableLock {
    /// Access to the words, for the holder. Dropping it releases the lock.
    type Held<'a>: Table
    where
        Self: 'a;

    /// Takes the lock, and finishes what a dead holder left half done.
    fn lock(&self) -> Result<Self::Held<'_>, BarrierError>;
}

/// A thread that comes to wait, as the protocol sees it.
#[derive(Clone, Copy)]
pub(super) struct Comer<'a> {
    /// Its process.
    pub(super) stamp: u64,
    /// The place that it registered in advance.
    pub(super) place: Option<Place>,
    /// The action that it runs before the others go on, if it is the last.
    pub(super) action: Option<&'a dyn Fn()>,
    pub(super) budget: &'a Budget,
    pub(super) deadline: Deadline,
}

/// The result of an arrival.
enum Arrival {
    /// It waits for the others: the order in which it came, and the signal to wait for.
    Waits { index: usize, seen: u32 },
    /// It was the last, and the round is over unless there is an action.
    IsLast { index: usize },
    /// All parties have arrived, and one of them runs the action: the signal to wait for.
    IsEarly { seen: u32 },
}

/// The role of a thread that waits for the end of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A party of the round, which breaks the barrier if it gives up.
    Party,
    /// A caller that found no place in it.
    Early,
}

/// Why a round does not continue.
enum Ending {
    Passed,
    WasReset,
    WasBroken,
    /// A death was found, and the barrier is not broken yet.
    PartyDied,
}

/// The words of a barrier.
#[derive(Debug)]
pub(super) struct Rounds<'a, L, W: Words = Shared> {
    pub(super) table: &'a L,
    /// Changes whenever a round ends or the barrier breaks.
    pub(super) signal: &'a Signal<W>,
    pub(super) parties: usize,
}

impl<L: TableLock, W: Words> Rounds<'_, L, W> {
    /// Registers a process in advance.
    pub(super) fn party(&self, stamp: u64, witness: &impl Witness<W>) -> Result<Place, BarrierError> {
        let held = self.table.lock()?;
        is_whole(&held)?;
        match self.free_place(&held) {
            Some(place) => {
                place.register(&held, stamp);
                Ok(place)
            }
            None => Err(self.refuse(held, witness)),
        }
    }

    /// Removes the registration that [`party`](Self::party) made for the process.
    pub(super) fn leave(&self, place: Place, stamp: u64) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        if place.is_registered_to(&held, stamp) {
            place.leave(&held);
        }
        Ok(())
    }

    /// Arrives, waits for the others until the deadline, and returns the order in which the caller came.
    pub(super) fn wait(&self, comer: Comer<'_>, witness: &impl Witness<W>) -> Result<usize, BarrierError> {
        loop {
            let (round, arrival) = self.come(comer, witness)?;
            match arrival {
                Arrival::Waits { index, seen } => {
                    self.wait_for_end((round, seen), comer, witness, Role::Party)?;
                    return Ok(index);
                }
                Arrival::IsLast { index } => {
                    if let Some(action) = comer.action {
                        self.act(round, action)?;
                    }
                    self.announce();
                    return Ok(index);
                }
                Arrival::IsEarly { seen } => self.wait_for_end((round, seen), comer, witness, Role::Early)?,
            }
        }
    }

    /// Takes a place for the caller.
    fn come(&self, comer: Comer<'_>, witness: &impl Witness<W>) -> Result<(u64, Arrival), BarrierError> {
        let held = self.table.lock()?;
        is_whole(&held)?;
        let round = held.load(ROUND);
        let index = self.count_arrived(&held, round);
        let Some(place) = self.place_for(&held, comer, round) else {
            if index == self.parties {
                return Ok((round, Arrival::IsEarly { seen: self.signal.get() }));
            }
            return Err(self.refuse(held, witness));
        };
        place.arrive(&held, comer.stamp, round);
        if index.wrapping_add(1) < self.parties {
            return Ok((round, Arrival::Waits { index, seen: self.signal.get() }));
        }
        if self.parties > 1 && self.is_turn_before_sleep(witness) && self.some_died(&held, witness) {
            self.break_it(held);
            return Err(BarrierError::Broken);
        }
        if comer.action.is_none() {
            held.store(ROUND, round.wrapping_add(1));
            crash::point();
        }
        Ok((round, Arrival::IsLast { index }))
    }

    /// Runs the action, and ends the round if the barrier is still whole.
    fn act(&self, round: u64, action: &dyn Fn()) -> Result<(), BarrierError> {
        let mut acting = Acting { rounds: self, started_in: Epoch::current(), has_returned: false };
        action();
        acting.has_returned = true;
        let held = self.table.lock()?;
        is_whole(&held)?;
        // Another process may have reset the barrier, and a child that the action forked is no party.
        if held.load(ROUND) != round || !acting.started_in.is_current() {
            return Err(BarrierError::Broken);
        }
        held.store(ROUND, round.wrapping_add(1));
        crash::point();
        Ok(())
    }

    /// Waits for the end of the round. The caller has arrived in it, or comes too early for the next one.
    fn wait_for_end(
        &self,
        (round, mut seen): (u64, u32),
        comer: Comer<'_>,
        witness: &impl Witness<W>,
        role: Role,
    ) -> Result<(), BarrierError> {
        let Comer { budget, deadline, .. } = comer;
        let mut sleeper = self.signal.sleeper();
        loop {
            let first = || self.look_before_sleep(round, witness);
            let slept_through =
                self.signal.look_and_wait_slice(seen, budget, deadline, &mut sleeper, first).is_none();
            // If every waiter looked, each would take the lock and ask about each party.
            let is_turn =
                slept_through && witness.is_turn_to_look(&self.signal.watch().last_look, PAUSE_OF_MANY);
            if slept_through && !is_turn && !deadline.has_passed() {
                continue;
            }
            let held = self.table.lock()?;
            match self.ending(&held, round, is_turn, witness) {
                Some(Ending::Passed) => return Ok(()),
                // How the round ended does not matter to a caller that has not arrived.
                Some(Ending::WasReset) if role == Role::Early => return Ok(()),
                Some(Ending::WasReset | Ending::WasBroken) => return Err(BarrierError::Broken),
                Some(Ending::PartyDied) => {
                    self.break_it(held);
                    return Err(BarrierError::Broken);
                }
                None if !deadline.has_passed() => seen = self.signal.get(),
                None => {
                    // The round does not need a caller that has not arrived.
                    if role == Role::Party {
                        self.break_it(held);
                    }
                    return Err(BarrierError::TimedOut);
                }
            }
        }
    }

    /// Returns how the round ended, if it did.
    fn ending(
        &self,
        held: &L::Held<'_>,
        round: u64,
        is_turn: bool,
        witness: &impl Witness<W>,
    ) -> Option<Ending> {
        if held.load(ROUND) != round {
            let was_reset = was_reset(held, self.parties, round);
            return Some(if was_reset { Ending::WasReset } else { Ending::Passed });
        }
        if is_whole(held).is_err() {
            return Some(Ending::WasBroken);
        }
        (is_turn && self.some_died(held, witness)).then_some(Ending::PartyDied)
    }

    /// Breaks the barrier if a party has died, unless another waiter looked recently. The caller finds other errors later.
    fn look_before_sleep(&self, round: u64, witness: &impl Witness<W>) {
        if !self.is_turn_before_sleep(witness) {
            return;
        }
        if let Ok(held) = self.table.lock()
            && held.load(ROUND) == round
            && is_whole(&held).is_ok()
            && self.some_died(&held, witness)
        {
            self.break_it(held);
        }
    }

    fn is_turn_before_sleep(&self, witness: &impl Witness<W>) -> bool {
        let pause = pause_before_sleep(PAUSE_OF_MANY, self.parties);
        witness.is_turn_to_look(&self.signal.watch().last_look, pause)
    }

    /// Breaks the barrier.
    pub(super) fn abort(&self) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        self.break_it(held);
        Ok(())
    }

    fn break_it(&self, held: L::Held<'_>) {
        held.store(BROKEN, 1);
        crash::point();
        drop(held);
        self.announce();
    }

    /// Returns the error for a caller that finds no place. If a dead process has a place, this breaks the barrier.
    fn refuse(&self, held: L::Held<'_>, witness: &impl Witness<W>) -> BarrierError {
        if self.some_died(&held, witness) {
            self.break_it(held);
            return BarrierError::Broken;
        }
        BarrierError::TooManyParties { parties: self.parties }
    }

    /// Restores the barrier to its first state.
    pub(super) fn reset(&self, witness: &impl Witness<W>) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        let (round, mut is_dead) = (held.load(ROUND), witness.look());
        for place in Place::all(self.parties) {
            if place.state(&held).is_needed(round) && is_dead(place.stamp(&held)) {
                place.clear(&held);
            }
        }
        held.store(RESETTING, round.wrapping_add(1));
        crash::point();
        finish_reset(&held, self.parties);
        drop(held);
        self.announce();
        Ok(())
    }

    pub(super) fn is_broken(&self) -> Result<bool, BarrierError> {
        Ok(self.table.lock()?.load(BROKEN) != 0)
    }

    pub(super) fn n_waiting(&self) -> Result<usize, BarrierError> {
        let held = self.table.lock()?;
        Ok(self.waiting_in(&held).unwrap_or(0))
    }

    /// Returns how many wait according to these words, or `None` if the barrier is broken.
    pub(super) fn waiting_in(&self, table: &impl Table) -> Option<usize> {
        // The last party is not waiting, because it runs the action.
        let most = self.parties.saturating_sub(1);
        (table.load(BROKEN) == 0).then(|| self.count_arrived(table, table.load(ROUND)).min(most))
    }

    fn announce(&self) {
        self.signal.advance(ALL);
    }

    fn count_arrived(&self, held: &impl Table, round: u64) -> usize {
        Place::all(self.parties).filter(|place| place.state(held).has_arrived(round)).count()
    }

    fn some_died(&self, held: &impl Table, witness: &impl Witness<W>) -> bool {
        let (round, mut is_dead) = (held.load(ROUND), witness.look());
        Place::all(self.parties).any(|place| place.state(held).is_needed(round) && is_dead(place.stamp(held)))
    }

    fn free_place(&self, held: &impl Table) -> Option<Place> {
        let round = held.load(ROUND);
        Place::all(self.parties).find(|place| !place.state(held).is_needed(round))
    }

    /// Returns a place for a process that arrives: the one that it asked for, another one that it registered, or a free one.
    fn place_for(&self, held: &impl Table, comer: Comer<'_>, round: u64) -> Option<Place> {
        let is_expected = |place: &Place| place.expects(held, comer.stamp, round);
        let told = comer.place.filter(is_expected);
        told.or_else(|| Place::all(self.parties).find(is_expected)).or_else(|| self.free_place(held))
    }
}

fn is_whole(held: &impl Table) -> Result<(), BarrierError> {
    if held.load(BROKEN) != 0 { Err(BarrierError::Broken) } else { Ok(()) }
}

/// A guard for a party that runs the action. A panic breaks the barrier.
struct Acting<'a, 'b, L: TableLock, W: Words> {
    rounds: &'a Rounds<'b, L, W>,
    started_in: Epoch,
    has_returned: bool,
}

impl<L: TableLock, W: Words> Drop for Acting<'_, '_, L, W> {
    fn drop(&mut self) {
        // In a child that the action forked, the round belongs to the parent.
        if self.has_returned || !self.started_in.is_current() {
            return;
        }
        if let Err(error) = self.rounds.abort() {
            tracing::warn!(%error, "could not break a barrier whose action panicked");
        }
    }
}
