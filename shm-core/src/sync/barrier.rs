//! `Barrier`: a number of parties that wait for each other.
//!
//! What the words under its lock mean, and why no wake-up is lost, is in [`rounds`]. This is the object over them: where the
//! words lie, who calls, and the party that gives its place back.

#[cfg(all(loom, test))]
mod models;
mod rounds;
mod show;
mod travel;

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::identity::{Stamp, current_thread, is_thread_of_this_process, thread_number};
use mp_sys::locked::{Held, SignalledLock};
use mp_sys::named::{ExistingSpan, Kind, Segment};

use crate::arena;
use crate::error::{BarrierError, LockError, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::FOR_EVER;
use crate::sync::barrier::rounds::{Caller, Place, Rounds, Table, TableLock, finish_reset};
use crate::sync::dead::Kernel;

/// The most parties that a barrier may have.
pub const PARTIES_MAX: usize = 4096;

/// A number of parties that wait for each other.
///
/// A party is a thread of a process. It registers by [`party`](Self::party), or by its first [`wait`](Self::wait); from then
/// on its process's death breaks the barrier, whether it waits or not.
///
/// | property | |
/// |---|---|
/// | size | 144 bytes of shared memory and 40 for each party, rounded up |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | recovers | the death of a party is noticed within 100 ms, mostly 40, by those who wait; mostly at once by who comes later |
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
/// # extern crate shm_core as mp;
/// use mp::Barrier;
///
/// let barrier = Barrier::new(2)?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| barrier.wait().unwrap());
///     let index = barrier.wait().unwrap(); // 0 or 1: each party has another one
///     assert!(index < 2);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Barrier {
    shared: SignalledTable,
    budget: Budget,
    segment: Option<Segment>,
}

/// The lock with the words, and what changes when there is something to look at.
#[derive(Debug)]
struct SignalledTable {
    lock: SignalledLock,
    parties: usize,
}

impl Table for Held<'_> {
    fn load(&self, at: usize) -> u64 {
        self.load_word(at)
    }

    fn store(&self, at: usize, value: u64) {
        self.store_word(at, value);
    }
}

impl TableLock for SignalledTable {
    type Held<'a> = Held<'a>;

    fn lock(&self) -> Result<Held<'_>, BarrierError> {
        let repair = |held: &mut Held<'_>| finish_reset(&*held, self.parties);
        let held = self.lock.locked().acquire(FOR_EVER, repair);
        held.map_err(|error| BarrierError::Lock(LockError::refused(error)))
    }
}

const KIND: Kind = kind::BARRIER;

/// A lock that is there, if it has room for as many parties.
fn attach(parties: usize, object: ExistingSpan<SignalledLock>) -> Option<SignalledLock> {
    let lock = SignalledLock::attach(object).ok()?;
    let fits = is_allowed(parties) && rounds::bytes_for(parties) <= lock.locked().data_len();
    fits.then_some(lock)
}

impl Barrier {
    /// Makes a barrier for `parties` parties.
    ///
    /// # Errors
    /// [`BarrierError::Parties`] for 0 or more than [`PARTIES_MAX`]; [`BarrierError::Memory`].
    pub fn new(parties: usize) -> Result<Self, BarrierError> {
        let span = arena::allocate(bytes_for(parties)?)?;
        let lock = SignalledLock::new(span, |_| {}).map_err(|_| TOO_LARGE)?;
        Ok(Self::over(lock, parties, None))
    }

    /// Makes a barrier for `parties` parties under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`BarrierError::Name`] if a living process uses the name, or for a bad one.
    pub fn create(name: &str, parties: usize) -> Result<Self, BarrierError> {
        let bytes = bytes_for(parties)?;
        let make = |span| SignalledLock::new(span, |_| {});
        let (lock, segment) = named::create::<(), _>(name, KIND, parties, bytes, make)?;
        Ok(Self::over(lock, parties, Some(segment)))
    }

