//! How a stream between a client and a server comes about: one side opens it, the other side listens and accepts.
//!
//! Each kind of address has its own module. Beyond the stream, nothing above this module depends on the kind.

#[cfg(feature = "server")]
mod acceptors;
mod channel;
pub(crate) mod local;
#[cfg(feature = "tcp")]
#[cfg_attr(not(test), expect(dead_code, reason = "the transport that uses it follows"))]
pub(crate) mod remote;

use std::os::fd::OwnedFd;

use mp_sys::deadline::Deadline;

#[cfg(feature = "server")]
pub(crate) use self::acceptors::Acceptors;
pub(crate) use self::channel::Channel;
use crate::OsError;
use crate::address::{Address, Endpoint};

/// Why no stream to a server could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// No process listens at this address.
    NotFound,
    /// No server can have this address: it is too long, or contains a NUL.
    BadAddress,
    /// The server did not accept the connection before the deadline.
    TimedOut,
    /// The server at this address belongs to another user.
    OtherUser,
    /// The server closed the connection, because it is ending.
    Closed,
    /// This process has as many connections as a process may have.
    TooMany,
    /// The kernel refused.
    System(OsError),
}

/// Opens a socket to the server at an address, of which each forked child gets a copy. It writes without waiting. Returns `None`
/// if the server is reached over a network.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open_inherited(address: &Address, deadline: Deadline) -> Result<Option<OwnedFd>, OpenError> {
    match address.endpoint() {
        Endpoint::Local(path) => local::reach(path.as_path(), deadline).map(Some),
    }
}

/// Opens a stream to the server at an address. A forked child does not have the stream.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open(address: &Address, deadline: Deadline) -> Result<Channel, OpenError> {
    match address.endpoint() {
        Endpoint::Local(path) => local::open(path.as_path(), deadline).map(Channel::from),
    }
}
