//! The protocol of rounds, over any words and any lock. What the words mean is in [`places`](super::places).
//!
//! The number of arrived parties is counted from their places, and one store of the round passes the barrier: no count exists
//! that a dead process could leave wrong. Whoever takes the lock next finishes a reset whose process died.
//!
//! # Whose death breaks the barrier
//! A process has a place while one of its threads waits in the current round, and while it is registered in advance. One word
//! says both, so one store takes a place, and the end of a round frees the places of all who did not register. A round needs
//! the processes that have a place, and no others: the death of one of them breaks the barrier, and everybody else may end as
//! it likes, at any time. A process that is killed while it is registered cannot be told from one that ends and has not taken
//! its registration back, so both break the barrier.
//!
//! A waiter looks for deaths before it sleeps and after a slice of sleep, when it is its turn. The last party looks before it
//! passes, when somebody has to: otherwise it might meet one that arrived and died while nobody else waited. Whoever finds no
//! place looks as well, since a dead process may have it.
//!
//! # The end of a round
//! A waiter that wakes up needs nothing from its place, which may belong to another process by then. It compares the round
//! with its own, and looks among the newest resets. While it slept there may have been more resets than are kept: then it
//! cannot know how its round ended, and takes it for reset.
//!
//! # The action
//! The last party runs it while everybody is marked as arrived and the round has not ended, so its death or its panic breaks
//! the barrier as that of any party. Whoever comes meanwhile belongs to the next round, and waits for it to begin.
//!
//! # Why no wake-up is lost
//! A waiter reads the signal while it holds the lock, and sleeps while the signal is what it read. Whoever ends a round or
//! breaks the barrier does so under the lock, and changes the signal after it.

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::word::{Shared, Words};

use crate::error::BarrierError;
use crate::sync::barrier::places::{BROKEN, Place, RESETTING, ROUND, Table, finish_reset, was_reset};
use crate::sync::dead::{PAUSE_OF_MANY, Witness, pause_before_sleep};

/// Everybody.
const ALL: u32 = i32::MAX.unsigned_abs();

/// The lock over the words.
pub(super) trait TableLock {
    /// The words, for its holder; dropping it releases the lock.
    type Held<'a>: Table
    where
        Self: 'a;

    /// Takes the lock, and finishes what a dead holder left half done.
    fn lock(&self) -> Result<Self::Held<'_>, BarrierError>;
}

/// A thread that comes to wait.
#[derive(Clone, Copy)]
pub(super) struct Comer<'a> {
    /// Its process.
    pub(super) stamp: u64,
    /// The place that it registered in advance.
    pub(super) place: Option<Place>,
    /// What it does before the others go on, if it is the last.
    pub(super) action: Option<&'a dyn Fn()>,
    pub(super) budget: &'a Budget,
    pub(super) deadline: Deadline,
}

/// What came of coming.
enum Arrival {
    /// It waits for the others. The order in which it came, and the signal to wait for.
    Waits { index: usize, seen: u32 },
    /// It was the last, and the round is over unless there is an action.
    IsLast { index: usize },
    /// All have arrived, and one of them runs the action. The signal to wait for.
    IsEarly { seen: u32 },
}

/// Who waits for the end of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A party of it, which breaks the barrier if it gives up.
    Party,
    /// A caller that found no place in it.
    Early,
}

/// Why a round goes on no longer.
enum Ending {
    Passed,
    WasReset,
    WasBroken,
    /// And nobody has broken the barrier yet.
    PartyDied,
}

/// A barrier's words.
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

    /// Takes back what [`party`](Self::party) gave to the process.
    pub(super) fn leave(&self, place: Place, stamp: u64) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        if place.is_registered_to(&held, stamp) {
            place.leave(&held);
        }
        Ok(())
    }

    /// Arrives, and waits for the others until the deadline; returns the order in which the caller came.
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
        // Somebody may have reset the barrier; and a child that the action forked is no party.
        if held.load(ROUND) != round || !acting.started_in.is_current() {
            return Err(BarrierError::Broken);
        }
        held.store(ROUND, round.wrapping_add(1));
        crash::point();
        Ok(())
    }

    /// Waits for the end of the round, for a caller that has arrived in it or that comes too early for the next one.
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
            // Everybody's turn would be a time of the lock, and a question for each party.
            let is_turn =
                slept_through && witness.is_turn_to_look(&self.signal.watch().last_look, PAUSE_OF_MANY);
            if slept_through && !is_turn && !deadline.has_passed() {
                continue;
            }
            let held = self.table.lock()?;
            match self.ending(&held, round, is_turn, witness) {
                Some(Ending::Passed) => return Ok(()),
                // To a caller that has not arrived it does not matter how the round ended.
                Some(Ending::WasReset) if role == Role::Early => return Ok(()),
                Some(Ending::WasReset | Ending::WasBroken) => return Err(BarrierError::Broken),
                Some(Ending::PartyDied) => {
                    self.break_it(held);
                    return Err(BarrierError::Broken);
                }
                None if !deadline.has_passed() => seen = self.signal.get(),
                None => {
                    // The round goes on without a caller that has not arrived.
                    if role == Role::Party {
                        self.break_it(held);
                    }
                    return Err(BarrierError::TimedOut);
                }
            }
        }
    }

    /// How the round ended, if it did.
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

    /// Breaks the barrier if a party has died, if nobody has looked for a while. What is wrong beside that is told later.
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

    /// The error of a caller for whom there is no place. If a dead process has one, the barrier breaks.
    fn refuse(&self, held: L::Held<'_>, witness: &impl Witness<W>) -> BarrierError {
        if self.some_died(&held, witness) {
            self.break_it(held);
            return BarrierError::Broken;
        }
        BarrierError::TooManyParties { parties: self.parties }
    }

    /// Makes the barrier as good as new.
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

    /// How many wait, by these words; `None` if the barrier is broken.
    pub(super) fn waiting_in(&self, table: &impl Table) -> Option<usize> {
        // The last party does not wait: it runs the action.
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

    /// A place for a process that arrives: the one that it was told, another one that it registered, or a free one.
    fn place_for(&self, held: &impl Table, comer: Comer<'_>, round: u64) -> Option<Place> {
        let is_expected = |place: &Place| place.expects(held, comer.stamp, round);
        let told = comer.place.filter(is_expected);
        told.or_else(|| Place::all(self.parties).find(is_expected)).or_else(|| self.free_place(held))
    }
}

fn is_whole(held: &impl Table) -> Result<(), BarrierError> {
    if held.load(BROKEN) != 0 { Err(BarrierError::Broken) } else { Ok(()) }
}

/// A party that runs the action. A panic breaks the barrier.
struct Acting<'a, 'b, L: TableLock, W: Words> {
    rounds: &'a Rounds<'b, L, W>,
    started_in: Epoch,
    has_returned: bool,
}

impl<L: TableLock, W: Words> Drop for Acting<'_, '_, L, W> {
    fn drop(&mut self) {
        // In a child that the action forked, the round is its parent's.
        if self.has_returned || !self.started_in.is_current() {
            return;
        }
        if let Err(error) = self.rounds.abort() {
            tracing::warn!(%error, "a barrier whose action panicked was not broken");
        }
    }
}
