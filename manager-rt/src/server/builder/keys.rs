//! The keys of a server.

use std::path::Path;

use mp_sys::OsError;
use mp_sys::key::Key;

use super::ServerBuilder;
use crate::key::{self, Unread};
use crate::limits::KEYS_MAX;
use crate::server::BindError;
use crate::server::keys::Renewal;

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
    /// [`BindError::Key`], with `ENODATA` for a file without a key and `EFBIG` for one with more than
    /// [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes; [`BindError::KeyExposed`] for a file to which other users have access.
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
            Unread::Exposed { mode, owner } => BindError::KeyExposed { path: path.to_owned(), mode, owner },
        };
        Ok(self.key(key::read(path).map_err(unread)?))
    }

    /// Accepts another key, too, so that keys can be replaced one program after the other. At most [`KEYS_MAX`] keys are accepted at the
    /// same time. An empty one lets nobody in.
    #[must_use]
    pub fn also_accept(mut self, key: impl Into<Key>) -> Self {
        self.other_keys.push(key.into());
        self
    }

    /// Replaces the accepted keys at each SIGHUP by those that `read` returns, of which the first counts as that of [`key`](Self::key).
    /// For a process that only serves and has one thread: from this call on, the signal is blocked for the calling thread, and for what it
    /// starts or executes later. Once that thread has dropped the server, or this builder, the signal is handled as before.
    ///
    /// Call it before you read the first keys: a signal that arrives meanwhile lets the server read them again when it serves.
    ///
    /// New connections need one of the new keys. Those that exist stay, whichever key they came with. If `read` returns `None`, or
    /// keys with which no server could begin (none, an empty or a short one, or too many), the keys stay as they are. The latter is logged as an
    /// error.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`. The signal is handled as before then.
    ///
    /// # Source
    /// sshd(8) and many others, which read their settings again at SIGHUP.
    ///
    /// # Examples
    /// ```no_run
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::{Key, Server};
    ///
    /// fn read() -> Option<Vec<Key>> {
    ///     let text = std::fs::read_to_string("/etc/jobs.keys").ok()?;
    ///     Some(text.lines().map(Key::from).collect())
    /// }
    ///
    /// let builder = Server::builder().end_on_signals()?.keys_on_hangup(read)?;
    /// let keys = read().expect("there are keys");
    /// let builder = keys.iter().skip(1).fold(builder.key(keys[0].clone()), |builder, key| builder.also_accept(key.clone()));
    /// builder.bind("/run/jobs.sock")?.serve()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys_on_hangup(
        mut self,
        read: impl FnMut() -> Option<Vec<Key>> + Send + Sync + 'static,
    ) -> Result<Self, OsError> {
        self.renewal = Some(Renewal::new(Box::new(read))?);
        Ok(self)
    }

    /// Takes the keys out, the first one first.
    ///
    /// # Errors
    /// [`BindError::TooManyKeys`].
    pub(super) fn take_keys(&mut self) -> Result<Vec<Key>, BindError> {
        let keys = self.other_keys.len().saturating_add(1);
        if keys > KEYS_MAX {
            return Err(BindError::TooManyKeys { keys });
        }
        let first = std::mem::take(&mut self.key);
        Ok(std::iter::once(first).chain(std::mem::take(&mut self.other_keys)).collect())
    }
}
