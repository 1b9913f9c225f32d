//! `Barrier`: a number of parties that wait for each other.
//!
//! All state is under a robust lock, in words:
//!
//! | word | meaning |
//! |---|---|
//! | 0 | the round: how often the barrier was passed or reset |
//! | 1 | whether it is broken |
//! | 2 | the round that is being reset plus one, 0 if none is |
//! | 3 | the number of parties |
//! | 4 on | four words a party: its process's stamp, its thread, the round that it arrived in plus one, the round that was broken under it plus one |
//!
//! How many have arrived is counted from the parties' words, and the barrier is passed by one store of the round: there is
//! no count that a dead process could leave wrong. A reset that its process did not finish is finished by the next one who
//! takes the lock. A waiter that has waited for a slice looks whether a party has died.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::cells::SharedSignal;
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::futex::SLICE;
use mp_sys::identity::{Stamp, current_thread, is_thread_of_this_process};
use mp_sys::locked::Held;

use crate::arena;
use crate::error::{BarrierError, LockError, TOO_LARGE};
use crate::protected::{FOR_EVER, Protected};

/// The most parties that a barrier may have.
pub const PARTIES_MAX: usize = 4096;

const ROUND: usize = 0;
const BROKEN: usize = 8;
const RESETTING: usize = 16;
const PARTIES: usize = 24;
const FIRST_PARTY: usize = 32;
const PARTY_BYTES: usize = 32;
/// Everybody.
const ALL: u32 = i32::MAX.unsigned_abs();

/// Where a party's words lie.
#[derive(Debug, Clone, Copy)]
struct Place(usize);

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
}

/// A number of parties that wait for each other.
///
/// A party is a thread of a process. It registers by [`party`](Self::party), or by its first [`wait`](Self::wait); from then
/// on its process's death breaks the barrier, whether it waits or not.
///
/// | property | |
/// |---|---|
/// | size | 128 bytes of shared memory and 32 for each party, rounded up |
/// | shared with | processes forked after it was made |
/// | recovers | the death of a party is noticed within 40 ms by those who wait |
/// | drop | gives this process's handle up; the barrier lives as long as any process has it |
///
/// # Fork safety
/// A forked child shares the barrier, and is a party of its own. A [`Party`] that it inherits does nothing there.
///
/// # Crash
/// All who wait get [`BarrierError::Broken`], and so does everybody until [`reset`](Self::reset).
///
/// # Source
/// Python's `multiprocessing.Barrier`, at which everybody waits for ever for a party that was killed.
///
/// # Examples
/// ```
/// use shm_core::Barrier;
///
/// let barrier = Barrier::new(2)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| barrier.wait().unwrap());
///     let index = barrier.wait().unwrap(); // 0 or 1: each party has another one
///     assert!(index < 2);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Barrier {
    protected: Protected,
    signal: SharedSignal,
    budget: Budget,
    parties: usize,
}

impl Barrier {
    /// Makes a barrier for `parties` parties.
    ///
    /// # Errors
    /// [`BarrierError::Parties`] for 0 or more than [`PARTIES_MAX`]; [`BarrierError::Memory`].
    pub fn new(parties: usize) -> Result<Self, BarrierError> {
        if parties == 0 || parties > PARTIES_MAX {
            return Err(BarrierError::Parties { limit: PARTIES_MAX });
        }
        let signal = SharedSignal::new(arena::allocate(size_of::<Signal>())?).map_err(|_| TOO_LARGE)?;
        let bytes = Place::nth(parties).0;
        let fill = |held: &mut Held<'_>| held.store_word(PARTIES, u64::try_from(parties).unwrap_or(u64::MAX));
        Ok(Self {
            protected: Protected::new(bytes, finish_reset, fill)?,
            signal,
            budget: Budget::new(),
            parties,
        })
    }

