//! `Semaphore` and `BoundedSemaphore`: a number of permits that processes take and give back.
//!
//! Each permit is a word:
//!
//! | word | meaning | who stores |
//! |---|---|---|
//! | [`NONE`] | no permit: it was forgotten, or not added yet | `forget`; `add_permits` makes it free |
//! | [`FREE`] | a permit that nobody has | its holder when it gives it back; whoever finds its holder dead |
//! | a process's stamp | a permit that this process has | the process when it takes it |
//!
//! Taking, giving back, forgetting and adding are one compare-and-exchange each, so a process that dies has done it or not,
//! and there is no count that could be wrong: what is available is what is free. A waiter that has waited for a slice looks
//! for stamps of dead processes and frees their permits; the time of the newest such look is shared, so that many waiters
//! do not look more often than one.
//!
//! # Why no wake-up is lost
//! A waiter reads the signal, looks at every permit, and waits while the signal is what it read. Whoever frees a permit
//! stores it, and then changes the signal: a permit that was freed after the look changes the signal after it was read.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::cells::SignalledWords;
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use mp_sys::futex::SLICE;
use mp_sys::identity::Stamp;
use mp_sys::named::Segment;

use crate::arena;
use crate::error::{SemaphoreError, TOO_LARGE};
use crate::named::{self, NameError};
use crate::sync::dead::{Look, is_turn_to_look};

/// The most permits that a semaphore may have, taken or not.
pub const PERMITS_MAX: usize = 65_536;
/// Permits that can be added to a [`Semaphore`] beyond those that it was made with.
pub const PERMITS_SPARE: usize = 1024;

/// No permit. Zero, so that fresh memory has none.
const NONE: u64 = 0;
/// A permit that nobody has. No stamp has all bits set: process ids end at 2^22 - 2.
const FREE: u64 = u64::MAX;
/// The first word tells when somebody last looked for the dead, in nanoseconds since boot.
const LAST_LOOK: usize = 0;

/// A number of permits that processes take and give back.
///
/// | property | |
/// |---|---|
/// | size | 8 bytes of shared memory for each permit that there may be: those at the beginning and [`PERMITS_SPARE`] |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | fair | no |
/// | recovers | permits of a dead process come back within 40 ms, when somebody waits, or at the next `try_acquire` |
/// | drop | gives this process's handle up; the semaphore lives as long as any process has it |
///
/// # Fork safety
/// A forked child shares the semaphore. A permit that it inherits stays its parent's, and does nothing there.
///
/// # Crash
/// The permits of a process that dies come back: nobody is told, since a semaphore protects no data. Permits that were
/// [forgotten](Permit::forget) have no owner, and come back only by [`add_permits`](Self::add_permits).
///
/// # Source
/// Python's `multiprocessing.Semaphore`, which loses the permits of a killed process; sem_overview(7), whose `sem_t` loses a
/// wake-up as well.
///
/// # Examples
/// ```
/// use shm_core::{Semaphore, SemaphoreError};
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
#[derive(Debug)]
pub struct Semaphore {
    permits: SignalledWords,
    budget: Budget,
    /// Where this handle last found a permit.
    hint: AtomicUsize,
    _segment: Option<Segment>,
}

impl Semaphore {
    /// Makes a semaphore with `permits` free permits.
    ///
    /// # Errors
    /// [`SemaphoreError::TooManyPermits`] above [`PERMITS_MAX`]; [`SemaphoreError::Memory`].
    pub fn new(permits: usize) -> Result<Self, SemaphoreError> {
        Self::with_room(permits, PERMITS_SPARE)
    }

    pub(super) fn with_room(permits: usize, spare: usize) -> Result<Self, SemaphoreError> {
        let words = words_for(permits, spare)?;
        let bytes = SignalledWords::bytes_for(words).ok_or(TOO_LARGE)?;
        let made = SignalledWords::new(arena::allocate(bytes)?, words).map_err(|_| TOO_LARGE)?;
        Ok(Self::over(fill(made, permits), None))
    }

