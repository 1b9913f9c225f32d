//! Listening at a path, and accepting connections there.
//!
//! **At most one process listens at a path.** A server holds the lock of a file beside its socket as long as it lives.
//! Only the holder may replace a socket that a killed server left. So two servers that start at the same moment do not
//! remove each other's sockets, and a server that ends removes its own socket only. The lock file is removed with the
//! socket; a killed server leaves both.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerNonblockingMode, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::Listener;
use mp_sys::descriptors::{above_standard, beside_standard};
use mp_sys::fork::Epoch;
use mp_sys::handoff::is_same_user;
use rustix::io::Errno;

use crate::OsError;
use crate::transport::Channel;
use crate::transport::local::lock_file::{Excludes, LockFile, Missing, has_no_locks};
use crate::transport::local::try_reach;

/// Only the owner may connect.
const SOCKET_MODE: libc_mode = 0o600;
#[expect(non_camel_case_types, reason = "the name is that of the C library")]
type libc_mode = u32;

/// Why nothing listens at a path.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// A server already listens there.
    Exists,
    /// There is a file that is not a socket.
    NotASocket,
    /// The operating system refused.
    System(OsError),
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
enum Socket {
    /// It was made here.
    Own(Listener),
    /// A service manager listens at it.
    Given(UnixListener),
}

impl Socket {
    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Own(listener) => listener.accept().map(OwnedFd::from),
            Self::Given(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(stream.into())
            }
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct Acceptor {
    socket: Socket,
    path: PathBuf,
    /// The device and the number of the socket's file, if it was made here.
    file: Option<(u64, u64)>,
    /// `None` if the file system has no locks.
    lock: Option<LockFile>,
    epoch: Epoch,
}

impl Acceptor {
    /// Listens at a path. A socket that a killed server left there is replaced, if the file system has locks.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn bind(path: &Path) -> Result<Self, ListenError> {
        let lock = lock_of(path)?;
        let listener = match listen(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Without the lock, another server may be replacing the socket at this moment.
                if lock.is_none() || !is_abandoned(path)? {
                    return Err(ListenError::Exists);
                }
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => listen(path)?,
                }
            }
            outcome => outcome?,
        };
        let (socket, path, file) = (Socket::Own(listener), path.to_owned(), file_at(path));
        Ok(Self { socket, path, file, lock, epoch: Epoch::current() })
    }

    /// Accepts connections at a socket that a service manager has made, and that stays when the server ends.
    ///
    /// # Errors
    /// Those of the system calls; `EAFNOSUPPORT` for a socket without a path.
    pub(crate) fn given(file: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(file);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or(Errno::AFNOSUPPORT)?.to_owned();
        Ok(Self { socket: Socket::Given(listener), path, file: None, lock: None, epoch: Epoch::current() })
    }

    /// Returns `true` if a service manager has made the socket.
    pub(crate) const fn is_given(&self) -> bool {
        matches!(self.socket, Socket::Given(_))
    }

    /// Returns the path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the descriptor, for an event loop.
    pub(crate) fn number(&self) -> RawFd {
        match &self.socket {
            Socket::Own(listener) => listener.as_fd().as_raw_fd(),
            Socket::Given(listener) => listener.as_raw_fd(),
        }
    }

    /// Returns the next connection from a process of the same user, or `None` if there is none now.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) fn accept(&self) -> io::Result<Option<Channel>> {
        loop {
            match self.socket.accept() {
                Ok(stream) if is_same_user(&stream) => {
                    let file = above_standard(stream)?;
                    let accepted = Channel::accepted(file).map(Some);
                    return accepted.map_err(|error| io::Error::from_raw_os_error(error.raw_os_error()));
                }
                Ok(_) => tracing::debug!("a process of another user tried to connect"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Acceptor {
    /// Removes the socket, and then releases the lock. Does nothing in a forked child, whose parent still listens.
    fn drop(&mut self) {
        if !self.epoch.is_current() {
            return;
        }
        if self.file.is_some()
            && self.file == file_at(&self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "a socket cannot be removed");
        }
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

/// Returns the path of the lock file of a socket.
pub(crate) fn lock_beside(socket: &Path) -> PathBuf {
    let mut path = OsString::from(socket);
    path.push(".lock");
    path.into()
}

/// Takes the lock of a path, or returns `None` if its file system has no locks.
fn lock_of(path: &Path) -> Result<Option<LockFile>, ListenError> {
    match LockFile::take(&lock_beside(path), Excludes::All, Missing::Make) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(ListenError::Exists),
        Err(error) if has_no_locks(error) => Ok(None),
        // The path is that of another user's server.
        Err(error) if error == Errno::ACCESS.into() && file_at(path).is_some() => Err(ListenError::Exists),
        Err(error) => Err(ListenError::System(error)),
    }
}

fn listen(path: &Path) -> io::Result<Listener> {
    let name = path.to_fs_name::<GenericFilePath>()?;
    // Dropping the listener must not remove the file: it may be another server's by then.
    let options = ListenerOptions::new().name(name).mode(SOCKET_MODE).reclaim_name(false);
    let options = options.nonblocking(ListenerNonblockingMode::Both);
    beside_standard(|| options.create_sync_as())
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Returns `true` if no process listens at a socket in the file system. Servers of other programs hold no lock. Never
/// waits: a queue that is full is that of a server.
fn is_abandoned(path: &Path) -> Result<bool, ListenError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    Ok(try_reach(path).err() == Some(Errno::CONNREFUSED))
}
