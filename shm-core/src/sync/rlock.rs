//! `RLock`: a lock that its holder can take again.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::locked::CONTROL_BYTES;
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};
pub use mp_sys::reentrant::DEPTH_MAX;
use mp_sys::reentrant::{DEPTH_BYTES, Entered, Reentrant};
use mp_sys::robust::{AcquireError, Patience};

use crate::arena;
use crate::error::{LockError, LockResult, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::{
    FOR_EVER, PanicWatch, clear_poison, is_poisoned, no_journal, poison, poison_text, take_over, within,
};
use crate::travel::{Parts, Travels, travels};

/// The size of the lock in shared memory, in bytes.
const BYTES: usize = CONTROL_BYTES + DEPTH_BYTES;

/// A lock that processes share, that the next process gets when its holder dies, and that its holder can take again.
///
/// | property | |
/// |---|---|
/// | size | 64 bytes of shared memory |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | reentrant | yes: by the thread that holds it, up to [`DEPTH_MAX`] deep; released with the last guard, whatever the order |
/// | fair | no |
/// | recovers | at once: the kernel wakes a waiter when the holder dies, and the waiter gets an error |
/// | drop | closes this process's handle; the lock lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the lock. It never holds its parent's locks: an inherited guard does nothing there.
///
/// # Crash
/// As with [`Lock`](crate::Lock), locking it returns [`LockError::Poisoned`] with the guard inside, until
/// [`clear_poison`](Self::clear_poison) is called.
///
/// # Source
/// Python's `multiprocessing.RLock`, which a dead holder keeps for ever.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::RLock;
///
/// let lock = RLock::new()?;
/// let outer = lock.lock().unwrap();
/// let inner = lock.lock().unwrap(); // the same thread again
/// drop(outer);
/// drop(inner); // released here
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "ReentrantMutex")]
pub struct RLock {
    entry: Reentrant,
    /// Dropped after the lock, which is inside it.
    segment: Option<Segment>,
}

impl RLock {
    /// Creates a free lock.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        let entry = Reentrant::new(arena::allocate(BYTES)?).map_err(|_| TOO_LARGE)?;
        Ok(Self { entry, segment: None })
    }

    /// Creates a free lock under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str) -> Result<Self, NameError> {
        let (entry, segment) = named::create::<(), _>(name, kind::RLOCK, 0, BYTES, Reentrant::new)?;
        Ok(Self { entry, segment: Some(segment) })
    }

    /// Opens the lock of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let attach = |_, span| Reentrant::attach(span).ok();
        let (entry, segment) = named::open::<(), _>(name, kind::RLOCK, attach)?;
        Ok(Self { entry, segment: Some(segment) })
    }

    /// Waits until the lock is free, and takes it. If the calling thread already has the lock, it takes it at once.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside: the caller holds the lock. [`LockError::TooManyHeld`] at [`DEPTH_MAX`]
    /// guards of this thread, or at its limit of locks: the caller does not get another guard.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(FOR_EVER)
    }

    /// Takes the lock if it is free or the calling thread already has it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if another thread holds it; otherwise the same as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Patience::None)
    }

    /// Takes the lock, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if the lock did not become free in time; otherwise the same as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<RLockGuard<'_>> {
        self.lock_with(within(timeout))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn holder(&self) -> mp_sys::locked::Holder {
        self.entry.holder()
    }

    fn lock_with(&self, patience: Patience) -> LockResult<RLockGuard<'_>> {
        self.guard(self.entry.enter(patience, |held| take_over(held, no_journal)))
    }

    /// Takes the lock again, as often as [`RLockGuard::release_all`] released it.
    pub(super) fn lock_again(&self, depth: u64) -> LockResult<RLockGuard<'_>> {
        self.guard(self.entry.enter_again(depth, FOR_EVER, |held| take_over(held, no_journal)))
    }

    fn guard<'a>(&'a self, entered: Result<Entered<'a>, AcquireError>) -> LockResult<RLockGuard<'a>> {
        let entered = entered.map_err(LockError::refused)?;
        let guard = RLockGuard { lock: self, watch: PanicWatch::start(), entered };
        if self.is_poisoned() {
            return Err(LockError::Poisoned(guard));
        }
        Ok(guard)
    }

    /// Returns whether a holder died or panicked and nobody has called `clear_poison` since.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        is_poisoned(self.entry.flag())
    }

    /// Declares that what the lock protects is in order again.
    pub fn clear_poison(&self) {
        clear_poison(self.entry.flag());
    }
}

impl Travels for RLock {
    type Object = Reentrant;

    fn what() -> What {
        named::of::<()>(kind::RLOCK)
    }

    fn parts(&self) -> Parts<'_, Reentrant> {
        Parts { object: &self.entry, count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<Reentrant>, _: usize) -> Option<Self> {
        Some(Self { entry: Reentrant::attach(object).ok()?, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(RLock);

// Like std's locks: poison reports what a panic left.
impl UnwindSafe for RLock {}
impl RefUnwindSafe for RLock {}

/// A held [`RLock`]. Dropping the last one of a thread releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
#[doc(alias = "release")]
#[must_use = "the lock is released when the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    watch: PanicWatch,
    entered: Entered<'a>,
}

impl<'a> RLockGuard<'a> {
    /// Releases the lock, however many guards this thread has, and returns how many there are.
    pub(super) fn release_all(self) -> (&'a RLock, u64) {
        (self.lock, self.entered.leave_for_a_while())
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // An inherited guard, in a forked child, holds nothing.
        if self.watch.panicked() && self.entered.is_held_here() {
            poison(self.lock.entry.flag());
        }
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RLock({}{})", self.entry.holder(), poison_text(self.is_poisoned()))
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.entered.is_held_here() {
            "RLockGuard(held)"
        } else {
            "RLockGuard(another thread's)"
        })
    }
}