    /// Makes a semaphore with `permits` free permits under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`SemaphoreError::Name`] if a living process uses the name, or for a bad one.
    pub fn create(name: &str, permits: usize) -> Result<Self, SemaphoreError> {
        Self::create_with_room(name, "Semaphore", permits, PERMITS_SPARE)
    }

    pub(super) fn create_with_room(
        name: &str,
        kind: &str,
        permits: usize,
        spare: usize,
    ) -> Result<Self, SemaphoreError> {
        let words = words_for(permits, spare)?;
        let bytes = SignalledWords::bytes_for(words).ok_or(TOO_LARGE)?;
        let make = |span| SignalledWords::new(span, words).map(|made| fill(made, permits));
        let (made, segment) = named::create::<(), _>(name, kind, words, bytes, make)?;
        Ok(Self::over(made, Some(segment)))
    }

    /// Finds the semaphore of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for what killed processes left; [`NameError::WrongType`] for another kind of object;
    /// [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        Self::open_kind(name, "Semaphore")
    }

    pub(super) fn open_kind(name: &str, kind: &str) -> Result<Self, NameError> {
        let attach = |words, span| SignalledWords::attach(span, words).ok();
        let (found, segment) = named::open::<(), _>(name, kind, attach)?;
        Ok(Self::over(found, Some(segment)))
    }

    fn over(permits: SignalledWords, segment: Option<Segment>) -> Self {
        Self { permits, budget: Budget::new(), hint: AtomicUsize::new(0), _segment: segment }
    }

    fn slots(&self) -> &[AtomicU64] {
        self.permits.words().get(LAST_LOOK.wrapping_add(1)..).unwrap_or_default()
    }

    /// Permits that nobody has at this moment.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.slots().iter().filter(|slot| slot.load(Ordering::Relaxed) == FREE).count()
    }

    /// Takes a permit, waiting until there is one.
    pub fn acquire(&self) -> Permit<'_> {
        loop {
            // Never `None`: there is no deadline.
            if let Some(permit) = self.acquire_until(Deadline::NEVER) {
                return permit;
            }
        }
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        let found = self.claim().or_else(|| {
            self.free_permits_of_the_dead();
            self.claim()
        });
        found.ok_or(SemaphoreError::WouldBlock)
    }

    /// Takes a permit, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(Deadline::after(timeout)).ok_or(SemaphoreError::TimedOut)
    }

    fn acquire_until(&self, deadline: Deadline) -> Option<Permit<'_>> {
        loop {
            let signal = self.permits.signal();
            let seen = signal.get();
            if let Some(permit) = self.claim() {
                return Some(permit);
            }
            let slice = Deadline::after(SLICE).min(deadline);
            if signal.wait_while(seen, &self.budget, slice).is_none() {
                self.look_for_the_dead();
                if deadline.has_passed() {
                    return self.claim();
                }
            }
        }
    }

    /// Takes the first free permit from the hint on.
    fn claim(&self) -> Option<Permit<'_>> {
        let slots = self.slots();
        let hint = self.hint.load(Ordering::Relaxed).min(slots.len());
        let (before, after) = slots.split_at_checked(hint)?;
        let own = Stamp::current().to_bits();
        let take = |slot: &AtomicU64| exchange(slot, FREE, own);
        let in_after = after.iter().position(take).map(|at| at.wrapping_add(hint));
        let at = in_after.or_else(|| before.iter().position(take))?;
        crash::point();
        self.hint.store(at, Ordering::Relaxed);
        Some(Permit { semaphore: self, at, stamp: own, taken_in: Epoch::current() })
    }

    /// Tells the waiters that permits became free.
    fn announce(&self, count: u32) {
        self.permits.signal().update(count, |word| Some(word.wrapping_add(1)));
    }

    /// Adds `count` free permits: what was forgotten, and as many more as there is room for.
    ///
    /// A process that dies in here has added some of them.
    ///
    /// # Errors
    /// [`SemaphoreError::TooManyPermits`] if there is no room for all of them; none was added then.
    #[doc(alias = "release")]
    pub fn add_permits(&self, count: usize) -> Result<(), SemaphoreError> {
        let slots = self.slots();
        let own = Stamp::current().to_bits();
        // First as taken by this process, so that nobody sees them before it is known that there is room.
        let reserve = |slot: &&AtomicU64| exchange(slot, NONE, own);
        let reserved: Vec<&AtomicU64> =
            slots.iter().filter(reserve).inspect(|_| crash::point()).take(count).collect();
        let is_enough = reserved.len() == count;
        for slot in &reserved {
            exchange(slot, own, if is_enough { FREE } else { NONE });
            crash::point();
        }
        if !is_enough {
            return Err(SemaphoreError::TooManyPermits { limit: slots.len() });
        }
        self.announce(u32::try_from(count).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs()));
        Ok(())
    }

    /// Looks for the dead, unless somebody did just now.
    fn look_for_the_dead(&self) {
        if self.permits.words().get(LAST_LOOK).is_some_and(is_turn_to_look) {
            self.free_permits_of_the_dead();
        }
    }

    fn free_permits_of_the_dead(&self) {
        let mut look = Look::default();
        let mut freed = 0_u32;
        for slot in self.slots() {
            let bits = slot.load(Ordering::Relaxed);
            if bits == NONE || bits == FREE {
                continue;
            }
            if look.is_dead(bits) && exchange(slot, bits, FREE) {
                freed = freed.saturating_add(1);
            }
        }
        if freed > 0 {
            tracing::debug!(freed, "permits of dead processes came back");
            self.announce(freed);
        }
    }
}

