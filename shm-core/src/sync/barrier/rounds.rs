//! The protocol of rounds, over any words and any lock.
//!
//! All state is under a robust lock, in words:
//!
//! | word | meaning |
//! |---|---|
//! | 0 | the round: how often the barrier was passed or reset |
//! | 1 | whether it is broken |
//! | 2 | the round that is being reset plus one, 0 if none is |
//! | 3 on | five words a party: its process's stamp, its thread, the round that it arrived in plus one, the round that was broken under it plus one, how often it is in use |
//!
//! How many have arrived is counted from the parties' words, and the barrier is passed by one store of the round: there is
//! no count that a dead process could leave wrong. A reset that its process did not finish is finished by the next one who
//! takes the lock. A waiter that is about to sleep, or has waited for a slice, and whose turn it is, looks whether a party has died.
//!
//! A place is in use by each registration in advance that was not taken back, and by its thread while that waits. It becomes
//! free when a registration is taken back and nothing else uses it; so one that another thread takes back, or that outlived
//! its thread, takes nothing from who waits there. Only the process whose stamp it has counts that word.
//!
//! # Why no wake-up is lost
//! A waiter reads the signal while it holds the lock, and sleeps while the signal is what it read. Whoever ends a round or
//! breaks the barrier does so under the lock, and changes the signal after it.

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::word::{Shared, Words};

use crate::error::BarrierError;
use crate::sync::dead::{PAUSE_OF_MANY, Witness, pause_before_sleep};

const ROUND: usize = 0;
const BROKEN: usize = 8;
const RESETTING: usize = 16;
const FIRST_PARTY: usize = 24;
const PARTY_BYTES: usize = 40;
/// Everybody.
const ALL: u32 = i32::MAX.unsigned_abs();

/// The words, for who holds the lock.
pub(super) trait Table {
    /// The word at this offset.
    fn load(&self, at: usize) -> u64;
    /// Stores a word; a kill falls before or after it.
    fn store(&self, at: usize, value: u64);
}

/// The lock over the words.
pub(super) trait TableLock {
    /// Who holds it; dropping it releases the lock.
    type Held<'a>: Table
    where
        Self: 'a;

    /// Takes the lock, and finishes what a dead holder left half done.
    fn lock(&self) -> Result<Self::Held<'_>, BarrierError>;
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) stamp: u64,
    /// Its number, which no other thread of its process has, had, or will have.
    pub(super) thread: u64,
    /// Whether the thread of this number, of the caller's process, still runs.
    pub(super) has_thread: fn(u64) -> bool,
}

/// Where a party's words lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

impl Place {
    fn nth(party: usize) -> Self {
        // At most PARTIES_MAX: far from overflowing.
        Self(FIRST_PARTY.wrapping_add(party.wrapping_mul(PARTY_BYTES)))
    }

    fn stamp(self) -> usize {
        self.0
    }

    fn thread(self) -> usize {
        self.0.wrapping_add(8)
    }

    fn arrived(self) -> usize {
        self.0.wrapping_add(16)
    }

    fn broken(self) -> usize {
        self.0.wrapping_add(24)
    }

    fn uses(self) -> usize {
        self.0.wrapping_add(32)
    }

    fn begin_use(self, held: &impl Table) {
        held.store(self.uses(), held.load(self.uses()).saturating_add(1));
    }

    /// Tells whether nothing else uses the place.
    fn end_use(self, held: &impl Table) -> bool {
        let others = held.load(self.uses()).saturating_sub(1);
        held.store(self.uses(), others);
        others == 0
    }
}

/// How a wait ends.
enum Ending {
    Passed,
    WasBroken,
    /// The caller breaks the barrier.
    Breaks(BarrierError),
}

