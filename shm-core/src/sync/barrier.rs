//! `Barrier`: a number of parties that wait for each other.
//!
//! The module [`rounds`] explains whose death breaks a barrier, and why no wake-up is lost. The module [`places`] explains
//! the words under its lock. This module adds the place of the words, the calling process, the action, and the party that
//! gives its place back on drop.

#[cfg(all(mp_loom, test))]
mod models;
mod party;
mod places;
mod rounds;
mod show;
mod travel;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::identity::Stamp;
use mp_sys::locked::{Held, SignalledLock};
use mp_sys::named::{ExistingSpan, Kind, Segment};

use crate::arena;
use crate::error::{BarrierError, LockError, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::FOR_EVER;
pub use crate::sync::barrier::party::Party;
use crate::sync::barrier::places::{Place, Table, finish_reset};
use crate::sync::barrier::rounds::{Comer, Rounds, TableLock};
use crate::sync::dead::Kernel;

/// The most parties that a barrier may have.
pub const PARTIES_MAX: usize = 4096;

/// A number of parties that wait for each other.
///
/// A process takes a place when one of its threads calls [`wait`](Self::wait), and gives it back when the round ends. So one
/// barrier serves any number of sets of processes, one after another, and a process that has passed may end at any time. A
/// process that registers by [`party`](Self::party) keeps its place until it drops the [`Party`].
///
/// A round needs the processes that have a place. If one of them dies, the barrier breaks, and nobody waits for it in vain:
///
/// | a process is killed | then |
/// |---|---|
/// | while it waits | the barrier breaks |
/// | while it has a [`Party`] | the barrier breaks, whether the process waits or not; so does ending without dropping the `Party` |
/// | while it runs the [action](Self::with_action) | the barrier breaks |
/// | after it has passed, without a `Party` | nothing: its place is free for another process |
///
/// Register if the others must notice that a process died on its way to the next round. Otherwise they wait for another
/// process to take its place, as they would in Python.
///
/// | property | |
/// |---|---|
/// | size | 152 bytes of shared memory and 16 for each party, rounded up |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | recovers | waiters notice a death within 100 ms (mostly 40); callers that come later mostly at once |
/// | drop | closes this process's handle; the barrier lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the barrier, and takes a separate place. A [`Party`] that it inherits does nothing there.
///
/// # Crash
/// The table above says which deaths break the barrier. All waiters then get [`BarrierError::Broken`], and so does every
/// later caller until [`reset`](Self::reset) is called. If the party that died was the only one that waited, a party that
/// comes less than 100 ms later may still count it as present.
///
/// # Source
/// Python's `multiprocessing.Barrier`, where all others wait for ever for a party that was killed.
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
#[derive(Clone)]
pub struct Barrier {
    shared: SignalledTable,
    budget: Budget,
    segment: Option<Segment>,
    action: Option<Action>,
    timeout: Option<Duration>,
}

/// The action of the last party.
#[derive(Clone)]
struct Action(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action")
    }
}

/// The lock with the words, and the signal that changes when waiters should look.
#[derive(Debug, Clone)]
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

/// Returns an existing lock as a barrier's, if it has room for so many parties.
fn attach(parties: usize, object: ExistingSpan<SignalledLock>) -> Option<SignalledLock> {
    let lock = SignalledLock::attach(object).ok()?;
    let fits = is_allowed(parties) && places::bytes_for(parties) <= lock.locked().data_len();
    fits.then_some(lock)
}

impl Barrier {
    /// Creates a barrier for `parties` parties.
    ///
    /// # Errors
    /// [`BarrierError::Parties`] for 0 or more than [`PARTIES_MAX`]; [`BarrierError::Memory`].
    pub fn new(parties: usize) -> Result<Self, BarrierError> {
        let span = arena::allocate(bytes_for(parties)?)?;
        let lock = SignalledLock::new(span, |_| {}).map_err(|_| TOO_LARGE)?;
        Ok(Self::over(lock, parties, None))
    }

    /// Creates a barrier for `parties` parties under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// The same as [`new`](Self::new); [`BarrierError::Name`] if a living process uses the name, or if the name is not valid.
    pub fn create(name: &str, parties: usize) -> Result<Self, BarrierError> {
        let bytes = bytes_for(parties)?;
        let make = |span| SignalledLock::new(span, |_| {});
        let (lock, segment) = named::create::<(), _>(name, KIND, parties, bytes, make)?;
        Ok(Self::over(lock, parties, Some(segment)))
    }

