//! The private folder of a server, with its socket and its key, which only this user can read.
//!
//! A folder's name contains the process that made it, so that abandoned folders can be told from those in use. A folder
//! is abandoned if its maker is gone and no process listens at its socket.

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
use crate::registry::beside::{KEY, PREFIX, is_folder_name};

const SOCKET: &str = "socket";
/// The most abandoned folders that one sweep removes.
const SWEPT_MAX: usize = 64;

/// A folder that this process made and removes on drop, though not in a forked child.
#[derive(Debug)]
pub(super) struct Folder {
    /// `None` once the folder was left to the server.
    path: Option<PathBuf>,
    epoch: Epoch,
}

impl Folder {
    /// Makes a folder in the session's runtime directory, or else in that for temporary files.
    ///
    /// # Errors
    /// The error of the system call.
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

    /// Returns the path of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path().join(SOCKET)
    }

    /// Writes the key for processes of this user that know only the address.
    ///
    /// # Errors
    /// The error of the system call.
    pub(super) fn write_key(&self, key: &Key) -> Result<(), OsError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = open(self.path().join(KEY), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(fs::File::from(file).write_all(key.as_bytes())?)
    }

    /// Leaves the folder to the server, which still runs.
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

/// Removes the folder of a server's socket, with its contents.
pub(super) fn remove_of(socket: &Path) {
    if let Some(path) = socket.parent().filter(|path| is_folder_name(path)) {
        remove(path);
    }
}

/// Removes folders that killed processes left behind.
pub(super) fn sweep() {
    let folders = parents().into_iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten();
    let paths = folders.filter_map(Result::ok).map(|entry| entry.path());
    for path in paths.filter(|path| is_abandoned(path)).take(SWEPT_MAX) {
        tracing::debug!(path = %path.display(), "removing an abandoned folder");
        remove(&path);
    }
}

fn parents() -> Vec<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    session.into_iter().chain([std::env::temp_dir()]).collect()
}

/// Returns `true` if a folder is abandoned: its maker is gone, and no process listens at its socket.
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
    // A living maker may still be about to bind. A process that reuses the maker's number looks the same.
    if test_kill_process(maker) != Err(rustix::io::Errno::SRCH) {
        return false;
    }
    match beside_standard(|| UnixStream::connect(path.join(SOCKET))) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
    }
}

/// Removes only the files that a server makes. A folder with other files stays.
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
    use crate::registry::beside::key_beside;

    #[test]
    fn a_folder_is_private_and_is_removed_with_its_contents() {
        let folder = Folder::create().unwrap();
        folder.write_key(&"secret".into()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&folder.path().join(KEY))), (0o700, 0o600));
        assert_eq!(key_beside(&folder.socket()), Some("secret".into()));
        sweep();
        assert!(folder.path().exists(), "its maker is alive");
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
        assert_eq!(key_beside(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn folders_of_killed_processes_are_swept() {
        // No process has this id, which is above every limit.
        let left = std::env::temp_dir().join(format!("{PREFIX}{}-left", i32::MAX));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(KEY), "").unwrap();
        assert!(is_abandoned(&left));
        sweep();
        assert!(!left.exists());
    }
}
