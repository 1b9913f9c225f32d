//! The private folder of a server: its socket and its key, which only this user can read.
//!
//! A folder is named for the process that made it, so that what killed processes left can be told from what is in use: a
//! folder whose maker is gone and at whose socket nobody listens is nobody's.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use mp_sys::descriptors::{beside_standard, open};
use mp_sys::fork::Epoch;
use mp_sys::key::Key;
use mp_sys::stream::own_user;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, getpid, test_kill_process};

use crate::OsError;

const PREFIX: &str = "mp-manager-";
const SOCKET: &str = "socket";
const KEY: &str = "key";
/// Abandoned folders that one sweep removes at most.
const SWEPT_MAX: usize = 64;

/// A folder that this process made, and removes when it is dropped: not in a forked child.
#[derive(Debug)]
pub(super) struct Folder {
    /// `None` once it is left to others.
    path: Option<PathBuf>,
    epoch: Epoch,
}

impl Folder {
    /// Makes one, in the folder for files of the session, else in that for temporary files.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn create() -> Result<Self, OsError> {
        let random: String =
            mp_sys::handoff::nonce()?.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let own = getpid().as_raw_nonzero();
        let mut refused = OsError::from(rustix::io::Errno::NOENT);
        for parent in parents() {
            let path = parent.join(format!("{PREFIX}{own}-{random}"));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path: Some(path), epoch: Epoch::current() }),
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    /// Where the socket is.
    pub(super) fn socket(&self) -> PathBuf {
        self.path().join(SOCKET)
    }

    /// Leaves the key for processes of this user that know the address only.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn write_key(&self, key: &Key) -> Result<(), OsError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = open(self.path().join(KEY), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(fs::File::from(file).write_all(key.as_bytes())?)
    }

    /// Leaves it to the server, which is still there.
    pub(super) fn leave(mut self) {
        self.path = None;
    }

    fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or_else(|| Path::new(""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(path) = self.path.take().filter(|_| self.epoch.is_current()) {
            remove(&path);
        }
    }
}

/// Removes the folder of a server's socket, with what is in it.
pub(super) fn remove_of(socket: &Path) {
    if let Some(path) = socket.parent().filter(|path| is_folder_name(path)) {
        remove(path);
    }
}

/// The key of the server at a socket that [`Folder::write_key`] left there.
pub(crate) fn key_beside(socket: &Path) -> Option<Key> {
    let folder = socket.parent().filter(|path| is_folder_name(path))?;
    let is_own = fs::metadata(folder).is_ok_and(|folder| folder.uid() == own_user());
    if is_own { fs::read(folder.join(KEY)).ok().map(Key::from) } else { None }
}

/// Removes folders that killed processes left.
pub(super) fn sweep() {
    let folders = parents().into_iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten();
    let paths = folders.filter_map(Result::ok).map(|entry| entry.path());
    for path in paths.filter(|path| is_abandoned(path)).take(SWEPT_MAX) {
        tracing::debug!(path = %path.display(), "an abandoned folder is removed");
        remove(&path);
    }
}

fn parents() -> Vec<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    session.into_iter().chain([std::env::temp_dir()]).collect()
}

fn is_folder_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// Whether nobody uses a folder: its maker is gone, and nobody listens at its socket.
fn is_abandoned(path: &Path) -> bool {
    if !is_folder_name(path)
        || !fs::symlink_metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == own_user())
    {
        return false;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let maker =
        name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid.to_owned());
    let Some(maker) = maker.and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) else { return false };
    // A maker that lives, or whose number was given to somebody else, may still be about to bind.
    if test_kill_process(maker) != Err(rustix::io::Errno::SRCH) {
        return false;
    }
    match beside_standard(|| UnixStream::connect(path.join(SOCKET))) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
    }
}

/// Only what a server makes is removed; a folder with anything else in it stays.
fn remove(path: &Path) {
    for name in [SOCKET, KEY] {
        match fs::remove_file(path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "a server's file cannot be removed");
            }
            _ => {}
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "a server's folder cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_with_what_is_in_it() {
        let folder = Folder::create().unwrap();
        folder.write_key(&"secret".into()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&folder.path().join(KEY))), (0o700, 0o600));
        assert_eq!(key_beside(&folder.socket()), Some("secret".into()));
        sweep();
        assert!(folder.path().exists(), "its maker lives");
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
        assert_eq!(key_beside(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        // No process has this id: it is above every limit.
        let left = std::env::temp_dir().join(format!("{PREFIX}{}-left", i32::MAX));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(KEY), "").unwrap();
        assert!(is_abandoned(&left));
        sweep();
        assert!(!left.exists());
    }
}
