//! Errors of queues.

use std::fmt;

#[cfg(feature = "tokio")]
use mp_sys::asynchronous::RuntimeError;
use mp_sys::memory::MemoryError;
use mp_sys::robust::AcquireError;

use crate::limits::{CAPACITY_MAX, TASKS_MAX};
use crate::queue::refused::Refused;
use crate::queue::ring::Corrupt;

pub use mp_sys::robust::AcquireError as LockRefused;

/// The reason why a queue was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The queue would have no room. `new` makes one without a limit.
    #[error("a queue must have room for at least one item")]
    NoCapacity,
    /// The capacity is larger than [`CAPACITY_MAX`], the most items that a queue can count.
    #[error("a queue can hold at most {CAPACITY_MAX} items")]
    CapacityTooLarge,
    /// There is no memory, no address space or no descriptor for the queue.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The maximum number of deliveries was set to 0, but a task is handed out at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the maximum number of deliveries of a task must be at least 1")]
pub struct NoDeliveries;

/// The reason why an item was not put. The queue is unchanged, and the item still belongs to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no room now (`try_put` only).
    #[error("the queue is full")]
    Full,
    /// The queue was still full at the timeout.
    #[error("the queue was still full at the timeout")]
    TimedOut,
    /// The encoded item is longer than an item may be, or than all items of this queue together may be.
    #[error("an item of {found} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Bytes of the encoded item.
        found: usize,
        /// [`ITEM_BYTES_MAX`](crate::limits::ITEM_BYTES_MAX), or the queue's own limit.
        limit: usize,
    },
    /// The value cannot be encoded: its own `Serialize` returns an error, or it holds a descriptor or a shared object,
    /// which can only travel through a pipe.
    #[error("the item cannot be encoded: {0}")]
    Encode(String),
    /// The queue cannot grow, since there is no shared memory.
    #[error(transparent)]
    Memory(MemoryError),
    /// The queue's lock is not available: a process was stopped while it holds the lock, or the calling thread holds too
    /// many locks.
    #[error("the queue's lock is not available: {0}")]
    Lock(LockRefused),
    /// The queue's memory contains values that no queue writes, so something else overwrote it.
    #[error("the queue's memory was overwritten: {0}")]
    Corrupt(&'static str),
    /// The task cannot wait (`put_async` only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(RuntimeError),
}

/// The reason why no item was got.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is closed, and all its items were taken.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no item now (`try_get` only).
    #[error("the queue is empty")]
    Empty,
    /// The queue was still empty at the timeout.
    #[error("the queue was still empty at the timeout")]
    TimedOut,
    /// The item is longer than the caller's buffer. It is still in the queue.
    #[error("an item of {found} bytes does not fit into a buffer of {limit} bytes")]
    TooLarge {
        /// Bytes of the item.
        found: usize,
        /// Bytes of the buffer.
        limit: usize,
    },
    /// The item is not a value of the expected type. It was removed from the queue; this error carries its bytes. The next
    /// item can be got.
    #[error("the item is not a value of the expected type: {reason}")]
    Decode {
        /// The decoder's own message.
        reason: String,
        /// The bytes of the item.
        bytes: Vec<u8>,
    },
    /// The maximum of tasks of this size is handed out or has failed. The task is still in the queue.
    #[error("{TASKS_MAX} tasks of this size, or 4 GiB of them, are handed out or have failed")]
    TooManyTasks,
    /// There is no memory for the item. It is still in the queue.
    #[error(transparent)]
    Memory(MemoryError),
    /// The queue's lock is not available: a process was stopped while it holds the lock, or the calling thread holds too
    /// many locks.
    #[error("the queue's lock is not available: {0}")]
    Lock(LockRefused),
    /// The queue's memory contains values that no queue writes, so something else overwrote it.
    #[error("the queue's memory was overwritten: {0}")]
    Corrupt(&'static str),
    /// The task cannot wait (`get_async` and its like only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(RuntimeError),
}

impl fmt::Debug for GetError {
    /// Shows what a derived `Debug` would, but only the number of the bytes.
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
            #[cfg(feature = "tokio")]
            Self::Runtime(error) => f.debug_tuple("Runtime").field(error).finish(),
        }
    }
}

/// The reason why only some of several items were put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{put} items were put, then: {error}")]
pub struct PutManyError {
    /// The number of items that are in the queue: the first ones, in order.
    pub put: usize,
    /// The error of the next item.
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
            // Only getting needs cells, so this cannot happen.
            Refused::TooManyTasks => Self::Corrupt("a put found no free cell"),
            Refused::Memory(error) => Self::Memory(error),
            Refused::Lock(error) => Self::Lock(error),
            Refused::Corrupt(Corrupt(what)) => Self::Corrupt(what),
            #[cfg(feature = "tokio")]
            Refused::Runtime(error) => Self::Runtime(error),
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
            #[cfg(feature = "tokio")]
            Refused::Runtime(error) => Self::Runtime(error),
        }
    }
}

impl From<AcquireError> for PutError {
    fn from(error: AcquireError) -> Self {
        Refused::from(error).into()
    }
}
