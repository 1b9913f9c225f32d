//! The errors: one small enum for each family of operations.
//!
//! | enum | returned by |
//! |---|---|
//! | [`MemoryError`] | creating an object |
//! | [`LockError`] | taking a lock, and operations that take one inside |
//! | [`RangeError`] | indices and lengths |
//! | [`ArrayError`] | operations that can fail in both of these ways |
//! | [`SemaphoreError`], [`WaitError`], [`BarrierError`] | semaphores, conditions, barriers |
//! | [`NameError`] | objects with a name |
//!
//! An error carries back the value that the operation had: that of `set` contains the value that was not stored, that of
//! `get` the poisoned value, and that of `lock` the guard.

use std::fmt;

pub use mp_sys::OsError;
#[cfg(feature = "tokio")]
pub use mp_sys::asynchronous::RuntimeError;
use mp_sys::locked::ReadError;
pub use mp_sys::memory::MemoryError;
use mp_sys::robust::AcquireError;

pub use crate::named::NameError;

/// The error for more bytes than there are addresses.
pub(crate) const TOO_LARGE: MemoryError = MemoryError::NoSpace { wanted: u64::MAX, available: 0 };

/// The result of taking a lock.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why a lock was not taken, or why its data may be wrong.
///
/// `G` is what the operation would have returned: the guard of `lock` or the value of `get`. For `set`, it is the value that
/// was not stored.
///
/// # With `?`
/// In a function that returns `Box<dyn Error>` or the like, `lock()?` does not compile: "lifetime may not live long enough".
/// The guard inside the error borrows the object, and the function would return it. [`discard`](Self::discard) drops the
/// guard:
/// ```
/// # extern crate shm_core as mp;
/// use mp::{LockError, Value};
///
/// fn double(value: &Value<u32>) -> Result<u32, Box<dyn std::error::Error>> {
///     Ok(*value.lock().map_err(LockError::discard)? * 2)
/// }
/// # assert_eq!(double(&Value::new(21)?)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "PoisonError")]
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError<G> {
    /// A process died or a thread panicked while it held the lock, so the data may be half changed. The lock still works.
    /// Every operation returns this error until `clear_poison` is called.
    Poisoned(G),
    /// The lock is held (`try_lock` and the like only).
    WouldBlock,
    /// The lock did not become free before the timeout.
    TimedOut,
    /// The calling thread already holds this lock, so waiting would never end. Use the guard, or drop it first.
    Deadlock,
    /// The calling thread holds [`HELD_MAX`](crate::sync::HELD_MAX) locks, the most that can be recovered if it dies.
    TooManyHeld,
    /// A [`RwLock`](crate::RwLock) has [`READERS_MAX`](crate::sync::READERS_MAX) readers, or the calling thread has
    /// [`READS_MAX`](crate::sync::READS_MAX) guards of readers.
    TooManyReaders,
    /// The calling thread cannot take locks: other parts of the program use all thread-specific keys of the C library.
    Unwatched(i32),
    /// The lock's memory was overwritten by something other than a lock operation.
    Corrupt(i32),
    /// The process that created the lock can see its threads' lists of robust locks, and this process cannot, because its
    /// sandbox refuses get_robust_list(2).
    OtherMode,
}

impl<G> LockError<G> {
    /// Returns the guard or value of a poisoned lock.
    pub fn into_poisoned(self) -> Option<G> {
        match self {
            Self::Poisoned(inner) => Some(inner),
            _ => None,
        }
    }

    /// Drops the guard or value inside, so that `?` can turn the error into a `Box<dyn Error>`, which must not borrow: `let
    /// guard = value.lock().map_err(LockError::discard)?`.
    pub fn discard(self) -> LockError<()> {
        self.map(drop)
    }

    /// Returns the error for a lock that was not taken.
    pub(crate) fn refused(error: AcquireError) -> Self {
        match error {
            AcquireError::WouldBlock => Self::WouldBlock,
            AcquireError::TimedOut => Self::TimedOut,
            AcquireError::Deadlock => Self::Deadlock,
            AcquireError::TooManyHeld => Self::TooManyHeld,
            AcquireError::Unwatched(code) => Self::Unwatched(code),
            AcquireError::Corrupt(code) => Self::Corrupt(code),
            AcquireError::OtherMode => Self::OtherMode,
            // The enum grows with mp-sys, which is pinned to this crate's version.
            _ => Self::Corrupt(0),
        }
    }

    /// Returns the same error with something else inside.
    pub(crate) fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::Poisoned(inner) => LockError::Poisoned(change(inner)),
            Self::WouldBlock => LockError::WouldBlock,
            Self::TimedOut => LockError::TimedOut,
            Self::Deadlock => LockError::Deadlock,
            Self::TooManyHeld => LockError::TooManyHeld,
            Self::TooManyReaders => LockError::TooManyReaders,
            Self::Unwatched(code) => LockError::Unwatched(code),
            Self::Corrupt(code) => LockError::Corrupt(code),
            Self::OtherMode => LockError::OtherMode,
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned(_) => f.write_str(
                "poisoned: a process died or panicked while it held the lock; check the data, then clear_poison()",
            ),
            Self::WouldBlock => AcquireError::WouldBlock.fmt(f),
            Self::TimedOut => AcquireError::TimedOut.fmt(f),
            Self::Deadlock => AcquireError::Deadlock.fmt(f),
            Self::TooManyHeld => AcquireError::TooManyHeld.fmt(f),
            Self::TooManyReaders => ReadError::TooManyReaders.fmt(f),
            Self::Unwatched(code) => AcquireError::Unwatched(*code).fmt(f),
            Self::Corrupt(code) => AcquireError::Corrupt(*code).fmt(f),
            Self::OtherMode => AcquireError::OtherMode.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Poisoned(_) => "Poisoned(..)",
            Self::WouldBlock => "WouldBlock",
            Self::TimedOut => "TimedOut",
            Self::Deadlock => "Deadlock",
            Self::TooManyHeld => "TooManyHeld",
            Self::TooManyReaders => "TooManyReaders",
            Self::Unwatched(code) => return f.debug_tuple("Unwatched").field(code).finish(),
            Self::Corrupt(code) => return f.debug_tuple("Corrupt").field(code).finish(),
            Self::OtherMode => "OtherMode",
        };
        f.write_str(name)
    }
}

