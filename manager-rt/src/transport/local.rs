//! Sockets in the file system, which connect processes of one user on one host.

#[cfg(feature = "server")]
mod acceptor;
#[cfg(feature = "server")]
mod lock_file;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::descriptors::stream_socket;
use mp_sys::stream::{BeforeOpening, NotTaken, Stream, own_user, peer_user};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, connect};

#[cfg(feature = "server")]
pub(crate) use self::acceptor::{Acceptor, ListenError, lock_beside};
#[cfg(feature = "server")]
pub(crate) use self::lock_file::{Excludes, LockFile, Missing};
use crate::transport::OpenError;

/// The pause between two attempts while the server's queue of connections is full.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(2);

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::CONNREFUSED | Errno::NOENT => Self::NotFound,
            Errno::CONNRESET | Errno::PIPE => Self::Closed,
            Errno::INVAL | Errno::NAMETOOLONG => Self::BadAddress,
            other => Self::System(other.into()),
        }
    }
}

/// Opens a stream to the server of the same user that listens at a path.
///
/// # Errors
/// [`OpenError`].
pub(super) fn open(path: &Path, deadline: Deadline) -> Result<Stream, OpenError> {
    loop {
        let before = BeforeOpening::now();
        let file = reach(path, deadline)?;
        match Stream::of(file, before) {
            Ok(stream) => return Ok(stream),
            // A child may hold a copy: that connection has already ended.
            Err(NotTaken::Forked) if deadline.has_passed() => return Err(OpenError::TimedOut),
            Err(NotTaken::Forked) => {}
            Err(NotTaken::System(error)) => return Err(OpenError::System(error)),
            Err(_) => return Err(OpenError::TooMany),
        }
    }
}

/// Opens a socket to the server of the same user that listens at a path. The kernel refuses while the server's queue is
/// full, and offers no way to wait for that.
///
/// # Errors
/// [`OpenError`].
pub(super) fn reach(path: &Path, deadline: Deadline) -> Result<OwnedFd, OpenError> {
    loop {
        match try_reach(path) {
            Ok(socket) if peer_user(socket.as_fd()).map_err(OpenError::System)? != own_user() => {
                return Err(OpenError::OtherUser);
            }
            Ok(socket) => return Ok(socket),
            Err(Errno::AGAIN) if deadline.has_passed() => return Err(OpenError::TimedOut),
            Err(Errno::AGAIN) => std::thread::sleep(TRY_AGAIN_AFTER.min(deadline.remaining())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens the socket without waiting. The crate interprocess cannot do that: if the queue is full, its result is a socket
/// without a connection.
///
/// # Errors
/// Those of connect(2); `EAGAIN` while the server's queue of connections is full.
fn try_reach(path: &Path) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = stream_socket()?;
    connect(&socket, &address)?;
    Ok(socket)
}
