//! Listening at a path, and accepting connections there.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ListenerNonblockingMode, ListenerOptions, ToFsName,
};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::Listener;
use mp_sys::descriptors::{above_standard, beside_standard};
use mp_sys::handoff::is_same_user;

use crate::OsError;

/// Only the owner may connect.
const SOCKET_MODE: libc_mode = 0o600;
#[expect(non_camel_case_types, reason = "the name is that of the C library")]
type libc_mode = u32;

/// Why nothing listens at a path.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// A server already listens there.
    Exists,
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
pub(crate) struct Acceptor {
    listener: Listener,
}

impl Acceptor {
    /// Listens at a path. A socket that a killed server left there is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub(crate) fn bind(path: &Path) -> Result<Self, ListenError> {
        match Self::try_bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if !is_abandoned(path) {
                    return Err(ListenError::Exists);
                }
                std::fs::remove_file(path)?;
                Ok(Self::try_bind(path)?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn try_bind(path: &Path) -> io::Result<Self> {
        let name = path.to_fs_name::<GenericFilePath>()?;
        let options = ListenerOptions::new().name(name).mode(SOCKET_MODE);
        let options = options.nonblocking(ListenerNonblockingMode::Both);
        let listener = beside_standard(|| options.create_sync_as())?;
        Ok(Self { listener })
    }

    /// Returns the number of the descriptor, for an event loop.
    pub(crate) fn number(&self) -> RawFd {
        self.listener.as_fd().as_raw_fd()
    }

    /// Returns the next connection from a process of the same user, or `None` if there is none now.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            match self.listener.accept() {
                Ok(stream) if is_same_user(stream.as_fd()) => {
                    return Ok(Some(above_standard(stream.into())?));
                }
                Ok(_) => tracing::debug!("a process of another user tried to connect"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns `true` if no process listens at a socket in the file system.
fn is_abandoned(path: &Path) -> bool {
    let Ok(name) = path.to_fs_name::<GenericFilePath>() else { return false };
    let attempt = beside_standard(|| ConnectOptions::new().name(name).connect_sync());
    matches!(attempt, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}
