//! How a stream between a client and a server comes about: one side opens it, the other side listens and accepts.
//!
//! Each kind of address has its own module. Beyond the stream, nothing above this module depends on the kind.

#[cfg(feature = "server")]
mod acceptors;
mod channel;
pub(crate) mod local;
#[cfg(feature = "tcp")]
pub(crate) mod remote;

use std::os::fd::OwnedFd;

use mp_sys::deadline::Deadline;
#[cfg(feature = "tcp")]
use mp_sys::key::Key;

#[cfg(feature = "server")]
pub(crate) use self::acceptors::{Acceptors, Listening};
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
    /// No host has this name.
    #[cfg(feature = "tcp")]
    UnknownHost,
    /// The other side did not prove that it has the key.
    #[cfg(feature = "tcp")]
    Rejected,
    /// The key is too short for a connection between hosts.
    #[cfg(feature = "tcp")]
    KeyTooShort {
        /// The length of the key, in bytes.
        bytes: usize,
    },
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
        #[cfg(feature = "tcp")]
        Endpoint::Tcp(_) => Ok(None),
        #[cfg(feature = "redis")]
        Endpoint::Redis(_) => Ok(None),
        #[cfg(feature = "rabbitmq")]
        Endpoint::RabbitMq(_) => Ok(None),
        #[cfg(all(feature = "redis", feature = "rabbitmq"))]
        Endpoint::Mixed(_) => Ok(None),
    }
}

/// Opens a stream to the server at an address. A forked child does not have the stream. Between hosts, both sides have
/// proved that they have the key.
///
/// # Errors
/// [`OpenError`].
#[cfg_attr(not(feature = "tcp"), expect(unused_variables, reason = "a local socket needs no key"))]
pub(crate) fn open(address: &Address, key: &[u8], deadline: Deadline) -> Result<Channel, OpenError> {
    match address.endpoint() {
        Endpoint::Local(path) => local::open(path.as_path(), deadline).map(Channel::from),
        #[cfg(feature = "tcp")]
        Endpoint::Tcp(at) => {
            let key = remote::SharedKey::of(&Key::from(key))
                .map_err(|remote::TooShort { bytes }| OpenError::KeyTooShort { bytes })?;
            remote::tcp::open(at, &key, deadline)
        }
        // Its engine makes its own connections.
        #[cfg(feature = "redis")]
        Endpoint::Redis(_) => Err(OpenError::BadAddress),
        #[cfg(feature = "rabbitmq")]
        Endpoint::RabbitMq(_) => Err(OpenError::BadAddress),
        #[cfg(all(feature = "redis", feature = "rabbitmq"))]
        Endpoint::Mixed(_) => Err(OpenError::BadAddress),
    }
}
