//! What can go wrong with a queue.

use std::fmt;

use mp_sys::memory::MemoryError;
use mp_sys::robust::AcquireError;

use crate::limits::{CAPACITY_MAX, TASKS_MAX};
use crate::queue::core::Refused;
use crate::queue::ring::Corrupt;

pub use mp_sys::robust::AcquireError as LockRefused;

/// Why there is no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A queue without room; one without limit is made by `new`.
    #[error("a queue holds at least one item")]
    NoCapacity,
    /// More items than a queue can count.
    #[error("a queue holds at most {CAPACITY_MAX} items")]
    CapacityTooLarge,
    /// There is no memory, no address space or no descriptor for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A task is handed out at least once: 0 is no number of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task is handed out at least once, and 0 deliveries were allowed")]
pub struct NoDeliveries;

/// Why an item was not put. The queue is as it was, and the item is still the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Somebody closed the queue.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no room now (`try_put` only).
    #[error("the queue is full")]
    Full,
    /// The queue had no room until the timeout.
    #[error("the queue was still full at the timeout")]
    TimedOut,
    /// The encoded item is longer than an item, or than all items of this queue together, may be.
    #[error("an item of {found} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Bytes of the encoded item.
        found: usize,
        /// [`ITEM_BYTES_MAX`](crate::limits::ITEM_BYTES_MAX), or the queue's own limit.
        limit: usize,
    },
    /// The value cannot be encoded: its own `Serialize` says no, or it holds a descriptor or a shared object, which travel
    /// through a pipe only.
    #[error("the item cannot be encoded: {0}")]
    Encode(String),
    /// There is no shared memory for the queue to grow.
    #[error(transparent)]
    Memory(MemoryError),
    /// The queue's lock was not to be had: a process that holds it was stopped, or the calling thread holds too many locks.
    #[error("the queue's lock is not available: {0}")]
    Lock(LockRefused),
    /// Somebody wrote what makes no sense into the queue's memory.
    #[error("the queue's memory was overwritten: {0}")]
    Corrupt(&'static str),
}

/// Why there is no item.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Somebody closed the queue, and all its items were taken.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no item now (`try_get` only).
    #[error("the queue is empty")]
    Empty,
    /// The queue had no item until the timeout.
    #[error("the queue was still empty at the timeout")]
    TimedOut,
    /// The item is longer than the buffer that it was to be put in. It is still in the queue.
    #[error("an item of {found} bytes does not fit into {limit} bytes")]
    TooLarge {
        /// Bytes of the item.
        found: usize,
        /// Bytes of the buffer.
        limit: usize,
    },
    /// The item is no value of the expected type. It was taken out of the queue, and its bytes are here; the next item can
    /// be got.
    #[error("the item is no value of the expected type: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
        /// The bytes of the item.
        bytes: Vec<u8>,
    },
    /// As many tasks of this size as may be are handed out or have failed. The task is still in the queue.
    #[error("{TASKS_MAX} tasks, or 4 GiB of them, are handed out or have failed")]
    TooManyTasks,
    /// There is no memory for the item, which is still in the queue.
    #[error(transparent)]
    Memory(MemoryError),
    /// The queue's lock was not to be had: a process that holds it was stopped, or the calling thread holds too many locks.
    #[error("the queue's lock is not available: {0}")]
    Lock(LockRefused),
    /// Somebody wrote what makes no sense into the queue's memory.
    #[error("the queue's memory was overwritten: {0}")]
    Corrupt(&'static str),
}

impl fmt::Debug for GetError {
    /// As derived, but for the bytes, of which only the number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Empty => f.write_str("Empty"),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::TooLarge { found, limit } => {
                f.debug_struct("TooLarge").field("found", found).field("limit", limit).finish()
            }
            Self::Decode { reason, bytes } => {
                let bytes = format_args!("{} bytes", bytes.len()).to_string();
                f.debug_struct("Decode").field("reason", reason).field("bytes", &bytes).finish()
            }
            Self::TooManyTasks => f.write_str("TooManyTasks"),
            Self::Memory(error) => f.debug_tuple("Memory").field(error).finish(),
            Self::Lock(error) => f.debug_tuple("Lock").field(error).finish(),
            Self::Corrupt(what) => f.debug_tuple("Corrupt").field(what).finish(),
        }
    }
}

/// Why not all of several items were put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{put} items were put, then: {error}")]
pub struct PutManyError {
    /// Items that are in the queue: the first ones, in their order.
    pub put: usize,
    /// What happened to the next one.
    #[source]
    pub error: PutError,
}

impl From<Refused> for PutError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotNow => Self::Full,
            Refused::TimedOut => Self::TimedOut,
            Refused::Closed => Self::Closed,
            Refused::TooLarge { found, limit } => Self::TooLarge { found, limit },
            // Only getting needs cells.
            Refused::TooManyTasks => Self::Corrupt("a queue of tasks has no place for them"),
            Refused::Memory(error) => Self::Memory(error),
            Refused::Lock(error) => Self::Lock(error),
            Refused::Corrupt(Corrupt(what)) => Self::Corrupt(what),
        }
    }
}

impl From<Refused> for GetError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotNow => Self::Empty,
            Refused::TimedOut => Self::TimedOut,
            Refused::Closed => Self::Closed,
            Refused::TooLarge { found, limit } => Self::TooLarge { found, limit },
            Refused::TooManyTasks => Self::TooManyTasks,
            Refused::Memory(error) => Self::Memory(error),
            Refused::Lock(error) => Self::Lock(error),
            Refused::Corrupt(Corrupt(what)) => Self::Corrupt(what),
        }
    }
}

impl From<AcquireError> for PutError {
    fn from(error: AcquireError) -> Self {
        Refused::from(error).into()
    }
}
