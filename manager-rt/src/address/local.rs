//! `mp+unix:PATH`: a socket in the file system.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::address::AddressError;

/// The longest path of a socket, in bytes: the kernel's address has room for no more.
pub const PATH_BYTES_MAX: usize = 107;
/// The scheme of the URL.
pub(super) const SCHEME: &str = "mp+unix";

/// An absolute path that is short enough for a socket.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SocketPath(PathBuf);

impl SocketPath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`AddressError::Path`].
    pub(super) fn new(path: PathBuf) -> Result<Self, AddressError> {
        let len = path.as_os_str().len();
        if path.is_absolute() && len <= PATH_BYTES_MAX {
            Ok(Self(path))
        } else {
            Err(AddressError::Path(path))
        }
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{}", self.0.display())
    }
}
