//! The private folder of a server, with its socket and its key, which only this user can read.
//!
//! The process that makes a folder and the server each hold a shared lock on a file in it, as long as they need the
//! folder. A folder is abandoned if its file can be locked exclusively. That works for processes of other PID namespaces
//! too: containers may share the folder for temporary files.
//!
//! # Where folders are made
//! In the session's runtime directory, or else in the folder for temporary files, or else in `/tmp`: see [`parents`]. A
//! folder that cannot be used for whatever reason (it does not exist, nothing can be written there, its path leaves no
//! room for that of a socket) is passed over.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use mp_sys::descriptors::{open, stream_socket};
use mp_sys::fork::Epoch;
use mp_sys::key::Key;
use mp_sys::stream::own_user;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, bind};

use crate::OsError;
use crate::address::PATH_BYTES_MAX;
use crate::registry::beside::{KEY, PREFIX, is_folder_name};
use crate::transport::local::{Excludes, LockFile, Missing, lock_beside};

const SOCKET: &str = "socket";
/// The file whose lock shows that a folder is in use.
const LOCK: &str = "lock";
/// The last resort for folders.
const TEMPORARY: &str = "/tmp";
/// The most abandoned folders that one sweep removes.
const SWEPT_MAX: usize = 64;
/// The most entries of a folder that one sweep looks at. A folder for temporary files may have any number.
const LOOKED_AT_MAX: usize = 65_536;
/// How often a folder is made again that was swept before it was locked, by other processes that start servers at that moment.
const ATTEMPTS_MAX: usize = 64;

/// A folder that this process made and removes on drop, though not in a forked child.
#[derive(Debug)]
pub(super) struct Folder {
    /// `None` once the folder was left to the server.
    path: Option<PathBuf>,
    /// Only held.
    _lock: LockFile,
    epoch: Epoch,
}

impl Folder {
    /// Makes a folder with a key in it, for processes of this user that know only the address.
    ///
    /// # Errors
    /// The error of the system call for the last of the [`parents`].
    pub(super) fn create(key: &Key) -> Result<Self, OsError> {
        Self::create_in(parents(), key)
    }

    fn create_in(parents: Vec<PathBuf>, key: &Key) -> Result<Self, OsError> {
        let mut refused = OsError::from(Errno::NOENT);
        for parent in parents {
            match Self::try_create(&parent, key) {
                Ok(folder) => return Ok(folder),
                Err(error) => {
                    tracing::debug!(%error, parent = %parent.display(), "a server's folder cannot be made here");
                    refused = error;
                }
            }
        }
        Err(refused)
    }

    fn try_create(parent: &Path, key: &Key) -> Result<Self, OsError> {
        for _ in 0..ATTEMPTS_MAX {
            let random = mp_sys::handoff::nonce()?;
            let random: String = random.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            let path = parent.join(format!("{PREFIX}{random}"));
            let socket = path.join(SOCKET);
            // The server receives the path as text.
            if socket.as_os_str().len() > PATH_BYTES_MAX || socket.to_str().is_none() {
                return Err(Errno::NAMETOOLONG.into());
            }
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            let lock = LockFile::take(&path.join(LOCK), Excludes::Exclusive, Missing::Make);
            match lock {
                Ok(Some(lock)) => {
                    // From here on, an error removes the folder.
                    let folder = Self { path: Some(path), _lock: lock, epoch: Epoch::current() };
                    try_socket(&socket)?;
                    folder.write_key(key)?;
                    return Ok(folder);
                }
                // Another process swept the folder before it was locked.
                Ok(None) => {}
                Err(error) if error == Errno::NOENT.into() => {}
                Err(error) => {
                    remove(&path);
                    return Err(error);
                }
            }
        }
        Err(Errno::STALE.into())
    }

    /// Returns the path of the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.path().join(SOCKET)
    }

    fn write_key(&self, key: &Key) -> Result<(), OsError> {
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

/// Checks that sockets can be made here, which not every file system permits.
fn try_socket(path: &Path) -> Result<(), OsError> {
    bind(&stream_socket()?, &SocketAddrUnix::new(path)?)?;
    Ok(fs::remove_file(path)?)
}

/// Locks the folder of a server's socket, for the server.
///
/// # Errors
/// Those of open(2) and flock(2); the folder may have been swept.
pub(super) fn hold(socket: &Path) -> Result<LockFile, OsError> {
    let lock = socket.with_file_name(LOCK);
    LockFile::take(&lock, Excludes::Exclusive, Missing::Fail)?.ok_or_else(|| Errno::WOULDBLOCK.into())
}

/// Removes the folder of a server's socket, with its contents.
pub(super) fn remove_of(socket: &Path) {
    if let Some(path) = socket.parent().filter(|path| is_folder_name(path)) {
        remove(path);
    }
}

/// Removes folders that killed processes left behind.
pub(super) fn sweep() {
    parents().iter().for_each(|parent| sweep_in(parent));
}

fn sweep_in(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let paths = entries.take(LOOKED_AT_MAX).filter_map(Result::ok).map(|entry| entry.path());
    for path in paths.filter(|path| is_own_folder(path)).take(SWEPT_MAX) {
        match LockFile::take(&path.join(LOCK), Excludes::All, Missing::Fail) {
            Ok(Some(_lock)) => {
                tracing::debug!(path = %path.display(), "removing an abandoned folder");
                remove(&path);
            }
            Ok(None) => {}
            // Its maker was killed, or is about to lock it and makes another one if it is gone. Only an empty folder
            // can be removed like this.
            Err(error) if error == Errno::NOENT.into() => drop(fs::remove_dir(&path)),
            Err(error) => tracing::debug!(%error, path = %path.display(), "a folder cannot be checked"),
        }
    }
}

fn parents() -> Vec<PathBuf> {
    parents_of([std::env::var_os("XDG_RUNTIME_DIR"), std::env::var_os("TMPDIR")])
}

/// Returns where folders are made, in this order. A relative path counts for nothing: it would mean another place in
/// each process.
fn parents_of(variables: [Option<OsString>; 2]) -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = Vec::new();
    for parent in variables.into_iter().flatten().chain([TEMPORARY.into()]).map(PathBuf::from) {
        if parent.is_absolute() && !parents.contains(&parent) {
            parents.push(parent);
        }
    }
    parents
}

