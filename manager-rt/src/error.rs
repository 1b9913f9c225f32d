//! The errors: one small enum for each family of operations.
//!
//! | enum | belongs to |
//! |---|---|
//! | [`CallError`] | every call: the server, the connection, refusals by the server |
//! | [`ObjectError`] | every operation of an object: the call, and the values that it takes and returns |
//! | [`ItemError`] | operations on one item by its index, key or name |
//! | [`PutError`], [`GetError`] | queues |
//! | [`LockError`] | locks and conditions |
//! | [`SemaphoreError`], [`BarrierError`] | semaphores and barriers |
//! | [`TransactionError`] | several operations run as one |
//!
//! Unless a variant says otherwise, a failed operation has changed nothing. Values are passed by reference, so a value
//! that was not stored still belongs to the caller. If stored bytes cannot be decoded as the expected type, the error
//! carries them.

mod lock;

use std::fmt;

pub use self::lock::{LockError, LockResult};
pub use crate::backend::CallError;
pub use crate::proto::Fault;

/// The error of any operation of an object.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The call failed or was refused.
    #[error(transparent)]
    Call(CallError),
    /// A value cannot be encoded: its `Serialize` returned an error, or it needs a self-describing format.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The stored bytes are not a value of the expected type. They are still stored, unless the operation took them; a
    /// copy is here.
    #[error("the stored bytes are not a value of the expected type: {reason}")]
    Decode {
        /// The decoder's reason.
        reason: String,
        /// The encoded value.
        bytes: Vec<u8>,
    },
    /// The object or attribute was made with another type.
    #[error("the object was made with another type")]
    WrongType,
    /// A proxy inside the value, or one that a batch uses, belongs to another manager. This manager does not know its
    /// object, and could not keep it alive. Such a proxy can travel through pipes and queues of shared memory. To refer
    /// to the object from this manager, store the other manager's address and the object's name.
    #[error(
        "a proxy of another manager cannot be used with this one: send it through a pipe or queue, or store that \
         manager's address and the object's name"
    )]
    OtherManager,
    /// The object kept changing while the operation read it, so the operation gave up.
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
    /// Like the derived implementation, but shows only the number of bytes.
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

/// Returns the fault, if the server refused the operation.
fn fault_of(error: &ObjectError) -> Option<Fault> {
    match error {
        ObjectError::Call(CallError::Fault(fault)) => Some(*fault),
        _ => None,
    }
}

/// Lets `?` turn the error of a call into that of a family, by way of [`ObjectError`].
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

/// Why an operation on one item failed.
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
    /// Nothing is stored under this key or name, or no item equals this value.
    #[error("there is no such item")]
    NotFound,
    /// The stored value is not a number of this type.
    #[error("the stored value is not a number of this type")]
    NoNumber,
    /// Any other error of an operation.
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

/// Why an item was not put. It is not in the queue, and still belongs to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no room now (`try_` methods only).
    #[error("the queue is full")]
    Full,
    /// The queue had no room before the timeout.
    #[error("the queue was still full at the timeout")]
    TimedOut,
    /// Any other error of an operation. After [`CallError::OutcomeUnknown`], the item may be in the queue.
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

/// Why no item was returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue was closed, and all its items were taken.
    #[error("the queue is closed")]
    Closed,
    /// The queue has no item now (`try_` methods only).
    #[error("the queue is empty")]
    Empty,
    /// The queue had no item before the timeout.
    #[error("the queue was still empty at the timeout")]
    TimedOut,
    /// Any other error of an operation. [`ObjectError::Decode`] carries the bytes of the item, which is no longer in
    /// the queue.
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

/// Why an operation of a semaphore failed. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// No permit is free (`try_acquire` only).
    #[error("no permit is free")]
    WouldBlock,
    /// No permit was free before the timeout.
    #[error("no permit was free until the timeout")]
    TimedOut,
    /// More permits were added to a bounded semaphore than were taken.
    #[error("more permits were returned than were taken")]
    OverRelease,
    /// Any other error of an operation; [`Fault::OutOfRange`] for more permits than the limit.
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

/// Why an operation of a barrier failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A party died or timed out, its action failed, or `abort` or `reset` was called.
    #[error("the barrier is broken")]
    Broken,
    /// The other parties did not arrive before the timeout. The barrier is now broken, unless the caller arrived while
    /// an action ran.
    #[error("the other parties did not come before the timeout: the barrier is broken")]
    TimedOut,
    /// Any other error of an operation; [`Fault::OutOfRange`] for a number of parties outside the limits.
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

/// Why a transaction failed: none of its operations was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The server refused one of the operations, for this reason.
    #[error("an operation of the transaction was refused: {0}")]
    Refused(Fault),
    /// Any other error of an operation. After [`CallError::OutcomeUnknown`], all operations may have been done. After
    /// [`ObjectError::Decode`], all were done.
    #[error(transparent)]
    Object(ObjectError),
}

impl From<ObjectError> for TransactionError {
    fn from(error: ObjectError) -> Self {
        fault_of(&error).map_or(Self::Object(error), Self::Refused)
    }
}
