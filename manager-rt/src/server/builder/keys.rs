//! The keys of a server.

use std::path::Path;

use mp_sys::key::Key;

use super::ServerBuilder;
use crate::key::{self, Unread};
#[cfg(doc)]
use crate::limits::KEYS_MAX;
use crate::server::BindError;

impl ServerBuilder {
    /// Sets the key that clients must prove to know. Without a key, every process of the same user may connect.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = key.into();
        self
    }

    /// Like [`key`](Self::key), but reads the key from a file: its bytes, without a line break at the end.
    ///
    /// # Errors
    /// [`BindError::Key`], with `ENODATA` for a file without a key; [`BindError::KeyExposed`] for a file to which other users have access.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Server;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let (file, path) = (folder.path().join("jobs.key"), folder.path().join("jobs.sock"));
    /// # use std::os::unix::fs::PermissionsExt;
    /// std::fs::write(&file, "a secret\n")?;
    /// std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    /// let server = Server::builder().key_file(&file)?.bind(path)?;
    /// # drop(server);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key_file(self, path: impl AsRef<Path>) -> Result<Self, BindError> {
        let path = path.as_ref();
        let unread = |unread| match unread {
            Unread::System(error) => BindError::Key { path: path.to_owned(), error },
            Unread::Exposed { mode } => BindError::KeyExposed { path: path.to_owned(), mode },
        };
        Ok(self.key(key::read(path).map_err(unread)?))
    }

    /// Accepts another key of other hosts, too, so that keys can be replaced one program after the other. At most
    /// [`KEYS_MAX`] keys are accepted at the same time. At the socket in the file system, only the first key counts.
    #[must_use]
    pub fn also_accept(mut self, key: impl Into<Key>) -> Self {
        self.other_keys.push(key.into());
        self
    }
}
