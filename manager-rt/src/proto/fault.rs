//! [`Fault`]: why an operation was not done; [`Disinherited`]: why an inherited object is gone.

use crate::account::Full;
use crate::count::count_of;
#[cfg(feature = "server")]
use crate::proto::Travels;
use crate::proto::version::NEWEST;
use crate::proto::{Kind, Room, Table};

/// Why an operation was not done. Unless a variant says otherwise, the object is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The object does not exist: it was removed, or its last reference was released.
    #[error("the object no longer exists")]
    UnknownObject,
    /// The object is of another kind.
    #[error("the object is a {found}")]
    WrongKind {
        /// The object's kind.
        found: Kind,
    },
    /// The object or attribute has another type.
    #[error("the object has another type")]
    WrongType,
    /// No object has this name.
    #[error("no object has this name")]
    UnknownName,
    /// The name is empty or too long.
    #[error("a name must have 1 to {limit} bytes")]
    BadName {
        /// The longest name, in bytes.
        limit: u64,
    },
    /// There is no item at this index.
    #[error("there is no item at index {index}: the length is {len}")]
    Index {
        /// The index.
        index: u64,
        /// The number of items.
        len: u64,
    },
    /// No item equals this value, or no attribute has this name.
    #[error("there is no such item")]
    NotFound,
    /// The key to claim already has a value.
    #[error("the key already has a value")]
    Exists,
    /// The object changed since the caller read it.
    #[error("the object changed during the operation")]
    Changed,
    /// The stored value is not a number of this type.
    #[error("the stored value is not a number of this type")]
    NoNumber,
    /// There is nothing to take now.
    #[error("the list or queue is empty")]
    Empty,
    /// There is no room now.
    #[error("the queue is full")]
    Full,
    /// The lock or permit is not free now.
    #[error("another holder has the lock or permit")]
    WouldBlock,
    /// The awaited event did not happen before the timeout.
    #[error("the call timed out")]
    TimedOut,
    /// The caller cancelled the wait.
    #[error("the wait was cancelled")]
    Cancelled,
    /// The calling thread already holds this lock, so waiting would never end.
    #[error("the calling thread already holds this lock")]
    Deadlock,
    /// The caller does not hold it, or its lease has ended.
    #[error("the caller does not hold this lock, permit or task")]
    NotOwned,
    /// More permits were returned than were taken.
    #[error("more permits were returned than were taken")]
    OverReleased,
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
    /// The barrier is broken.
    #[error("the barrier is broken")]
    Broken,
    /// The number of items, permits or parties is outside the allowed range.
    #[error("the number is not between {least} and {most}")]
    OutOfRange {
        /// The least allowed number.
        least: u64,
        /// The greatest allowed number.
        most: u64,
    },
    /// A value or an answer is longer than a frame may be.
    #[error("the value is longer than {limit} bytes")]
    TooLarge {
        /// The longest value, in bytes.
        limit: u64,
    },
    /// The manager has reached a limit of its memory. Servers of versions 3 and 4 of the protocol say no more; others
    /// return [`NoRoom`](Self::NoRoom).
    #[error("the manager has reached its memory limit")]
    NoSpace,
    /// The caller has too many of something at the same time.
    #[error("the operation is limited to {limit}")]
    TooMany {
        /// The greatest allowed number.
        limit: u64,
    },
    /// A transaction may contain only operations that do not wait.
    #[error("this operation cannot be part of a transaction")]
    NotInTransaction,
    /// The caller has the wrong key, or is not allowed to do this.
    #[error("the server refused this client")]
    Unauthorised,
    /// The frame does not contain a valid operation.
    #[error("the operation is malformed")]
    Malformed,
    /// This engine does not support the operation.
    #[error("this backend does not support the operation")]
    Unsupported,
    /// The operation, or the transaction as a whole, would keep all other clients waiting for too long.
    #[error("the operation is too much work for one step: the limit is {limit} units of about 10 ns")]
    TooMuchWork {
        /// The limit, in units of about 10 ns.
        limit: u64,
    },
    /// The server is too old for this operation, or for something in it.
    #[error(
        "the server does not know number {number} of {table}: it knows versions of the protocol up to {version}, and this \
         build up to {NEWEST}"
    )]
    UnknownOperation {
        /// The table in which the server looked.
        table: Table,
        /// The number that is not in it.
        number: u32,
        /// The newest version that the server knows.
        version: u16,
    },
    /// The manager has reached a limit of its memory.
    #[error("{room} is full: {asked} bytes were asked for, and the limit is {limit} bytes")]
    NoRoom {
        /// What is full.
        room: Room,
        /// Its limit, in bytes.
        limit: u64,
        /// How many bytes the operation needed in addition to what was taken.
        asked: u64,
    },
    /// A snapshot was not saved. The file is complete: usually the previous one, or the new one if only the last step failed, which is to
    /// write the folder through to the disk (`EIO`), or if the process that wrote it was killed in that step.
    #[error("the snapshot was not saved: {}", not_saved(*.errno))]
    NotSaved {
        /// The error of the server's system, as in errno(3). A negative number is that of the signal that killed the process which
        /// wrote the snapshot, as in Python's exit codes: -9 for SIGKILL. 0 means that this process ended for an unknown
        /// reason, such as a panic.
        errno: i32,
    },
    /// The server is ending, and saves its objects meanwhile. Whoever connects is refused.
    #[error("it is ending, and saves its objects")]
    Ending,
}

