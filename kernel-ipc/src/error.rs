//! Errors: one small enum for each family of operations.
//!
//! | enum | operations |
//! |---|---|
//! | [`SendError`] | sending on a pipe or a connection |
//! | [`RecvError`] | receiving from a pipe or a connection |
//! | [`ListenError`], [`AcceptError`], [`ConnectError`] | connections by name |
//! | [`NoPipe`] | making an end of a pipe from a descriptor |
//!
//! Values are sent by reference, so a value that was not sent still belongs to the caller. Bytes that are not a value of
//! the expected type come with the error.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

pub use mp_sys::OsError;
#[cfg(feature = "tokio")]
pub use mp_sys::asynchronous::RuntimeError;
pub use mp_sys::memory::MemoryError;

use crate::limits::{ADDRESS_BYTES_MAX, DESCRIPTORS_MAX, MESSAGE_BYTES_MAX};

/// The reason why a message was not sent. Nothing of it is in the pipe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No process can receive any more: all copies of the other end are closed, or one of them called `shutdown`.
    #[error("the other end is closed")]
    Closed,
    /// The pipe has no room now (`try_send` only).
    #[error("the pipe is full")]
    Full,
    /// The pipe was still full at the timeout.
    #[error("the pipe was still full at the timeout")]
    TimedOut,
    /// The encoded message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {found} bytes is over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the encoded message.
        found: usize,
    },
    /// The value cannot be encoded: its own `Serialize` returns an error, or it needs a self-describing format.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The value holds more descriptors and shared objects than one message can carry.
    #[error("a message can carry at most {DESCRIPTORS_MAX} descriptors")]
    TooManyDescriptors,
    /// This user already has as many descriptors in unread messages as the limit of open files allows. Sending works again
    /// once some of them are received.
    #[error("this user has too many descriptors in unread messages")]
    DescriptorsInFlight,
    /// The message is too long for one packet, and there is no shared memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel refused for another reason.
    #[error("the kernel refuses to send: {0}")]
    System(#[source] OsError),
    /// The task cannot wait (`send_async` and its like only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// The reason why no message was received.
#[doc(alias = "EOFError")]
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// All messages were received, and no process can send any more: all copies of the other end are closed, or one of
    /// them called `shutdown`.
    #[error("the other end is closed")]
    Closed,
    /// There is no message now (`try_recv` only).
    #[error("there is no message")]
    Empty,
    /// No message arrived before the timeout.
    #[error("no message arrived before the timeout")]
    TimedOut,
    /// The message is longer than [`MESSAGE_BYTES_MAX`]. It was removed from the pipe, and no memory was allocated for it.
    #[error("a message of {found} bytes is over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the message.
        found: u64,
    },
    /// The message is longer than the caller's buffer. It was removed from the pipe; this error carries its bytes.
    #[error("a message of {} bytes is longer than the buffer", bytes.len())]
    BufferTooShort {
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// The message is not a value of the expected type. It was removed from the pipe; this error carries its bytes. The
    /// next message can be received.
    #[error("the message is not a value of the expected type: {reason}")]
    Decode {
        /// The decoder's own message.
        reason: String,
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// The message has another type than this end expects. It was removed from the pipe; this error carries its bytes.
    #[error("this end receives {expected}, and the message is {found}")]
    WrongType {
        /// What this end receives: the name of the type and its fingerprint, or plain bytes.
        expected: String,
        /// What the message is: a type, of which this process knows only the fingerprint, or plain bytes.
        found: String,
        /// The bytes of the message.
        bytes: Vec<u8>,
    },
    /// The packet is not a message of this library. It was removed from the pipe.
    #[error("a packet arrived that is not a message of this library: {0}")]
    Malformed(&'static str),
    /// This process has no free descriptors for those in the message. The message is lost.
    #[error("no free descriptors for those in the message; the message is lost")]
    OutOfDescriptors,
    /// There is no memory for the message. The message is lost.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel refused for another reason.
    #[error("the kernel refuses to receive: {0}")]
    System(#[source] OsError),
    /// The task cannot wait (`recv_async` and its like only).
    #[cfg(feature = "tokio")]
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// The reason why a listener was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name is empty, is longer than [`ADDRESS_BYTES_MAX`] bytes, or contains a NUL.
    #[error("a listener's name must have 1 to {ADDRESS_BYTES_MAX} bytes and no NUL")]
    BadName,
    /// Another listener already has this name.
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

/// The reason why no connection was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// No peer has connected (`try_accept` only).
    #[error("no peer has connected")]
    Empty,
    /// No peer connected before the timeout.
    #[error("no peer connected before the timeout")]
    TimedOut,
    /// The kernel refused; `EMFILE` if there is no free descriptor.
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

/// The reason why a listener could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name is not valid, as for [`ListenError::BadName`].
    #[error("a listener's name must have 1 to {ADDRESS_BYTES_MAX} bytes and no NUL")]
    BadName,
    /// No process listens under this name.
    #[error("no process listens under this name")]
    NotFound,
    /// The listener did not accept the connection before the timeout.
    #[error("the listener did not accept the connection before the timeout")]
    TimedOut,
    /// The two sides have different keys, or only one of them has a key.
    #[error("the listener has a different key")]
    Unauthorised,
    /// The listener sends or receives values of other types. It does not say which.
    #[error("the listener {name:?} does not receive {sends} and send {receives}, as this side expects")]
    WrongType {
        /// The listener's name.
        name: String,
        /// The type that this side sends: its name and its fingerprint.
        sends: String,
        /// The type that this side receives: its name and its fingerprint.
        receives: String,
    },
    /// A process of another user listens under this name.
    #[error("a process of another user listens under this name")]
    OtherUser,
    /// The listener closed the connection: it ended, or it gave up this handshake.
    #[error("the listener closed the connection")]
    Closed,
    /// The process that has this name is not a listener of this library.
    #[error("the process that has this name is not a listener of this library")]
    Malformed,
    /// The kernel refused; `EMFILE` if there is no free descriptor.
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
        // The other side closed the stream during the handshake.
        if error.raw_os_error() == EPIPE { Self::Closed } else { Self::System(error) }
    }
}

/// `EPIPE`, the same on every architecture of Linux.
const EPIPE: i32 = 32;

/// A descriptor that is not an end of a pipe.
#[derive(Debug, thiserror::Error)]
#[error("the descriptor is not an end of a pipe")]
pub struct NoPipe {
    /// The descriptor.
    pub descriptor: OwnedFd,
}

impl fmt::Debug for RecvError {
    /// Shows what a derived `Debug` would, but only the number of the bytes.
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
            #[cfg(feature = "tokio")]
            Self::Runtime(error) => f.debug_tuple("Runtime").field(error).finish(),
        }
    }
}