impl<G> std::error::Error for LockError<G> {}

/// Why an operation on a semaphore failed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// There is no free permit (`try_acquire` only).
    #[error("no permit is free")]
    WouldBlock,
    /// No permit became free before the timeout.
    #[error("no permit became free before the timeout")]
    TimedOut,
    /// The semaphore has no room for so many permits.
    #[error("a semaphore has room for {limit} permits")]
    TooManyPermits {
        /// The most permits, taken or not.
        limit: usize,
    },
    /// More permits were given back to a bounded semaphore than were taken.
    #[error("more permits were given back than were taken")]
    OverRelease,
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The name could not be used or opened.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The task cannot wait (`acquire_async` only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Why an operation on a barrier failed.
#[doc(alias = "BrokenBarrierError")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died or timed out, its action failed, or somebody called `abort` or `reset`.
    #[error("the barrier is broken")]
    Broken,
    /// The others did not come before the timeout. The barrier is broken now.
    #[error("the other parties did not come before the timeout: the barrier is broken")]
    TimedOut,
    /// Other parties have taken all places.
    #[error("other parties have registered all {parties} places of the barrier")]
    TooManyParties {
        /// The number of parties.
        parties: usize,
    },
    /// A barrier must have at least 1 party, and at most `limit`.
    #[error("a barrier has 1 to {limit} parties")]
    Parties {
        /// The most.
        limit: usize,
    },
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The name could not be used or opened.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The barrier's own lock was not taken.
    #[error(transparent)]
    Lock(LockError<()>),
}

/// Why waiting on a condition failed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError<G> {
    /// [`WAITERS_MAX`](crate::sync::WAITERS_MAX) threads already wait. The lock was not released; its guard is inside.
    TooManyWaiters(G),
    /// The wait ended, but the lock was not taken again; or it is poisoned, and its guard is inside.
    Lock(LockError<G>),
    /// The task cannot wait (`wait_until_async` only).
    #[cfg(feature = "tokio")]
    Runtime(RuntimeError),
}

#[cfg(feature = "tokio")]
impl<G> From<RuntimeError> for WaitError<G> {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}

impl<G> fmt::Display for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWaiters(_) => {
                write!(f, "{} threads already wait on the condition", crate::sync::WAITERS_MAX)
            }
            Self::Lock(error) => error.fmt(f),
            #[cfg(feature = "tokio")]
            Self::Runtime(error) => error.fmt(f),
        }
    }
}

impl<G> fmt::Debug for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWaiters(_) => f.write_str("TooManyWaiters(..)"),
            Self::Lock(error) => f.debug_tuple("Lock").field(error).finish(),
            #[cfg(feature = "tokio")]
            Self::Runtime(error) => f.debug_tuple("Runtime").field(error).finish(),
        }
    }
}

impl<G> std::error::Error for WaitError<G> {}

/// An index or a length that does not fit. Nothing was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Elements beyond the end, or a range that ends before it starts.
    #[error("elements {start}..{end} are out of range for an array of {len}")]
    OutOfRange {
        /// The first element asked for.
        start: usize,
        /// The element after the last one asked for.
        end: usize,
        /// The number of elements in the array.
        len: usize,
    },
    /// The number of elements differs from that of the array that they should replace.
    #[error("{found} elements cannot replace an array of {expected}")]
    LengthMismatch {
        /// The number of elements in the array.
        expected: usize,
        /// The number of new elements.
        found: usize,
    },
}

impl RangeError {
    /// Checks that `count` elements from `start` on exist, and returns their range.
    pub(crate) fn check(start: usize, count: usize, len: usize) -> Result<(), Self> {
        let end = start.saturating_add(count);
        if end > len || start > len {
            return Err(Self::OutOfRange { start, end, len });
        }
        Ok(())
    }

    pub(crate) fn check_whole(found: usize, expected: usize) -> Result<(), Self> {
        if found != expected {
            return Err(Self::LengthMismatch { expected, found });
        }
        Ok(())
    }
}

/// Why an operation on an [`Array`](crate::Array) failed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArrayError<G> {
    /// The index or length does not fit.
    Range(RangeError),
    /// The lock was not taken, or the data is poisoned.
    Lock(LockError<G>),
}

impl<G> From<RangeError> for ArrayError<G> {
    fn from(error: RangeError) -> Self {
        Self::Range(error)
    }
}

impl<G> From<LockError<G>> for ArrayError<G> {
    fn from(error: LockError<G>) -> Self {
        Self::Lock(error)
    }
}

impl<G> fmt::Display for ArrayError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(error) => error.fmt(f),
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl<G> fmt::Debug for ArrayError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(error) => f.debug_tuple("Range").field(error).finish(),
            Self::Lock(error) => f.debug_tuple("Lock").field(error).finish(),
        }
    }
}

impl<G> std::error::Error for ArrayError<G> {}