    fn lock(&self) -> Result<Held<'_>, BarrierError> {
        self.protected.quiet(FOR_EVER).map_err(|error| BarrierError::Lock(LockError::refused(error)))
    }

    /// Registers the calling thread as a party in advance: if its process dies before it waits, the barrier breaks.
    ///
    /// # Errors
    /// [`BarrierError::TooManyParties`] if all places are taken; [`BarrierError::Broken`].
    pub fn party(&self) -> Result<Party<'_>, BarrierError> {
        let held = self.lock()?;
        is_whole(&held)?;
        let place = self.register(&held)?;
        Ok(Party { barrier: self, place, registered_in: Epoch::current() })
    }

    /// Waits until all parties wait, and gives the order in which this one came: 0 for the first.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if a party died or timed out, or somebody called `abort` or `reset`;
    /// [`BarrierError::TooManyParties`] for more threads than there are parties.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::NEVER)
    }

    /// As [`wait`](Self::wait), for at most `timeout` (monotonic clock). A party that gives up breaks the barrier.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`]; else as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<usize, BarrierError> {
        let held = self.lock()?;
        is_whole(&held)?;
        let place = self.register(&held)?;
        let round = held.load_word(ROUND);
        let index = self.count(&held, |held, party| has_arrived(held, party, round));
        held.store_word(place.arrived(), round.wrapping_add(1));
        crash::point();
        let waiting = self.count(&held, |held, party| has_arrived(held, party, round));
        if waiting == self.parties {
            held.store_word(ROUND, round.wrapping_add(1));
            crash::point();
            drop(held);
            self.announce();
            return Ok(index);
        }
        let seen = self.signal.get();
        drop(held);
        self.wait_for_round(place, round, seen, deadline).map(|()| index)
    }

    fn wait_for_round(
        &self,
        place: Place,
        round: u64,
        mut seen: u32,
        deadline: Deadline,
    ) -> Result<(), BarrierError> {
        loop {
            let slice = Deadline::after(SLICE).min(deadline);
            let slept_through = self.signal.wait_while(seen, &self.budget, slice).is_none();
            let held = self.lock()?;
            if held.load_word(ROUND) != round {
                let was_broken = held.load_word(place.broken()) == round.wrapping_add(1);
                return if was_broken { Err(BarrierError::Broken) } else { Ok(()) };
            }
            is_whole(&held)?;
            let party_died = slept_through && self.count(&held, is_dead) > 0;
            let gives_up = !party_died && deadline.has_passed();
            if party_died || gives_up {
                held.store_word(BROKEN, 1);
                crash::point();
                drop(held);
                self.announce();
                return Err(if gives_up { BarrierError::TimedOut } else { BarrierError::Broken });
            }
            seen = self.signal.get();
        }
    }

    /// Breaks the barrier: everybody who waits, or will, gets [`BarrierError::Broken`], until [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        let held = self.lock()?;
        held.store_word(BROKEN, 1);
        crash::point();
        drop(held);
        self.announce();
        Ok(())
    }

    /// Makes the barrier as good as new: whoever waits gets [`BarrierError::Broken`], dead parties are forgotten, and the
    /// next round begins.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        let mut held = self.lock()?;
        let dead = (0..self.parties).map(Place::nth).filter(|party| is_dead(&held, *party));
        for party in dead {
            held.store_word(party.stamp(), 0);
            crash::point();
        }
        held.store_word(RESETTING, held.load_word(ROUND).wrapping_add(1));
        crash::point();
        finish_reset(&mut held);
        drop(held);
        self.announce();
        Ok(())
    }

    /// Whether the barrier is broken.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, BarrierError> {
        Ok(self.lock()?.load_word(BROKEN) != 0)
    }

    /// The number of parties.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait at this moment.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn n_waiting(&self) -> Result<usize, BarrierError> {
        let held = self.lock()?;
        let round = held.load_word(ROUND);
        Ok(if held.load_word(BROKEN) != 0 {
            0
        } else {
            self.count(&held, |held, party| has_arrived(held, party, round))
        })
    }

    fn announce(&self) {
        self.signal.update(ALL, |word| Some(word.wrapping_add(1)));
    }

    fn count(&self, held: &Held<'_>, is: impl Fn(&Held<'_>, Place) -> bool) -> usize {
        (0..self.parties).map(Place::nth).filter(|party| is(held, *party)).count()
    }

    /// The calling thread's place, a new one if it has none.
    fn register(&self, held: &Held<'_>) -> Result<Place, BarrierError> {
        let (stamp, thread) = (Stamp::current().to_bits(), u64::from(current_thread()));
        let places = || (0..self.parties).map(Place::nth);
        let is_own = |party: &Place| {
            held.load_word(party.stamp()) == stamp && held.load_word(party.thread()) == thread
        };
        if let Some(place) = places().find(is_own) {
            return Ok(place);
        }
        let is_free = |party: &Place| held.load_word(party.stamp()) == 0;
        // A thread of this process that has ended without a death needs its place no more.
        let is_left = |party: &Place| {
            held.load_word(party.stamp()) == stamp
                && !is_thread_of_this_process(held.load_word(party.thread()))
        };
        let place = places().find(is_free).or_else(|| places().find(is_left));
        let place = place.ok_or(BarrierError::TooManyParties { parties: self.parties })?;
        for word in [place.arrived(), place.broken()] {
            held.store_word(word, 0);
        }
        held.store_word(place.thread(), thread);
        crash::point();
        held.store_word(place.stamp(), stamp);
        crash::point();
        Ok(place)
    }
}

