//! What can go wrong, one small enum for each family of operations.
//!
//! | enum | of |
//! |---|---|
//! | [`SendError`] | sending on a pipe or a connection |
//! | [`RecvError`] | receiving from one |
//! | [`ListenError`], [`AcceptError`], [`ConnectError`] | connections by name |
//! | [`NoPipe`] | taking a descriptor for an end of a pipe |
//!
//! What was not sent still belongs to the caller, since values are sent by reference. Bytes that are no value of the
//! expected type come with the error.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

pub use mp_sys::OsError;
pub use mp_sys::memory::MemoryError;

use crate::limits::{ADDRESS_BYTES_MAX, DESCRIPTORS_MAX, MESSAGE_BYTES_MAX};

/// Why a message was not sent. Nothing of it is in the pipe then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody can receive any more: all copies of the other end are closed, or one of them called `shutdown`.
    #[error("the other end is closed")]
    Closed,
    /// The pipe has no room now (`try_send` only).
    #[error("the pipe is full")]
    Full,
    /// The pipe had no room until the timeout.
    #[error("the pipe was still full at the timeout")]
    TimedOut,
    /// The encoded message is longer than a message may be.
    #[error("a message of {found} bytes is over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the encoded message.
        found: usize,
    },
    /// The value cannot be encoded: its own `Serialize` says no, or it needs a format that describes itself.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The value holds more descriptors and shared objects than one message carries.
    #[error("a message can carry at most {DESCRIPTORS_MAX} descriptors")]
    TooManyDescriptors,
    /// This user has as many descriptors under way in sockets as the limit of open files allows; they are free again
    /// when somebody receives them.
    #[error("this user has too many descriptors in unread messages")]
    DescriptorsInFlight,
    /// There is no shared memory for a message that is too long for one packet.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel refused for another reason.
    #[error("the kernel refuses to send: {0}")]
    System(#[source] OsError),
}

/// Why there is no message.
#[doc(alias = "EOFError")]
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// All messages were received, and nobody can send any more: all copies of the other end are closed, or one of them
    /// called `shutdown`.
    #[error("the other end is closed")]
    Closed,
    /// There is no message now (`try_recv` only).
    #[error("there is no message")]
    Empty,
    /// There was no message until the timeout.
    #[error("no message arrived before the timeout")]
    TimedOut,
    /// The message is longer than a message may be. It was taken out of the pipe, and no memory was taken for it.
    #[error("a message of {found} bytes is over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the message.
        found: u64,
    },
    /// The message is longer than the buffer that it was to be put in. It was taken out of the pipe, and its bytes are
    /// here.
    #[error("a message of {} bytes is longer than the buffer", bytes.len())]
    BufferTooShort {
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// The message is no value of the expected type. It was taken out of the pipe, and its bytes are here; the next
    /// message can be received.
    #[error("the message is no value of the expected type: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// The message is of another type than this end expects. It was taken out of the pipe, and its bytes are here.
    #[error("this end receives {expected}, and the message is {found}")]
    WrongType {
        /// What this end receives: the name of the type and its fingerprint, or plain bytes.
        expected: String,
        /// What the message is: a type, of which only the fingerprint is known here, or plain bytes.
        found: String,
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// What arrived is no message of this library. It was taken out of the pipe.
    #[error("a packet arrived that is not a message of this library: {0}")]
    Malformed(&'static str),
    /// This process has no free descriptors for those in the message, which is lost.
    #[error("no free file descriptor to receive those in the message, which is lost")]
    OutOfDescriptors,
    /// There is no memory for the message, which is lost.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel refused for another reason.
    #[error("the kernel refuses to receive: {0}")]
    System(#[source] OsError),
}

/// Why nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name is empty, longer than [`ADDRESS_BYTES_MAX`] bytes, or has a NUL in it.
    #[error("a listener's name must have 1 to {ADDRESS_BYTES_MAX} bytes and no NUL")]
    BadName,
    /// Somebody listens under this name.
    #[error("another process already listens under this name")]
    Exists,
    /// The kernel refused for another reason.
    #[error("the kernel refuses to listen: {0}")]
    System(#[source] OsError),
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::AddrInUse { Self::Exists } else { Self::System(error.into()) }
    }
}

/// Why there is no connection yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody has connected (`try_accept` only).
    #[error("nobody has connected")]
    Empty,
    /// Nobody had connected until the timeout.
    #[error("nobody connected before the timeout")]
    TimedOut,
    /// The kernel refused; `EMFILE` for want of a free descriptor.
    #[error("the kernel refuses to accept: {0}")]
    System(#[source] OsError),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

impl From<OsError> for AcceptError {
    fn from(error: OsError) -> Self {
        Self::System(error)
    }
}

/// Why there is no connection to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// As [`ListenError::BadName`].
    #[error("a listener's name must have 1 to {ADDRESS_BYTES_MAX} bytes and no NUL")]
    BadName,
    /// Nobody listens under this name.
    #[error("nobody listens under this name")]
    NotFound,
    /// The listener did not accept until the timeout.
    #[error("the listener did not accept until the timeout")]
    TimedOut,
    /// The listener has another key, or one where this side has none.
    #[error("the listener has another key")]
    Unauthorised,
    /// The listener sends or receives other types.
    #[error("the listener sends or receives other types")]
    WrongType,
    /// A process of another user has this name.
    #[error("a process of another user has this name")]
    OtherUser,
    /// The listener went away, or gave this handshake up.
    #[error("the listener closed the connection")]
    Closed,
    /// Whoever has the name is no listener of this library.
    #[error("whoever has this name is no listener of this library")]
    Malformed,
    /// The kernel refused; `EMFILE` for want of a free descriptor.
    #[error("the kernel refuses to connect: {0}")]
    System(#[source] OsError),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::System(error.into()),
        }
    }
}

impl From<OsError> for ConnectError {
    fn from(error: OsError) -> Self {
        // The other side closed while we were speaking.
        if error.raw_os_error() == EPIPE { Self::Closed } else { Self::System(error) }
    }
}

/// `EPIPE`, the same on every architecture of Linux.
const EPIPE: i32 = 32;

/// A descriptor that is no end of a pipe.
#[derive(Debug, thiserror::Error)]
#[error("the descriptor is not an end of a pipe")]
pub struct NoPipe {
    /// The descriptor.
    pub descriptor: OwnedFd,
}

impl fmt::Debug for RecvError {
    /// As derived, but for the bytes, of which only the number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |bytes: &Vec<u8>| format!("{} bytes", bytes.len());
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Empty => f.write_str("Empty"),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::TooLarge { found } => f.debug_struct("TooLarge").field("found", found).finish(),
            Self::Decode { reason, bytes } => {
                f.debug_struct("Decode").field("reason", reason).field("bytes", &length(bytes)).finish()
            }
            Self::BufferTooShort { bytes } => {
                f.debug_struct("BufferTooShort").field("bytes", &length(bytes)).finish()
            }
            Self::WrongType { expected, found, bytes } => f
                .debug_struct("WrongType")
                .field("expected", expected)
                .field("found", found)
                .field("bytes", &length(bytes))
                .finish(),
            Self::Malformed(what) => f.debug_tuple("Malformed").field(what).finish(),
            Self::OutOfDescriptors => f.write_str("OutOfDescriptors"),
            Self::Memory(error) => f.debug_tuple("Memory").field(error).finish(),
            Self::System(error) => f.debug_tuple("System").field(error).finish(),
        }
    }
}