    /// Opens the barrier of this name. The caller becomes a party when it calls [`wait`](Self::wait) or
    /// [`party`](Self::party).
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (lock, segment) = named::open::<(), _>(name, KIND, attach)?;
        // The number that `attach` received.
        let parties = named::len_of(segment.description()).unwrap_or_default();
        Ok(Self::over(lock, parties, Some(segment)))
    }

    fn over(lock: SignalledLock, parties: usize, segment: Option<Segment>) -> Self {
        let (shared, budget) = (SignalledTable { lock, parties }, Budget::before_a_lock());
        Self { shared, budget, segment, action: None, timeout: None }
    }

    /// Sets an action for each round: the last party to come runs it before the others go on.
    ///
    /// The action belongs to this handle, and to those that children inherit by `fork`. It does not travel in messages or by
    /// name: set it at the handle of every party, since any of them may be the last.
    ///
    /// The others wait for as long as the action runs. If the action panics or its process dies, the barrier breaks; a panic
    /// continues in the party that ran the action. If the barrier breaks while the action runs, the action still runs to its
    /// end, and then its party gets [`BarrierError::Broken`]. The action may use the barrier, but if it waits there, it waits
    /// for itself.
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use std::sync::Arc;
    ///
    /// use mp::{Barrier, RawValue};
    ///
    /// let rounds = Arc::new(RawValue::new(0_u32)?);
    /// let counted = Arc::clone(&rounds);
    /// let barrier = Barrier::new(2)?.with_action(move || {
    ///     counted.fetch_add(1);
    /// });
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait().unwrap());
    ///     barrier.wait().unwrap();
    /// });
    /// assert_eq!(rounds.load(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_action(self, action: impl Fn() + Send + Sync + 'static) -> Self {
        Self { action: Some(Action(Arc::new(action))), ..self }
    }

    /// Sets the default timeout of [`wait`](Self::wait), for this handle and those that children inherit by `fork`.
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use std::time::Duration;
    ///
    /// use mp::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(2)?.with_timeout(Duration::from_millis(10));
    /// assert_eq!(barrier.wait(), Err(BarrierError::TimedOut));
    /// assert_eq!(barrier.wait(), Err(BarrierError::Broken), "a party that gives up breaks it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    fn rounds(&self) -> Rounds<'_, SignalledTable> {
        let shared = &self.shared;
        Rounds { table: shared, signal: shared.lock.signal(), parties: shared.parties }
    }

    /// Registers this process as a party in advance. It then keeps its place from round to round, and its death breaks the
    /// barrier even while it does not wait.
    ///
    /// # Errors
    /// [`BarrierError::TooManyParties`] if all places are taken; [`BarrierError::Broken`].
    pub fn party(&self) -> Result<Party<'_>, BarrierError> {
        let stamp = Stamp::current().to_bits();
        let place = self.rounds().party(stamp, &Kernel)?;
        Ok(Party::new(self, place, stamp))
    }

    /// Waits until all parties wait, and returns how many came before this one: 0 for the first. The wait ends with the
    /// [default timeout](Self::with_timeout), if there is one.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if a party died or timed out, the action failed, or somebody called `abort` or `reset`;
    /// [`BarrierError::TooManyParties`] if other processes have registered all places; [`BarrierError::TimedOut`].
    ///
    /// # Panics
    /// If the [action](Self::with_action) panics.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_until(None, self.default_deadline())
    }

    /// Like [`wait`](Self::wait), for at most `timeout` (monotonic clock). A party that gives up breaks the barrier. A caller
    /// that comes while the action runs is a party of the next round. If it gives up before that round begins, it breaks
    /// nothing.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`]; otherwise as [`wait`](Self::wait).
    ///
    /// # Panics
    /// If the [action](Self::with_action) panics.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_until(None, Deadline::after(timeout))
    }

    fn default_deadline(&self) -> Deadline {
        self.timeout.map_or(Deadline::NEVER, Deadline::after)
    }

    fn wait_until(&self, place: Option<Place>, deadline: Deadline) -> Result<usize, BarrierError> {
        let action = self.action.as_ref().map(|action| &*action.0 as &dyn Fn());
        let comer =
            Comer { stamp: Stamp::current().to_bits(), place, action, budget: &self.budget, deadline };
        self.rounds().wait(comer, &Kernel)
    }

    /// Breaks the barrier. All waiters, and all later callers until [`reset`](Self::reset), get [`BarrierError::Broken`].
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        self.rounds().abort()
    }

    /// Restores the barrier to its first state. All waiters get [`BarrierError::Broken`], dead parties are removed, and the
    /// next round begins.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        self.rounds().reset(&Kernel)
    }

    /// Returns whether the barrier is broken.
    ///
    /// # Errors
    /// [`BarrierError::Lock`].
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, BarrierError> {
        self.rounds().is_broken()
    }

    /// Returns the number of parties.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.parties
    }

    /// Returns how many parties wait at this moment. A party that runs the action does not count.
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

/// Returns the size of a barrier for so many parties in bytes, if it may have so many.
fn bytes_for(parties: usize) -> Result<usize, BarrierError> {
    if !is_allowed(parties) {
        return Err(BarrierError::Parties { limit: PARTIES_MAX });
    }
    Ok(SignalledLock::bytes_for(places::bytes_for(parties)).ok_or(TOO_LARGE)?)
}

// Like std's barrier.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}
