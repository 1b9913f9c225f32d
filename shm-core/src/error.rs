//! What can go wrong, one small enum for each family of operations.
//!
//! | enum | of |
//! |---|---|
//! | [`MemoryError`] | making an object |
//! | [`LockError`] | taking a lock, and whatever takes one inside |
//! | [`RangeError`] | indices and lengths |
//! | [`ArrayError`] | both of the last two |
//! | [`SemaphoreError`], [`WaitError`], [`BarrierError`] | semaphores, conditions, barriers |
//! | [`NameError`] | objects with a name |
//!
//! An error that happens with a value in hand carries it back: `set` gives the value that was not stored, `get` the value
//! that is poisoned, `lock` the guard.

use std::fmt;

pub use mp_sys::OsError;
use mp_sys::locked::ReadError;
pub use mp_sys::memory::MemoryError;
use mp_sys::robust::AcquireError;

pub use crate::named::NameError;

/// More bytes than there are addresses.
pub(crate) const TOO_LARGE: MemoryError = MemoryError::NoSpace { wanted: u64::MAX, available: 0 };

/// The outcome of taking a lock.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why a lock was not taken, or why its data must not be trusted.
///
/// `G` is what the operation would have returned: the guard of `lock` or the value of `get`. For `set`, it is the value that was not stored.
///
/// # With `?`
/// In a function that returns `Box<dyn Error>` or the like, `lock()?` does not compile: "lifetime may not live long enough". The guard inside
/// the error borrows the object, and the function would return it. [`discard`](Self::discard) drops the guard:
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
    /// A process died or a thread panicked while it held the lock: the data may be half changed. The lock works, and
    /// everybody gets this error until somebody calls `clear_poison`.
    Poisoned(G),
    /// Somebody holds the lock (`try_lock` only).
    WouldBlock,
    /// Somebody held the lock until the timeout.
    TimedOut,
    /// The calling thread holds this lock already: waiting would never end. Drop the guard first, or use it.
    Deadlock,
    /// The calling thread holds [`HELD_MAX`](crate::sync::HELD_MAX) locks, the most that are recovered if it dies.
    TooManyHeld,
    /// A [`RwLock`](crate::RwLock) has [`READERS_MAX`](crate::sync::READERS_MAX) readers, or the calling thread has
    /// [`READS_MAX`](crate::sync::READS_MAX) guards of readers.
    TooManyReaders,
    /// The calling thread cannot take locks: all thread-specific keys of the C library are taken by others.
    Unwatched(i32),
    /// The lock's memory was overwritten by something that is no lock operation.
    Corrupt(i32),
    /// The lock was made by a process that sees its threads' lists of robust locks, and this one does not, in a sandbox that
    /// refuses get_robust_list(2).
    OtherMode,
}

impl<G> LockError<G> {
    /// What a poisoned lock gave.
    pub fn into_poisoned(self) -> Option<G> {
        match self {
            Self::Poisoned(inner) => Some(inner),
            _ => None,
        }
    }

    /// The error alone, so that `?` can turn it into a `Box<dyn Error>`, which must not borrow:
    /// `let guard = value.lock().map_err(LockError::discard)?`. A guard inside is dropped.
    pub fn discard(self) -> LockError<()> {
        self.map(drop)
    }

    /// Why the lock was not taken.
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

    /// The same error with another thing in hand.
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

/// What can go wrong with a semaphore. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// There is no free permit (`try_acquire` only).
    #[error("no permit is free")]
    WouldBlock,
    /// There was no free permit until the timeout.
    #[error("no permit was free until the timeout")]
    TimedOut,
    /// More permits than a semaphore has room for.
    #[error("a semaphore has room for {limit} permits")]
    TooManyPermits {
        /// Permits, taken or not.
        limit: usize,
    },
    /// Permits were given back to a bounded semaphore that were not taken.
    #[error("more permits were given back than were taken")]
    OverRelease,
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The name cannot be had.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What can go wrong at a barrier.
#[doc(alias = "BrokenBarrierError")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died or timed out, its action failed, or somebody called `abort` or `reset`.
    #[error("the barrier is broken")]
    Broken,
    /// The others did not come before the timeout. The barrier is broken now.
    #[error("the other parties did not come before the timeout: the barrier is broken")]
    TimedOut,
    /// All places are taken by other parties.
    #[error("other parties have registered all {parties} places of the barrier")]
    TooManyParties {
        /// The number of parties.
        parties: usize,
    },
    /// A barrier has at least 1 party, and at most `limit`.
    #[error("a barrier has 1 to {limit} parties")]
    Parties {
        /// The most.
        limit: usize,
    },
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The name cannot be had.
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
    /// [`WAITERS_MAX`](crate::sync::WAITERS_MAX) wait already. The lock was not released: its guard is inside.
    TooManyWaiters(G),
    /// The wait is over, but the lock was not taken again, or it is poisoned and its guard is inside.
    Lock(LockError<G>),
}

impl<G> fmt::Display for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWaiters(_) => {
                write!(f, "{} wait on the condition already", crate::sync::WAITERS_MAX)
            }
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl<G> fmt::Debug for WaitError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWaiters(_) => f.write_str("TooManyWaiters(..)"),
            Self::Lock(error) => f.debug_tuple("Lock").field(error).finish(),
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
        /// The number of elements there are.
        len: usize,
    },
    /// The whole array was to be replaced by another number of elements.
    #[error("{found} elements cannot replace an array of {expected}")]
    LengthMismatch {
        /// The number of elements there are.
        expected: usize,
        /// The number given.
        found: usize,
    },
}

impl RangeError {
    /// Checks `count` elements from `start` on; gives the range.
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
