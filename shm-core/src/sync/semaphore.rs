//! `Semaphore` and `BoundedSemaphore`: a number of permits that processes take and give back.
//!
//! The module [`permits`] explains the words, and why no wake-up is lost. This module adds the place of the words, the stamps
//! that go into them, and the permit that returns itself on drop.

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(all(mp_loom, test))]
mod models;
mod permits;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::cells::SignalledWords;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::identity::Stamp;
use mp_sys::line::Count;
use mp_sys::named::{ExistingSpan, Kind, Segment, What};

use crate::arena;
use crate::error::{SemaphoreError, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::sync::dead::Kernel;
use crate::sync::semaphore::permits::{FREE, Permits, Taken};
use crate::travel::{Parts, Travels, travels};

/// The most permits that a semaphore may have, taken or not.
pub const PERMITS_MAX: usize = 65_536;
/// How many permits can be added to a [`Semaphore`] that [`Semaphore::new`] created, beyond its first permits.
pub const PERMITS_SPARE: usize = 1024;

/// A number of permits that processes take and give back.
///
/// | property | |
/// |---|---|
/// | size | 8 bytes of shared memory for each possible permit: those at the beginning and the spare ones |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | fair | no |
/// | recovers | permits of a dead process come back within 100 ms (mostly 40) if a thread is waiting, and mostly at once for a thread that comes later |
/// | drop | closes this process's handle; the semaphore lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the semaphore. A permit that it inherits stays its parent's, and does nothing there.
///
/// # Crash
/// The permits of a process that dies come back. No error reports that, since a semaphore protects no data. Permits that were
/// [forgotten](Permit::forget) have no owner, and come back only by [`add_permits`](Self::add_permits).
///
/// # Source
/// Python's `multiprocessing.Semaphore`, which loses the permits of a killed process; sem_overview(7), whose `sem_t` loses a
/// wake-up as well.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::{Semaphore, SemaphoreError};
///
/// let connections = Semaphore::new(2)?;
/// let first = connections.acquire();
/// let second = connections.acquire();
/// assert_eq!(connections.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
/// drop(first);
/// assert_eq!(connections.available(), 1);
/// second.forget(); // without an owner from now on
/// connections.add_permits(1)?; // by any process
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    words: SignalledWords,
    budget: Budget,
    /// The place where this handle last found a permit.
    hint: AtomicUsize,
    segment: Option<Segment>,
}

impl Semaphore {
    /// Creates a semaphore with `permits` free permits, to which [`PERMITS_SPARE`] (1,024) more can be added. If you need
    /// more than that, use [`with_spare`](Self::with_spare).
    ///
    /// # Errors
    /// [`SemaphoreError::TooManyPermits`] above [`PERMITS_MAX`]; [`SemaphoreError::Memory`].
    pub fn new(permits: usize) -> Result<Self, SemaphoreError> {
        Self::with_room(permits, PERMITS_SPARE)
    }

