//! TCP sockets: connecting to a host by name, and listening.

#[cfg(feature = "server")]
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "server")]
use std::net::TcpListener;
use std::os::fd::AsFd;
#[cfg(feature = "server")]
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
#[cfg(feature = "server")]
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::descriptors::tcp_socket;
#[cfg(feature = "server")]
use mp_sys::descriptors::{above_standard, beside_standard};
use mp_sys::stream::{AskFailure, BeforeOpening, Interest, NotTaken, Stream, set_up_remote};
use rustix::io::Errno;
use rustix::net::{getpeername, getsockname, sockopt};

#[cfg(feature = "server")]
use super::Scratch;
use super::names::addresses_of;
use super::{Remote, SharedKey};
#[cfg(feature = "server")]
use crate::OsError;
use crate::address::HostPort;
#[cfg(feature = "server")]
use crate::limits::{ACCEPTS_AT_ONCE, LOST_AFTER_DEFAULT};
use crate::transport::{Channel, OpenError};

/// Opens a stream to the server at a host and port, both of whose sides have proved that they have the key. Of several addresses
/// of the host, it takes the first one that accepts the connection.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open(at: &HostPort, key: &SharedKey, deadline: Deadline) -> Result<Channel, OpenError> {
    let addresses = addresses_of(at, deadline)?;
    let mut outcome = Err(OpenError::UnknownHost);
    for (tried, address) in addresses.iter().enumerate() {
        // An address that does not answer leaves time for the others.
        let left = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(u32::MAX).max(1);
        let share = if deadline.is_never() {
            deadline
        } else {
            Deadline::after(deadline.remaining().checked_div(left).unwrap_or_default())
        };
        outcome = connect(address, at.lost_after(), share);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    let remote = Remote::connected(&stream, key, deadline)?;
    Ok(Channel::between_hosts(stream, remote))
}

/// Connects to one address.
fn connect(address: &SocketAddr, lost_after: Duration, deadline: Deadline) -> Result<Stream, OpenError> {
    let before = BeforeOpening::now();
    let file = tcp_socket(address.is_ipv6()).map_err(|error| OpenError::System(error.into()))?;
    set_up_remote(file.as_fd(), lost_after).map_err(OpenError::System)?;
    match rustix::net::connect(&file, address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(not_opened(error)),
    }
    let stream = match Stream::of(file, before) {
        Ok(stream) => stream,
        // A child holds a copy. The next call connects again.
        Err(NotTaken::Forked) => return Err(OpenError::TimedOut),
        Err(NotTaken::System(error)) => return Err(OpenError::System(error)),
        Err(_) => return Err(OpenError::TooMany),
    };
    loop {
        let file = stream.file().map_err(|_| OpenError::Closed)?;
        match stream.ready(Interest::Write, deadline) {
            Ok(ready) if ready.write => {
                return match sockopt::socket_error(file) {
                    Ok(Ok(())) => Ok(stream),
                    Ok(Err(error)) | Err(error) => Err(not_opened(error)),
                };
            }
            Ok(_) if deadline.has_passed() => return Err(OpenError::TimedOut),
            Ok(_) => {}
            Err(AskFailure::System(error)) => return Err(OpenError::System(error)),
            Err(_) => return Err(OpenError::Closed),
        }
    }
}

/// Returns `true` if both ends of a connection are on this host: they have one address, or that of the loopback.
pub(super) fn is_near(stream: &Stream) -> bool {
    let Ok(file) = stream.file() else { return false };
    let other = getpeername(file).ok().flatten().and_then(|address| SocketAddr::try_from(address).ok());
    let own = getsockname(file).ok().and_then(|address| SocketAddr::try_from(address).ok());
    other.zip(own).is_some_and(|(other, own)| other.ip().is_loopback() || other.ip() == own.ip())
}

fn not_opened(error: Errno) -> OpenError {
    match error {
        Errno::CONNREFUSED => OpenError::NotFound,
        Errno::CONNRESET => OpenError::Closed,
        Errno::TIMEDOUT => OpenError::TimedOut,
        other => OpenError::System(other.into()),
    }
}

/// A socket at which clients of other hosts connect.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct TcpAcceptor {
    listener: TcpListener,
    address: SocketAddr,
    lost_after: Duration,
    keys: Arc<[SharedKey]>,
    scratch: Arc<Scratch>,
    is_given: bool,
}

/// Returns `true` if accept(2) passed on an error of the connection, which says nothing about the next one.
#[cfg(feature = "server")]
fn is_of_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| {
        errno == Errno::CONNABORTED || errno == Errno::PROTO || mp_sys::stream::is_of_network(errno)
    })
}

#[cfg(feature = "server")]
impl TcpAcceptor {
    /// Listens at the first address of a host that this machine has. With port 0, the system chooses one.
    ///
    /// # Errors
    /// Those of bind(2) and listen(2), and of the resolver.
    pub(crate) fn bind(at: &HostPort, keys: &Arc<[SharedKey]>, scratch: &Arc<Scratch>) -> io::Result<Self> {
        let listener = beside_standard(|| TcpListener::bind((at.host(), at.port())))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (keys, scratch) = (Arc::clone(keys), Arc::clone(scratch));
        Ok(Self { listener, address, lost_after: at.lost_after(), keys, scratch, is_given: false })
    }

    /// Accepts connections at a socket that a service manager has made.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn given(file: OwnedFd, keys: &Arc<[SharedKey]>, scratch: &Arc<Scratch>) -> io::Result<Self> {
        let listener = TcpListener::from(file);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (keys, scratch) = (Arc::clone(keys), Arc::clone(scratch));
        Ok(Self { listener, address, lost_after: LOST_AFTER_DEFAULT, keys, scratch, is_given: true })
    }

    /// Accepts connections with these keys from now on.
    pub(crate) fn accept_keys(&mut self, keys: Arc<[SharedKey]>) {
        self.keys = keys;
    }

    /// Returns `true` if a service manager has made the socket.
    pub(crate) const fn is_given(&self) -> bool {
        self.is_given
    }

    /// Returns the address at which the socket listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of the descriptor, for an event loop.
    pub(crate) fn number(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    /// Returns the next connection, or `None` if there is none now.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) fn accept(&self) -> io::Result<Option<Channel>> {
        for _ in 0..ACCEPTS_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => match self.set_up(stream.into()) {
                    Ok(channel) => return Ok(Some(channel)),
                    // It ended before it was accepted.
                    Err(error) => tracing::debug!(%error, "a connection cannot be set up"),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_of_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn set_up(&self, file: OwnedFd) -> Result<Channel, OsError> {
        let file = above_standard(file)?;
        set_up_remote(file.as_fd(), self.lost_after)?;
        let stream = Stream::inherited(file)?;
        let remote = Remote::accepting(&stream, Arc::clone(&self.keys), Arc::clone(&self.scratch));
        Ok(Channel::between_hosts(stream, remote))
    }
}
