//! Sockets in the file system, which connect processes of one user on one host.

#[cfg(feature = "server")]
mod acceptor;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, ToFsName};
use interprocess::os::unix::uds_local_socket;
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::above_standard;
use mp_sys::stream::{BeforeOpening, NotTaken, Stream, own_user, peer_user};

#[cfg(feature = "server")]
pub(crate) use self::acceptor::{Acceptor, ListenError};
use crate::OsError;
use crate::transport::OpenError;

/// The pause between two attempts while the server's queue of connections is full.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(2);

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::InvalidInput => Self::BadAddress,
            _ => Self::System(error.into()),
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
        if peer_user(file.as_fd()).map_err(OpenError::System)? != own_user() {
            return Err(OpenError::OtherUser);
        }
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

/// Opens the socket. The kernel refuses while the server's queue is full, and offers no way to wait for that.
fn reach(path: &Path, deadline: Deadline) -> Result<OwnedFd, OpenError> {
    let name = path.to_fs_name::<GenericFilePath>().map_err(|_| OpenError::BadAddress)?;
    let options =
        ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Deferred).nonblocking_stream(true);
    loop {
        match options.connect_sync_as::<uds_local_socket::Stream>() {
            Ok(stream) => {
                return above_standard(stream.into()).map_err(OsError::from).map_err(OpenError::System);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if deadline.has_passed() {
                    return Err(OpenError::TimedOut);
                }
                std::thread::sleep(TRY_AGAIN_AFTER.min(deadline.remaining()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