/// Bytes of words for so many parties.
pub(super) fn bytes_for(parties: usize) -> usize {
    Place::nth(parties).0
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
    /// Registers the caller in advance.
    pub(super) fn party(&self, caller: Caller) -> Result<Place, BarrierError> {
        let held = self.table.lock()?;
        is_whole(&held)?;
        let place = self.register(&held, caller)?;
        place.begin_use(&held);
        Ok(place)
    }

    /// Takes back what [`party`](Self::party) gave to `caller`. The place goes to another one, unless its thread waits there,
    /// or has registered again. If the thread has ended, the place may be another one's already.
    pub(super) fn leave(&self, place: Place, caller: Caller) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        if is_place_of(&held, place, caller) && place.end_use(&held) {
            held.store(place.stamp(), 0);
        }
        Ok(())
    }

    /// Arrives, and waits for the others until `deadline`; tells the order in which the caller came.
    pub(super) fn wait_until(
        &self,
        caller: Caller,
        budget: &Budget,
        deadline: Deadline,
        witness: &impl Witness<W>,
    ) -> Result<usize, BarrierError> {
        let held = self.table.lock()?;
        is_whole(&held)?;
        let place = self.register(&held, caller)?;
        let round = held.load(ROUND);
        let index = self.count_arrived(&held, round);
        held.store(place.arrived(), round.wrapping_add(1));
        crash::point();
        if self.count_arrived(&held, round) == self.parties {
            held.store(ROUND, round.wrapping_add(1));
            crash::point();
            drop(held);
            self.announce();
            return Ok(index);
        }
        place.begin_use(&held);
        let mut seen = self.signal.get();
        drop(held);
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
            match self.look(place, round, is_turn, deadline, witness)? {
                Some(now) => seen = now,
                None => return Ok(index),
            }
        }
    }

    /// Breaks the barrier if a party has died, if nobody has looked for a while. What is wrong beside that is told later.
    fn look_before_sleep(&self, round: u64, witness: &impl Witness<W>) {
        let pause = pause_before_sleep(PAUSE_OF_MANY, self.parties);
        if !witness.is_turn_to_look(&self.signal.watch().last_look, pause) {
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

    /// Looks whether the round is over: `None`. Else gives the signal to wait for. Unless it does, the caller waits no more.
    fn look(
        &self,
        place: Place,
        round: u64,
        is_turn: bool,
        deadline: Deadline,
        witness: &impl Witness<W>,
    ) -> Result<Option<u32>, BarrierError> {
        let held = self.table.lock()?;
        let ended = self.ending(&held, (place, round), is_turn, deadline, witness);
        let Some(ending) = ended else {
            return Ok(Some(self.signal.get()));
        };
        place.end_use(&held);
        match ending {
            Ending::Passed => Ok(None),
            Ending::WasBroken => Err(BarrierError::Broken),
            Ending::Breaks(error) => {
                self.break_it(held);
                Err(error)
            }
        }
    }

    /// How the wait of who has arrived ends now, if it does.
    fn ending(
        &self,
        held: &L::Held<'_>,
        (place, round): (Place, u64),
        is_turn: bool,
        deadline: Deadline,
        witness: &impl Witness<W>,
    ) -> Option<Ending> {
        if held.load(ROUND) != round {
            let was_broken = held.load(place.broken()) == round.wrapping_add(1);
            return Some(if was_broken { Ending::WasBroken } else { Ending::Passed });
        }
        if is_whole(held).is_err() {
            return Some(Ending::WasBroken);
        }
        if is_turn && self.some_died(held, witness) {
            return Some(Ending::Breaks(BarrierError::Broken));
        }
        deadline.has_passed().then_some(Ending::Breaks(BarrierError::TimedOut))
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

    /// Makes the barrier as good as new.
    pub(super) fn reset(&self, witness: &impl Witness<W>) -> Result<(), BarrierError> {
        let held = self.table.lock()?;
        let mut is_dead = witness.look();
        for party in self.places().filter(|party| is_dead(held.load(party.stamp()))) {
            held.store(party.stamp(), 0);
            crash::point();
        }
        held.store(RESETTING, held.load(ROUND).wrapping_add(1));
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
        (table.load(BROKEN) == 0).then(|| self.count_arrived(table, table.load(ROUND)))
    }

    fn announce(&self) {
        self.signal.advance(ALL);
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.parties).map(Place::nth)
    }

    fn count_arrived(&self, held: &impl Table, round: u64) -> usize {
        self.places().filter(|party| has_arrived(held, *party, round)).count()
    }

    fn some_died(&self, held: &impl Table, witness: &impl Witness<W>) -> bool {
        let mut is_dead = witness.look();
        self.places().any(|party| is_dead(held.load(party.stamp())))
    }

    /// The caller's place, a new one if it has none.
    fn register(&self, held: &impl Table, caller: Caller) -> Result<Place, BarrierError> {
        let Caller { stamp, thread, has_thread } = caller;
        if let Some(place) = self.places().find(|party| is_place_of(held, *party, caller)) {
            return Ok(place);
        }
        let is_free = |party: &Place| held.load(party.stamp()) == 0;
        // A thread of this process that has ended without a death needs its place no more.
        let is_left =
            |party: &Place| held.load(party.stamp()) == stamp && !has_thread(held.load(party.thread()));
        let place = self.places().find(is_free).or_else(|| self.places().find(is_left));
        let place = place.ok_or(BarrierError::TooManyParties { parties: self.parties })?;
        for word in [place.arrived(), place.broken(), place.uses()] {
            held.store(word, 0);
        }
        held.store(place.thread(), thread);
        crash::point();
        held.store(place.stamp(), stamp);
        crash::point();
        Ok(place)
    }
}

fn is_whole(held: &impl Table) -> Result<(), BarrierError> {
    if held.load(BROKEN) != 0 { Err(BarrierError::Broken) } else { Ok(()) }
}

fn is_place_of(held: &impl Table, party: Place, caller: Caller) -> bool {
    held.load(party.stamp()) == caller.stamp && held.load(party.thread()) == caller.thread
}

fn has_arrived(held: &impl Table, party: Place, round: u64) -> bool {
    held.load(party.stamp()) != 0 && held.load(party.arrived()) == round.wrapping_add(1)
}

/// Finishes a reset that was begun: by the one who began, or by the next one if that process died.
pub(super) fn finish_reset(held: &impl Table, parties: usize) {
    let Some(round) = held.load(RESETTING).checked_sub(1) else {
        return;
    };
    // Before the round was ended, those who wait are told; after it, they have their word already.
    if held.load(ROUND) == round {
        for party in (0..parties).map(Place::nth) {
            if has_arrived(held, party, round) {
                held.store(party.broken(), round.wrapping_add(1));
                crash::point();
            }
        }
        held.store(ROUND, round.wrapping_add(1));
        crash::point();
    }
    held.store(BROKEN, 0);
    crash::point();
    held.store(RESETTING, 0);
    crash::point();
}