    /// Finds the barrier of this name. The caller is no party before it calls [`wait`](Self::wait) or
    /// [`party`](Self::party).
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for what killed processes left; [`NameError::WrongType`] for another kind of object;
    /// [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (lock, segment) = named::open::<(), _>(name, KIND, attach)?;
        // As `attach` was given it.
        let parties = named::len_of(segment.description()).unwrap_or_default();
        Ok(Self::over(lock, parties, Some(segment)))
    }

    fn over(lock: SignalledLock, parties: usize, segment: Option<Segment>) -> Self {
        Self { shared: SignalledTable { lock, parties }, budget: Budget::before_a_lock(), segment }
    }

    fn rounds(&self) -> Rounds<'_, SignalledTable> {
        let shared = &self.shared;
        Rounds { table: shared, signal: shared.lock.signal(), parties: shared.parties }
    }

    /// Registers the calling thread as a party in advance: if its process dies before it waits, the barrier breaks.
    ///
    /// # Errors
    /// [`BarrierError::TooManyParties`] if all places are taken; [`BarrierError::Broken`].
    pub fn party(&self) -> Result<Party<'_>, BarrierError> {
        let caller = caller();
        let place = self.rounds().party(caller)?;
        Ok(Party { barrier: self, place, caller, registered_in: Epoch::current() })
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
        self.rounds().wait_until(caller(), &self.budget, deadline, &Kernel)
    }

    /// Breaks the barrier: everybody who waits, or will, gets [`BarrierError::Broken`], until [`reset`](Self::reset).
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        self.rounds().abort()
    }

    /// Makes the barrier as good as new: whoever waits gets [`BarrierError::Broken`], dead parties are forgotten, and the
    /// next round begins.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.rounds().reset(&Kernel)
    }

    /// Whether the barrier is broken.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, BarrierError> {
        self.rounds().is_broken()
    }

    /// The number of parties.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.parties
    }

    /// How many wait at this moment.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn n_waiting(&self) -> Result<usize, BarrierError> {
        self.rounds().n_waiting()
    }
}

fn is_allowed(parties: usize) -> bool {
    (1..=PARTIES_MAX).contains(&parties)
}

/// Bytes of a barrier for so many parties, if there may be as many.
fn bytes_for(parties: usize) -> Result<usize, BarrierError> {
    if !is_allowed(parties) {
        return Err(BarrierError::Parties { limit: PARTIES_MAX });
    }
    Ok(SignalledLock::bytes_for(rounds::bytes_for(parties)).ok_or(TOO_LARGE)?)
}

/// Bits of the kernel's number of a thread: at most 2^22, as for processes.
const TID_BITS: u32 = 22;

/// The calling thread: by a number that is never used again, and by the kernel's, which can be asked about.
fn caller() -> Caller {
    let thread = thread_number() << TID_BITS | u64::from(current_thread());
    Caller { stamp: Stamp::current().to_bits(), thread, has_thread }
}

/// Whether a thread of this process still runs.
fn has_thread(thread: u64) -> bool {
    let tid = thread & ((1 << TID_BITS) - 1);
    if tid == u64::from(current_thread()) {
        // Its number is the caller's now, if it was another thread.
        return thread >> TID_BITS == thread_number();
    }
    is_thread_of_this_process(tid)
}

// As std's barrier.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// A party that registered in advance. Dropping it gives its place to another one, unless its thread waits there just now,
/// or has registered more than once.
///
/// It stands for the thread that registered, whichever thread drops it. After that thread has ended, its place may be given to
/// another thread of the process, and dropping the `Party` does nothing then.
pub struct Party<'a> {
    barrier: &'a Barrier,
    place: Place,
    caller: Caller,
    registered_in: Epoch,
}

impl Party<'_> {
    /// As [`Barrier::wait`], by the calling thread.
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
        if let Err(error) = self.barrier.rounds().leave(self.place, self.caller) {
            tracing::debug!(%error, "a party stays registered");
        }
    }
}