/// Makes one step of a permit's life, if it is where the caller thinks.
#[inline]
fn exchange(slot: &AtomicU64, from: u64, to: u64) -> bool {
    // A look first: a failed exchange takes the cache line from others as a successful one does.
    slot.load(Ordering::Relaxed) == from
        && slot.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

/// Words of a semaphore with `permits` permits and room for `spare` more.
fn words_for(permits: usize, spare: usize) -> Result<usize, SemaphoreError> {
    if permits > PERMITS_MAX {
        return Err(SemaphoreError::TooManyPermits { limit: PERMITS_MAX });
    }
    Ok(permits.saturating_add(spare).min(PERMITS_MAX).saturating_add(1))
}

/// Makes the first `permits` permits free. Nobody knows the semaphore yet.
fn fill(made: SignalledWords, permits: usize) -> SignalledWords {
    for slot in made.words().iter().skip(LAST_LOOK.saturating_add(1)).take(permits) {
        slot.store(FREE, Ordering::Relaxed);
    }
    made
}

// As std's atomics: every operation on it is whole.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`](crate::BoundedSemaphore). Dropping it gives it back.
///
/// It belongs to the process, and may be sent to and dropped by any of its threads.
#[derive(Debug)]
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    at: usize,
    stamp: u64,
    taken_in: Epoch,
}

impl Permit<'_> {
    /// Gives the permit up without giving it back: there is one less, until somebody adds one by
    /// [`Semaphore::add_permits`]. So one process can take it and another one give it back, as in Python.
    pub fn forget(self) {
        self.exchange(NONE);
        // The drop that follows finds that it is not this process's any more.
    }

    /// Stores what becomes of the permit, if it is this process's. A forked child has only a copy.
    fn exchange(&self, becomes: u64) -> bool {
        self.taken_in.is_current()
            && self.semaphore.slots().get(self.at).is_some_and(|slot| exchange(slot, self.stamp, becomes))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.exchange(FREE) {
            crash::point();
            self.semaphore.announce(1);
        }
    }
}