/// Describes why a snapshot was not written.
fn not_saved(errno: i32) -> String {
    match errno {
        0 => "the process that wrote it ended early".to_owned(),
        ..0 => format!("the process that wrote it was killed by signal {}", errno.unsigned_abs()),
        _ => std::io::Error::from_raw_os_error(errno).to_string(),
    }
}

impl Fault {
    /// Returns `true` if the operation was not done because the manager has reached a limit of its memory:
    /// [`NoRoom`](Self::NoRoom), or [`NoSpace`](Self::NoSpace) from an older server.
    #[must_use]
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace | Self::NoRoom { .. })
    }

    /// Returns what is full.
    #[cfg(test)]
    pub(crate) const fn full(&self) -> Option<Room> {
        match self {
            Self::NoRoom { room, .. } => Some(*room),
            _ => None,
        }
    }

    /// Returns the fault, or the nearest one that a client of this version of the protocol knows.
    #[cfg(feature = "server")]
    pub(crate) fn known_to(self, version: u16) -> Self {
        match self {
            fault if fault.since() <= version => fault,
            Self::UnknownOperation { .. } => Self::Malformed,
            Self::NoRoom { .. } => Self::NoSpace,
            _ => Self::Unsupported,
        }
    }
}

/// Why a forked child has lost an object that it inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disinherited {
    /// The manager refused to keep what the parent had: [`Fault::NoSpace`], or [`Fault::TooMany`] if too many processes have
    /// forked.
    #[error("the manager refused to keep it for the child: {0}")]
    Refused(Fault),
    /// The parent could not ask the manager to keep what it had: there was no time, no descriptor, or no connection, or
    /// the server is of version 3 of the protocol.
    #[error("the parent could not have the manager keep it for the child")]
    NotAsked,
    /// The manager's server ended what kept it, and did not say why: it had no memory to answer, or too many processes of
    /// this user were connecting, or the parent's request did not reach it in time.
    #[error("the manager did not keep it for the child, and did not say why")]
    Closed,
}

impl From<Full> for Fault {
    fn from(Full { room, limit, asked }: Full) -> Self {
        Self::NoRoom { room, limit: count_of(limit), asked: count_of(asked) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_manager_says_what_is_full_and_an_older_client_hears_the_older_fault() {
        let full = Fault::from(Full { room: Room::Client, limit: 8, asked: 5 });
        assert_eq!(full, Fault::NoRoom { room: Room::Client, limit: 8, asked: 5 });
        assert_eq!(
            full.to_string(),
            "the share of this client is full: 5 bytes were asked for, and the limit is 8 bytes"
        );
        assert_eq!([5, 4, 3].map(|version| full.known_to(version)), [full, Fault::NoSpace, Fault::NoSpace]);
        assert!(full.is_no_space() && Fault::NoSpace.is_no_space() && !Fault::Full.is_no_space());
    }
}
