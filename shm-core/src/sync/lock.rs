//! `Lock`: mutual exclusion between processes, without data of its own.
//!
//! Prefer [`Value`](crate::Value) or [`Array`](crate::Array), which keep their data behind their own lock. A `Lock` is for
//! something elsewhere: a file, a terminal, or several [`RawArray`](crate::RawArray)s at once.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::locked::{Held, Locked};
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};
use mp_sys::robust::Patience;

use crate::error::{LockError, LockResult};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::{FOR_EVER, PanicWatch, Protected, no_journal, poison_text, within};
use crate::travel::{Parts, Travels, travels};

/// A lock that processes share, and that the next process gets when its holder dies.
///
/// | property | |
/// |---|---|
/// | size | 64 bytes of shared memory |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | reentrant | no: a second `lock` by the same thread returns [`LockError::Deadlock`], and `try_lock` returns [`LockError::WouldBlock`] |
/// | fair | no |
/// | recovers | at once: the kernel wakes a waiter when the holder dies, and the waiter gets an error |
/// | drop | closes this process's handle; the lock lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the lock. It never holds its parent's locks: an inherited guard does nothing there.
///
/// # Crash
/// If a process dies while it holds the lock, locking it then returns [`LockError::Poisoned`] with the guard inside, until
/// [`clear_poison`](Lock::clear_poison) is called.
///
/// # Source
/// Python's `multiprocessing.Lock`, which any process may release, and which a dead holder keeps for ever;
/// Documentation/locking/robust-futexes.rst.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::Lock;
///
/// let terminal = Lock::new()?;
/// {
///     let _held = terminal.lock().unwrap();
///     // … one process at a time …
/// } // released here
/// assert!(terminal.try_lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Mutex")]
pub struct Lock {
    protected: Protected,
    /// Dropped after the lock, which is inside it.
    segment: Option<Segment>,
}

impl Lock {
    /// Creates a free lock.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { protected: Protected::new(0, no_journal, |_| {})?, segment: None })
    }

    /// Creates a free lock under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str) -> Result<Self, NameError> {
        let (protected, segment) = Protected::create::<()>((name, kind::LOCK, 0), 0, no_journal, |_| {})?;
        Ok(Self { protected, segment: Some(segment) })
    }

    /// Opens the lock of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (protected, _, segment) = Protected::open_named::<()>(name, kind::LOCK, |_| Some(0), no_journal)?;
        Ok(Self { protected, segment: Some(segment) })
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside: the caller holds the lock. [`LockError::Deadlock`] and
    /// [`LockError::TooManyHeld`]: the caller does not hold it.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<LockGuard<'_>> {
        self.lock_with(FOR_EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if the lock is held; otherwise the same as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<LockGuard<'_>> {
        self.lock_with(Patience::None)
    }

    /// Takes the lock, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if the lock did not become free in time; otherwise the same as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<LockGuard<'_>> {
        self.lock_with(within(timeout))
    }

    fn lock_with(&self, patience: Patience) -> LockResult<LockGuard<'_>> {
        let watch = PanicWatch::start();
        let held = self.protected.open(patience).map_err(LockError::refused)?;
        let guard = LockGuard { lock: self, watch, held };
        self.protected.unless_poisoned(guard)
    }

    /// Returns whether a holder died or panicked and nobody has called `clear_poison` since.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.protected.is_poisoned()
    }

    /// Declares that what the lock protects is in order again.
    pub fn clear_poison(&self) {
        self.protected.clear_poison();
    }
}

impl Travels for Lock {
    type Object = Locked;

    fn what() -> What {
        named::of::<()>(kind::LOCK)
    }

    fn parts(&self) -> Parts<'_, Locked> {
        Parts { object: self.protected.locked(), count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<Locked>, _: usize) -> Option<Self> {
        let protected = Protected::arrived(Locked::attach(object).ok()?, 0, no_journal)?;
        Some(Self { protected, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Lock);

// Like std's locks and atomics: poison reports what a panic left.
impl UnwindSafe for Lock {}
impl RefUnwindSafe for Lock {}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({}{})", self.protected.holder(), poison_text(self.is_poisoned()))
    }
}

/// A held [`Lock`]. Dropping it releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
#[doc(alias = "release")]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    watch: PanicWatch,
    held: Held<'a>,
}

impl<'a> LockGuard<'a> {
    pub(super) fn owner(&self) -> &'a Lock {
        self.lock
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // An inherited guard, in a forked child, holds nothing.
        if self.watch.panicked() && self.held.is_held_here() {
            self.lock.protected.poison();
        }
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.held.is_held_here() { "LockGuard(held)" } else { "LockGuard(another thread's)" })
    }
}
