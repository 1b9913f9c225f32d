//! The errors of locks, and the guard that an error may contain.

use std::fmt;

use crate::backend::CallError;
use crate::proto::Fault;

/// The result of taking a lock.
pub type LockResult<G> = Result<G, LockError<G>>;

/// Why a lock was not taken, or why the data that it protects must not be trusted.
///
/// `lock()?` does not compile in a function that returns `Box<dyn Error>`, because the guard inside the error borrows
/// the lock. Drop the guard with `.map_err(LockError::discard)?`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError<G> {
    /// The last holder died or lost its lease before it released the lock, so the protected data may be half changed.
    /// The lock is held, and its guard is inside. Only the next holder gets this error.
    OwnerDied(G),
    /// Another holder has the lock (`try_lock` only).
    WouldBlock,
    /// Another holder had the lock until the timeout.
    TimedOut,
    /// The calling thread already holds this lock, so waiting would never end. Drop the guard first, or use it.
    Deadlock,
    /// The call failed, and the lock is not held. After [`CallError::OutcomeUnknown`], the lock may be held until the
    /// connection ends.
    Call(CallError),
}

impl<G> LockError<G> {
    /// Returns the guard, if the lock is held in spite of the error.
    pub fn into_guard(self) -> Option<G> {
        match self {
            Self::OwnerDied(guard) => Some(guard),
            _ => None,
        }
    }

    /// Drops the guard inside the error, so that `?` can turn the error into a `Box<dyn Error>`, which must not borrow:
    /// `let guard = lock.lock().map_err(LockError::discard)?`.
    pub fn discard(self) -> LockError<()> {
        self.map(drop)
    }

    /// Returns the same error with `change` applied to the guard.
    fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied(guard) => LockError::OwnerDied(change(guard)),
            Self::WouldBlock => LockError::WouldBlock,
            Self::TimedOut => LockError::TimedOut,
            Self::Deadlock => LockError::Deadlock,
            Self::Call(error) => LockError::Call(error),
        }
    }
}

impl<G> From<CallError> for LockError<G> {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(Fault::WouldBlock) => Self::WouldBlock,
            CallError::Fault(Fault::TimedOut) => Self::TimedOut,
            CallError::Fault(Fault::Deadlock) => Self::Deadlock,
            error => Self::Call(error),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => {
                f.write_str("the last holder died or lost its lease: check what the lock protects")
            }
            Self::WouldBlock => f.write_str("another holder has the lock"),
            Self::TimedOut => f.write_str("the lock was still held at the timeout"),
            Self::Deadlock => f.write_str("the calling thread already holds this lock"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            Self::WouldBlock => f.write_str("WouldBlock"),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::Deadlock => f.write_str("Deadlock"),
            Self::Call(error) => f.debug_tuple("Call").field(error).finish(),
        }
    }
}

impl<G> std::error::Error for LockError<G> {}
