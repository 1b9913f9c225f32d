//! [`BindError`]: why a server cannot serve.

use std::io;
use std::path::PathBuf;

use mp_sys::OsError;
use mp_sys::activation::ActivationError;

use super::RestoreError;
use crate::address::AddressError;
use crate::key;
use crate::limits::{KEYS_MAX, REMOTE_KEY_BYTES_MIN};
use crate::transport::local::ListenError;

/// Why a server cannot listen at an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The path cannot be that of a socket.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A server already listens at this path.
    #[error("a server already listens at this path")]
    Exists,
    /// The path is that of a file which is not a socket, and which stays as it is.
    #[error("there is a file at this path that is not a socket")]
    NotASocket,
    /// The server cannot listen for other hosts at this address. (Feature `tcp`.)
    #[error("the server cannot listen at {address}: {error}")]
    Tcp {
        /// The address.
        address: String,
        /// The reason.
        error: OsError,
    },
    /// The key file cannot be read.
    #[error("the key cannot be read from {}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: OsError,
    },
    /// Other users have access to the key file, so it is not used: it belongs to another user than this process's and root, or its mode
    /// lets others read or change it. A file of root may have mode 0640 or 0440.
    #[error("{}", key::exposed(path, *mode, *owner))]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The number of the user to whom it belongs.
        owner: u32,
    },
    /// A server that other hosts reach needs keys of at least
    /// [`REMOTE_KEY_BYTES_MIN`](crate::limits::REMOTE_KEY_BYTES_MIN) bytes. (Feature `tcp`.)
    #[error(
        "a key of {bytes} bytes is too short for a server that other hosts reach, which needs {REMOTE_KEY_BYTES_MIN}"
    )]
    KeyTooShort {
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// More keys were set than a server accepts.
    #[error("{keys} keys are more than a server accepts, which is {KEYS_MAX}")]
    TooManyKeys {
        /// The number of keys.
        keys: usize,
    },
    /// The process may not have enough descriptors for the number of clients that was set (`RLIMIT_NOFILE`). The server
    /// raises the soft limit, but not the hard one.
    #[error(
        "there are descriptors for {possible} clients, and {wanted} were asked for: raise the hard limit (RLIMIT_NOFILE)"
    )]
    Descriptors {
        /// The number of clients that was set.
        wanted: usize,
        /// How many clients the server could have.
        possible: usize,
    },
    /// A descriptor that was given to the server is not a socket that listens at a path or a port. (Ports: feature `tcp`.)
    #[error("a descriptor that was given to the server cannot be served: {0}")]
    NotListening(#[source] OsError),
    /// The sockets of a service manager cannot be taken.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// No socket was given to the server.
    #[error("no socket was given to the server")]
    NoSocket,
    /// The objects in a file cannot be restored. Nothing was restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

impl From<ListenError> for BindError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Exists => Self::Exists,
            ListenError::NotASocket => Self::NotASocket,
            ListenError::System(error) => Self::System(error),
        }
    }
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}
