//! The reasons why an operation on bytes did not happen, and conversions into them.

#[cfg(feature = "tokio")]
use mp_sys::asynchronous::RuntimeError;
use mp_sys::memory::MemoryError;
use mp_sys::robust::AcquireError;

use crate::queue::ring::{Corrupt, NoRoom};

/// The reason why an operation on bytes did not happen.
#[derive(Debug)]
pub(super) enum Refused {
    /// The queue is full or empty, and the caller did not want to wait.
    NotNow,
    /// The queue was still full or empty at the deadline.
    TimedOut,
    /// The queue is closed.
    Closed,
    /// The item has more bytes than an item, the queue, or the caller's buffer can hold.
    TooLarge {
        found: usize,
        limit: usize,
    },
    /// All cells for tasks of this size are in use.
    TooManyTasks,
    Memory(MemoryError),
    Lock(AcquireError),
    Corrupt(Corrupt),
    /// The task cannot wait.
    #[cfg(feature = "tokio")]
    Runtime(RuntimeError),
}

impl From<Corrupt> for Refused {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<NoRoom> for Refused {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Memory(error) => Self::Memory(error),
            NoRoom::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

impl From<AcquireError> for Refused {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::TimedOut => Self::TimedOut,
            other => Self::Lock(other),
        }
    }
}