    /// Creates a semaphore with `permits` free permits, to which `spare` more can be added, for example to count with it.
    /// Each possible permit takes 8 bytes, and a process that finds none free has looked at all of them.
    ///
    /// # Errors
    /// [`SemaphoreError::TooManyPermits`] if `permits` and `spare` add up to more than [`PERMITS_MAX`];
    /// [`SemaphoreError::Memory`].
    ///
    /// # Examples
    /// ```
    /// # extern crate shm_core as mp;
    /// use mp::Semaphore;
    ///
    /// let finished = Semaphore::with_spare(0, 10_000)?;
    /// finished.add_permits(10_000)?;
    /// assert_eq!(finished.available(), 10_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_spare(permits: usize, spare: usize) -> Result<Self, SemaphoreError> {
        check_room(permits, spare)?;
        Self::with_room(permits, spare)
    }

    pub(super) fn with_room(permits: usize, spare: usize) -> Result<Self, SemaphoreError> {
        let words = words_for(permits, spare)?;
        let bytes = SignalledWords::bytes_for(words).ok_or(TOO_LARGE)?;
        let made = SignalledWords::new(arena::allocate(bytes)?, words).map_err(|_| TOO_LARGE)?;
        Ok(Self::over(fill(made, permits), None))
    }

    /// Creates a semaphore with `permits` free permits under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// The same as [`new`](Self::new); [`SemaphoreError::Name`] if a living process uses the name, or if the name is not
    /// valid.
    pub fn create(name: &str, permits: usize) -> Result<Self, SemaphoreError> {
        Self::create_with_room(name, kind::SEMAPHORE, permits, PERMITS_SPARE)
    }

    /// Like [`with_spare`](Self::with_spare), under a name.
    ///
    /// # Errors
    /// The same as [`with_spare`](Self::with_spare) and [`create`](Self::create).
    pub fn create_with_spare(name: &str, permits: usize, spare: usize) -> Result<Self, SemaphoreError> {
        check_room(permits, spare)?;
        Self::create_with_room(name, kind::SEMAPHORE, permits, spare)
    }

    pub(super) fn create_with_room(
        name: &str,
        kind: Kind,
        permits: usize,
        spare: usize,
    ) -> Result<Self, SemaphoreError> {
        let words = words_for(permits, spare)?;
        let bytes = SignalledWords::bytes_for(words).ok_or(TOO_LARGE)?;
        let make = |span| SignalledWords::new(span, words).map(|made| fill(made, permits));
        let (made, segment) = named::create::<(), _>(name, kind, words, bytes, make)?;
        Ok(Self::over(made, Some(segment)))
    }

    /// Opens the semaphore of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        Self::open_kind(name, kind::SEMAPHORE)
    }

    pub(super) fn open_kind(name: &str, kind: Kind) -> Result<Self, NameError> {
        let attach = |words, span| SignalledWords::attach(span, words).ok();
        let (found, segment) = named::open::<(), _>(name, kind, attach)?;
        Ok(Self::over(found, Some(segment)))
    }

    fn over(words: SignalledWords, segment: Option<Segment>) -> Self {
        Self { words, budget: Budget::new(), hint: AtomicUsize::new(0), segment }
    }

    #[inline]
    fn permits(&self) -> Permits<'_> {
        Permits { signal: self.words.signal(), slots: self.words.words() }
    }

    /// Returns the number of permits that are free at this moment.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits().available()
    }

    /// Waits until a permit is free, and takes it.
    #[inline]
    pub fn acquire(&self) -> Permit<'_> {
        loop {
            // Never `None`: there is no deadline.
            if let Some(permit) = self.acquire_until(Deadline::NEVER) {
                return permit;
            }
        }
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        let (permits, own) = (self.permits(), Stamp::current().to_bits());
        let found = permits.claim(own, self.hint()).or_else(|| {
            permits.free_those_of_the_dead(&Kernel);
            permits.claim(own, self.hint())
        });
        found.map(|at| self.permit(at, own)).ok_or(SemaphoreError::WouldBlock)
    }

    /// Takes a permit, after waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(Deadline::after(timeout)).ok_or(SemaphoreError::TimedOut)
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Option<Permit<'_>> {
        let own = Stamp::current().to_bits();
        let found = self.permits().claim_hinted(own, self.hint());
        let at = found.or_else(|| self.wait_for_one(own, deadline))?;
        Some(self.permit(at, own))
    }

    #[cold]
    fn wait_for_one(&self, own: u64, deadline: Deadline) -> Option<usize> {
        self.permits().claim_until(own, self.hint(), &self.budget, deadline, &Kernel)
    }

    #[inline]
    fn hint(&self) -> usize {
        self.hint.load(Ordering::Relaxed)
    }

    #[inline]
    fn permit(&self, at: usize, own: u64) -> Permit<'_> {
        if self.hint() != at {
            self.hint.store(at, Ordering::Relaxed);
        }
        Permit { semaphore: self, taken: Taken::new(at, own), taken_in: Epoch::current() }
    }

    /// Adds `count` free permits. There is room for those that were forgotten and for the spare ones: [`PERMITS_SPARE`] by
    /// default, or as many as [`with_spare`](Self::with_spare) asked for.
    ///
    /// A process that dies during this call has added some of them.
    ///
    /// # Errors
    /// [`SemaphoreError::TooManyPermits`] if there is no room for all of them; then none was added.
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> Result<(), SemaphoreError> {
        let permits = self.permits();
        if permits.add(count, Stamp::current().to_bits()) {
            return Ok(());
        }
        Err(SemaphoreError::TooManyPermits { limit: permits.slots.len() })
    }
}

impl Semaphore {
    pub(super) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, held) = (self.available(), self.permits().held());
        write!(f, "{name}({} free, {held} held)", Count(free, "permit"))
    }
}

/// Checks that a semaphore may have as many permits as the caller asked for.
fn check_room(permits: usize, spare: usize) -> Result<(), SemaphoreError> {
    if permits.saturating_add(spare) > PERMITS_MAX {
        return Err(SemaphoreError::TooManyPermits { limit: PERMITS_MAX });
    }
    Ok(())
}

/// Returns the number of words of a semaphore with `permits` permits and room for `spare` more.
fn words_for(permits: usize, spare: usize) -> Result<usize, SemaphoreError> {
    if permits > PERMITS_MAX {
        return Err(SemaphoreError::TooManyPermits { limit: PERMITS_MAX });
    }
    Ok(permits.saturating_add(spare).min(PERMITS_MAX))
}

/// Makes the first `permits` permits free. No other thread can see the semaphore yet.
fn fill(made: SignalledWords, permits: usize) -> SignalledWords {
    for slot in made.words().iter().take(permits) {
        slot.store(FREE, Ordering::Relaxed);
    }
    made
}

impl Clone for Semaphore {
    fn clone(&self) -> Self {
        Self::over(self.words.clone(), self.segment.clone())
    }
}

impl Travels for Semaphore {
    type Object = SignalledWords;

    fn what() -> What {
        named::of::<()>(kind::SEMAPHORE)
    }

    fn parts(&self) -> Parts<'_, SignalledWords> {
        Parts { object: &self.words, count: self.words.words().len(), segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SignalledWords>, words: usize) -> Option<Self> {
        Some(Self::over(SignalledWords::attach(object, words).ok()?, None))
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Semaphore);

// Like std's atomics: every operation on it is whole.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show("Semaphore", f)
    }
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`](crate::BoundedSemaphore). Dropping it gives it back.
///
/// It belongs to the process, and may be sent to and dropped by any of its threads.
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    taken: Taken,
    taken_in: Epoch,
}

impl Permit<'_> {
    /// Drops the permit without giving it back. The semaphore has one permit less until somebody calls
    /// [`Semaphore::add_permits`]. So one process can take a permit and another one can give it back, as in Python.
    pub fn forget(mut self) {
        if self.taken_in.is_current() {
            self.taken.forget(&self.semaphore.permits());
        }
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        // A forked child has only a copy.
        if self.taken_in.is_current() {
            self.taken.give_back(&self.semaphore.permits());
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.taken_in.is_current() { "Permit(held)" } else { "Permit(its parent's)" })
    }
}