fn is_whole(held: &Held<'_>) -> Result<(), BarrierError> {
    if held.load_word(BROKEN) != 0 { Err(BarrierError::Broken) } else { Ok(()) }
}

fn has_arrived(held: &Held<'_>, party: Place, round: u64) -> bool {
    held.load_word(party.stamp()) != 0 && held.load_word(party.arrived()) == round.wrapping_add(1)
}

fn is_dead(held: &Held<'_>, party: Place) -> bool {
    Stamp::from_bits(held.load_word(party.stamp())).is_some_and(|stamp| !stamp.is_alive())
}

/// Finishes a reset that was begun: by the one who began, or by the next one if that process died.
fn finish_reset(held: &mut Held<'_>) {
    let Some(round) = held.load_word(RESETTING).checked_sub(1) else {
        return;
    };
    let parties = usize::try_from(held.load_word(PARTIES)).unwrap_or(0).min(PARTIES_MAX);
    // Before the round was ended, those who wait are told; after it, they have their word already.
    if held.load_word(ROUND) == round {
        for party in (0..parties).map(Place::nth) {
            if has_arrived(held, party, round) {
                held.store_word(party.broken(), round.wrapping_add(1));
                crash::point();
            }
        }
        held.store_word(ROUND, round.wrapping_add(1));
        crash::point();
    }
    held.store_word(BROKEN, 0);
    crash::point();
    held.store_word(RESETTING, 0);
    crash::point();
}

// As std's barrier.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// A party that registered in advance. Dropping it gives its place to another one.
#[derive(Debug)]
pub struct Party<'a> {
    barrier: &'a Barrier,
    place: Place,
    registered_in: Epoch,
}

impl Party<'_> {
    /// As [`Barrier::wait`].
    ///
    /// # Errors
    /// As [`Barrier::wait`].
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.barrier.wait()
    }

    /// As [`Barrier::wait_timeout`].
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.barrier.wait_timeout(timeout)
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        // In a forked child, the place is its parent's.
        if !self.registered_in.is_current() {
            return;
        }
        match self.barrier.lock() {
            Ok(held) => held.store_word(self.place.stamp(), 0),
            Err(error) => tracing::debug!(%error, "a party stays registered"),
        }
    }
}
