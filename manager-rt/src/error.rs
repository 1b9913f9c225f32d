//! What can go wrong, one small enum for each family of operations.
//!
//! | enum | of |
//! |---|---|
//! | [`CallError`] | every call: the server, the connection, what the server refuses |
//! | [`ObjectError`] | every operation of an object: a call, and the values that it takes and gives |
//! | [`ItemError`] | operations on an item by its index, key or name |
//! | [`PutError`], [`GetError`] | queues |
//! | [`LockError`] | locks and conditions |
//! | [`SemaphoreError`], [`BarrierError`] | semaphores and barriers |
//! | [`TransactionError`] | several operations as one |
//!
//! Where a variant does not say otherwise, nothing has changed. What was not stored still belongs to the caller, since
//! values are lent; bytes that are no value of the expected type come with the error.

mod lock;

use std::fmt;

pub use self::lock::{LockError, LockResult};
pub use crate::backend::CallError;
pub use crate::proto::Fault;

/// What can go wrong with any operation of an object.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The call failed, or was refused.
    #[error(transparent)]
    Call(CallError),
    /// A value cannot be encoded: its own `Serialize` says no, or it needs a format that describes itself.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// What is stored is no value of the expected type. It is still there, unless the operation took it; its bytes are here.
    #[error("what is stored is no value of the expected type: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
        /// The encoded value.
        bytes: Vec<u8>,
    },
    /// The object or attribute was made with another type.
    #[error("the object was made with another type")]
    WrongType,
    /// A proxy inside of the value, or one that a batch uses, is of another manager: this one could not keep its object
    /// alive, and does not know it. It travels in messages of pipes and queues of shared memory; what this manager can keep is
    /// the other one's address, and a name.
    #[error(
        "a proxy of another manager cannot be used with this one: send it through a pipe or queue, or store that \
         manager's address and the object's name"
    )]
    OtherManager,
    /// The object changed each time while it was looked at, too often to go on.
    #[error("other processes kept changing the object during the operation")]
    Changing,
}

impl From<CallError> for ObjectError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(Fault::WrongType) => Self::WrongType,
            error => Self::Call(error),
        }
    }
}

impl fmt::Debug for ObjectError {
    /// As derived, but for the bytes, of which only the number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => f.debug_tuple("Call").field(error).finish(),
            Self::Encode(reason) => f.debug_tuple("Encode").field(reason).finish(),
            Self::Decode { reason, bytes } => {
                let bytes = format_args!("{} bytes", bytes.len()).to_string();
                f.debug_struct("Decode").field("reason", reason).field("bytes", &bytes).finish()
            }
            Self::WrongType => f.write_str("WrongType"),
            Self::OtherManager => f.write_str("OtherManager"),
            Self::Changing => f.write_str("Changing"),
        }
    }
}

/// The fault that an operation met, if the server refused it.
fn fault_of(error: &ObjectError) -> Option<Fault> {
    match error {
        ObjectError::Call(CallError::Fault(fault)) => Some(*fault),
        _ => None,
    }
}

/// Lets `?` turn a call's error into that of a family, by way of [`ObjectError`].
macro_rules! from_call {
    ($($error:ident),+) => {
        $(impl From<CallError> for $error {
            fn from(error: CallError) -> Self {
                ObjectError::from(error).into()
            }
        })+
    };
}

from_call!(ItemError, PutError, GetError, SemaphoreError, BarrierError, TransactionError);

/// Why an operation on one item was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// There is no item at this index.
    #[error("there is no item at index {index}: the length is {len}")]
    Index {
        /// The index.
        index: u64,
        /// The number of items.
        len: u64,
    },
    /// Nothing is stored under this key or name, or no item equals this one.
    #[error("there is no such item")]
    NotFound,
    /// What is stored is no number of this type.
    #[error("the stored value is not a number of this type")]
    NoNumber,
    /// As with every operation.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for ItemError {
    fn from(error: ObjectError) -> Self {
        match fault_of(&error) {
            Some(Fault::Index { index, len }) => Self::Index { index, len },
            Some(Fault::NotFound | Fault::UnknownName | Fault::Empty) => Self::NotFound,
            Some(Fault::NoNumber) => Self::NoNumber,
            _ => Self::Object(error),
        }
    }
}

/// Why an item was not put. It is not in the queue, and still the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Somebody closed the queue.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no room now (`try_` only).
    #[error("the queue is full")]
    Full,
    /// The queue had no room until the timeout.
    #[error("the queue was still full at the timeout")]
    TimedOut,
    /// As with every operation. After [`CallError::OutcomeUnknown`] the item may be in the queue.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for PutError {
    fn from(error: ObjectError) -> Self {
        match fault_of(&error) {
            Some(Fault::Closed) => Self::Closed,
            Some(Fault::Full) => Self::Full,
            Some(Fault::TimedOut) => Self::TimedOut,
            _ => Self::Object(error),
        }
    }
}

/// Why there is no item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Somebody closed the queue, and all its items were taken.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no item now (`try_` only).
    #[error("the queue is empty")]
    Empty,
    /// The queue had no item until the timeout.
    #[error("the queue was still empty at the timeout")]
    TimedOut,
    /// As with every operation. [`ObjectError::Decode`] has the bytes of the item, which was taken out of the queue.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for GetError {
    fn from(error: ObjectError) -> Self {
        match fault_of(&error) {
            Some(Fault::Closed) => Self::Closed,
            Some(Fault::Empty) => Self::Empty,
            Some(Fault::TimedOut) => Self::TimedOut,
            _ => Self::Object(error),
        }
    }
}

/// What can go wrong with a semaphore. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// There is no free permit (`try_acquire` only).
    #[error("no permit is free")]
    WouldBlock,
    /// There was no free permit until the timeout.
    #[error("no permit was free until the timeout")]
    TimedOut,
    /// More permits were given back to a bounded semaphore than were taken.
    #[error("more permits were given back than were taken")]
    OverRelease,
    /// As with every operation; [`Fault::OutOfRange`] for more permits than there may be.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for SemaphoreError {
    fn from(error: ObjectError) -> Self {
        match fault_of(&error) {
            Some(Fault::WouldBlock) => Self::WouldBlock,
            Some(Fault::TimedOut) => Self::TimedOut,
            Some(Fault::OverReleased) => Self::OverRelease,
            _ => Self::Object(error),
        }
    }
}

/// What can go wrong at a barrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died or timed out, its action failed, or somebody called `abort` or `reset`.
    #[error("the barrier is broken")]
    Broken,
    /// The others did not come before the timeout. The barrier is broken now, unless the caller came while an action ran.
    #[error("the other parties did not come before the timeout: the barrier is broken")]
    TimedOut,
    /// As with every operation; [`Fault::OutOfRange`] for a number of parties that no barrier has.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for BarrierError {
    fn from(error: ObjectError) -> Self {
        match fault_of(&error) {
            Some(Fault::Broken) => Self::Broken,
            Some(Fault::TimedOut) => Self::TimedOut,
            _ => Self::Object(error),
        }
    }
}

/// Why several operations were not done as one: none of them was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The server refused one of them, for this reason.
    #[error("an operation of the transaction was refused: {0}")]
    Refused(Fault),
    /// As with every operation. After [`CallError::OutcomeUnknown`] all of them may be done; after
    /// [`ObjectError::Decode`] they are.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for TransactionError {
    fn from(error: ObjectError) -> Self {
        fault_of(&error).map_or(Self::Object(error), Self::Refused)
    }
}
