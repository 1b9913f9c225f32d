//! The settings that a server's process receives.

use std::path::Path;
use std::time::Duration;

use mp_sys::budget::file_size_limit;
use mp_sys::key::Key;
use serde::{Deserialize, Serialize};

use super::StartError;
use super::folder::Folder;
use crate::address::{Address, AddressError};
use crate::count::{count_of, nanos_of};
use crate::limits::{KEY_BYTES_MAX, KEYS_MAX, SAVE_TIME_MAX, START_TIME_MAX};
use crate::state::Limits;

/// The settings that the server receives.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(super) path: String,
    #[serde(with = "crate::key")]
    pub(super) key: Key,
    /// The keys that it accepts besides.
    pub(super) other_keys: Vec<PassedKey>,
    pub(super) memory_bytes: u64,
    /// The share of one client, if it was set.
    pub(super) client_memory_bytes: Option<u64>,
    /// The most clients, if their number was set.
    pub(super) clients: Option<u64>,
    /// Where it listens for other hosts, too.
    pub(super) tcp: Option<String>,
    /// For how many nanoseconds it serves without a client, if that has an end.
    pub(super) idle_nanos: Option<u64>,
    /// The files with the objects to begin with, and to save to at the end.
    pub(super) restore: Option<String>,
    pub(super) keep: Option<String>,
    /// The nanoseconds between two saves besides.
    pub(super) keep_every_nanos: Option<u64>,
    /// Whether the folder of the socket was made for this server.
    pub(super) is_private: bool,
    /// That folder.
    #[serde(skip)]
    pub(super) folder: Option<Folder>,
}

/// A key among others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PassedKey(#[serde(with = "crate::key")] pub(super) Key);

impl Order {
    /// Describes a server at this path, or in a private folder, with this key, or a random one.
    ///
    /// # Errors
    /// [`StartError::Folder`], [`StartError::Address`], [`StartError::KeyTooLong`].
    pub(crate) fn new(
        path: Option<&Path>,
        key: Option<Key>,
        limits: Limits,
        clients: Option<usize>,
    ) -> Result<Self, StartError> {
        if let Some(bytes) = key.as_ref().map(|key| key.as_bytes().len()).filter(|len| *len > KEY_BYTES_MAX) {
            return Err(StartError::KeyTooLong { bytes });
        }
        let key = match key {
            Some(key) => key,
            None => Key::random()?,
        };
        let (folder, socket) = match path {
            Some(path) => (None, path.to_owned()),
            None => {
                let folder = folder_with(&key)?;
                let socket = folder.socket();
                (Some(folder), socket)
            }
        };
        Address::local(&socket)?;
        let path = socket.to_str().ok_or_else(|| AddressError::Path(socket.clone()))?.to_owned();
        Ok(Self {
            path,
            key,
            other_keys: Vec::new(),
            memory_bytes: count_of(limits.memory_bytes),
            client_memory_bytes: limits.client_memory_bytes.map(count_of),
            clients: clients.map(count_of),
            tcp: None,
            idle_nanos: None,
            restore: None,
            keep: None,
            keep_every_nanos: None,
            is_private: folder.is_some(),
            folder,
        })
    }

    /// Lets the server accept these keys, too.
    ///
    /// # Errors
    /// [`StartError::KeyTooLong`], [`StartError::TooManyKeys`].
    pub(crate) fn and_keys(mut self, keys: &[Key]) -> Result<Self, StartError> {
        if let Some(bytes) = keys.iter().map(|key| key.as_bytes().len()).find(|len| *len > KEY_BYTES_MAX) {
            return Err(StartError::KeyTooLong { bytes });
        }
        let all = keys.len().saturating_add(1);
        if all > KEYS_MAX {
            return Err(StartError::TooManyKeys { keys: all });
        }
        self.other_keys = keys.iter().cloned().map(PassedKey).collect();
        Ok(self)
    }

    /// Returns how long the server may take to serve. Restoring many objects takes its time.
    pub(super) const fn start_time_max(&self) -> Duration {
        if self.restore.is_some() || self.keep.is_some() { SAVE_TIME_MAX } else { START_TIME_MAX }
    }

    /// Lets the server end when no client has been connected for this time.
    pub(crate) fn and_idle_end(mut self, after: Option<Duration>) -> Self {
        self.idle_nanos = after.map(nanos_of);
        self
    }

    /// Lets the server save its objects at these intervals, too.
    pub(crate) fn and_keep_every(mut self, interval: Option<Duration>) -> Self {
        self.keep_every_nanos = interval.map(nanos_of);
        self
    }

    /// Lets the server begin with the objects in a file, and keep them in a file.
    ///
    /// # Errors
    /// [`StartError::Restore`] for a path that cannot be passed on.
    pub(crate) fn and_files(
        mut self,
        restore: Option<&Path>,
        keep: Option<&Path>,
    ) -> Result<Self, StartError> {
        // The server may have another working folder.
        let passed = |path: &Path| {
            let absolute = std::path::absolute(path).ok();
            let text = absolute.and_then(|path| path.to_str().map(str::to_owned));
            text.ok_or_else(|| {
                StartError::Restore(format!("this is not the path of a file: {}", path.display()))
            })
        };
        self.restore = restore.map(passed).transpose()?;
        self.keep = keep.map(passed).transpose()?;
        Ok(self)
    }
}

#[cfg(feature = "tcp")]
impl Order {
    /// Lets the server listen for other hosts, too.
    ///
    /// # Errors
    /// [`StartError::Address`], [`StartError::KeyTooShort`].
    pub(crate) fn and_tcp(mut self, tcp: Option<String>) -> Result<Self, StartError> {
        if let Some(address) = &tcp {
            crate::address::HostPort::parse(address)?;
        }
        let mut keys = std::iter::once(&self.key).chain(self.other_keys.iter().map(|PassedKey(key)| key));
        let of = crate::transport::remote::SharedKey::of;
        if tcp.is_some()
            && let Some(short) = keys.find_map(|key| of(key).err())
        {
            return Err(StartError::KeyTooShort { bytes: short.bytes });
        }
        self.tcp = tcp;
        Ok(self)
    }
}

/// Makes a folder with the key in it.
///
/// # Errors
/// [`StartError::FileSizeLimit`], [`StartError::Folder`].
fn folder_with(key: &Key) -> Result<Folder, StartError> {
    // Writing beyond the limit would raise SIGXFSZ, which kills.
    if let Some(limit) = file_size_limit().filter(|limit| *limit < count_of(key.as_bytes().len())) {
        return Err(StartError::FileSizeLimit { limit });
    }
    Folder::create(key).map_err(StartError::Folder)
}