fn is_own_folder(path: &Path) -> bool {
    is_folder_name(path)
        && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own_user())
}

/// Removes only the files that a server makes. A folder with other files stays.
fn remove(path: &Path) {
    // The lock is the last, so that no process takes what is left for the folder of a maker that has not locked it yet.
    let files = [path.join(SOCKET), path.join(KEY), lock_beside(&path.join(SOCKET)), path.join(LOCK)];
    for file in files {
        match fs::remove_file(file) {
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
        let folder = Folder::create(&"secret".into()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let key = folder.path().join(KEY);
        let lock = folder.path().join(LOCK);
        assert_eq!((mode(folder.path()), mode(&key), mode(&lock)), (0o700, 0o600, 0o600));
        assert_eq!(key_beside(&folder.socket()), Some("secret".into()));
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
        assert_eq!(key_beside(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn folders_of_killed_processes_are_swept_and_others_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = Folder::create_in(vec![parent.path().to_owned()], &Key::default()).unwrap();
        let [killed, just_made, foreign] =
            ["killed", "just-made", "foreign"].map(|name| parent.path().join(format!("{PREFIX}{name}")));
        [&killed, &just_made, &foreign].iter().for_each(|path| fs::create_dir(path).unwrap());
        fs::write(killed.join(KEY), "").unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        fs::write(foreign.join("file"), "").unwrap();
        sweep_in(parent.path());
        assert!(!killed.exists() && !just_made.exists());
        assert!(used.path().exists() && foreign.exists());
        // The server holds its folder even without the process that made it.
        let server = hold(&used.socket()).unwrap();
        let path = used.path().to_owned();
        used.leave();
        sweep_in(parent.path());
        assert!(path.exists());
        drop(server);
        sweep_in(parent.path());
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_is_made_again_if_it_is_swept_before_it_is_locked() {
        let parent = tempfile::tempdir().unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sweeping = || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep_in(parent.path());
                }
            };
            std::thread::Builder::new().spawn_scoped(scope, sweeping).unwrap();
            let is_made = || {
                let folder = Folder::create_in(vec![parent.path().to_owned()], &"key".into());
                folder.map(|folder| key_beside(&folder.socket()))
            };
            let wrong = (0..300).map(|_| is_made()).find(|key| *key != Ok(Some("key".into())));
            // If a panic came first, the sweeping would not end.
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(wrong, None);
        });
    }

    #[test]
    fn folders_that_cannot_be_used_are_passed_over() {
        let parent = tempfile::tempdir().unwrap();
        let good = parent.path().join("good");
        fs::create_dir(&good).unwrap();
        // The path of the socket is a little longer than its parent's.
        let room = PATH_BYTES_MAX - PREFIX.len() - 16 - SOCKET.len() - 3 - parent.path().as_os_str().len();
        let [fits, long] = [room, room + 1].map(|len| parent.path().join("x".repeat(len)));
        [&fits, &long].iter().for_each(|path| fs::create_dir(path).unwrap());
        let missing = parent.path().join("missing");
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let parent_of = |parents: &[&PathBuf]| {
            let parents = parents.iter().map(|path| (*path).clone()).collect();
            let made = Folder::create_in(parents, &Key::default());
            made.map(|folder| folder.path().parent().unwrap().to_owned())
        };
        assert_eq!(parent_of(&[&fits, &good]).unwrap(), fits);
        for bad in [&long, &missing, &file, &PathBuf::from("/proc"), &PathBuf::from("/sys")] {
            assert_eq!(parent_of(&[bad, &good]).unwrap(), good, "{bad:?}");
            assert!(parent_of(&[&good, bad]).is_ok());
            assert!(parent_of(&[bad]).is_err());
        }
        assert_eq!(fs::read_dir(&long).unwrap().count(), 0, "nothing is left there");
    }

    #[test]
    fn folders_are_looked_for_in_absolute_paths_and_at_last_in_tmp() {
        let of = |session: Option<&str>, temporary: Option<&str>| {
            parents_of([session, temporary].map(|variable| variable.map(OsString::from)))
        };
        assert_eq!(of(Some("/run/u"), Some("/var/t")), ["/run/u", "/var/t", "/tmp"].map(PathBuf::from));
        assert_eq!(of(None, None), [PathBuf::from("/tmp")]);
        assert_eq!(of(Some(""), Some("")), [PathBuf::from("/tmp")]);
        assert_eq!(of(Some("relative"), Some("./t")), [PathBuf::from("/tmp")]);
        assert_eq!(of(None, Some("/tmp")), [PathBuf::from("/tmp")]);
    }
}
