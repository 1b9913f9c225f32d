//! The files behind the names: which are held, and which no process holds any more.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, linkat, stat, unlink,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::deadline::Deadline;
use crate::descriptors::open;
use crate::memory::Mapping;
use crate::named::{MAGIC, NameError, header, key_of};

/// The most bytes of a name: a file name has at most 255, and this crate adds 3.
pub const NAME_BYTES_MAX: usize = 252;
pub(super) const FOLDER: &str = "/dev/shm";
const PREFIX: &str = "mp.";
/// The longest wait for a sweeper, which holds its exclusive lock for only a few system calls.
const SWEEPER_TIME_MAX: Duration = Duration::from_secs(5);

/// The file of a name.
pub(super) fn path_of(name: &str) -> Result<PathBuf, NameError> {
    let bad =
        name.is_empty() || name.len() > NAME_BYTES_MAX || name.bytes().any(|byte| byte == b'/' || byte == 0);
    if bad { Err(NameError::BadName) } else { Ok(Path::new(FOLDER).join(format!("{PREFIX}{name}"))) }
}

/// The name of a mapped file. Dropping it removes the name, if no process holds the file any more.
///
/// The mapping of the file owns it, and a process maps a file only once. So whichever handle is the last one, the name
/// is checked once, after the file was closed.
#[derive(Debug)]
pub(crate) struct FileName {
    path: PathBuf,
    /// Device and inode, because the name may lead to another file by then.
    file: (u64, u64),
}

impl FileName {
    pub(super) fn of(path: PathBuf, mapping: &Mapping) -> Result<Self, Errno> {
        Ok(Self { path, file: key_of(&fstat(mapping.as_fd())?) })
    }

    /// Makes the drop do nothing from now on.
    pub(crate) fn forget(&mut self) {
        self.path.clear();
    }
}

impl Drop for FileName {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove_if_unheld(&self.path, |found| key_of(found) == self.file);
        }
    }
}

/// Gives the file its name, which no other process may hold.
pub(super) fn publish(mapping: &Mapping, path: &Path) -> Result<(), NameError> {
    let deadline = Deadline::after(SWEEPER_TIME_MAX);
    loop {
        match link(mapping.as_fd(), path) {
            Ok(()) => return Ok(()),
            // The check removes a name that killed processes left, and then the name is free.
            Err(Errno::EXIST) if !deadline.has_passed() => match open_held(path) {
                Ok(_) => return Err(NameError::Exists),
                Err(NameError::NotFound) => {}
                // The file belongs to another program, or to another user.
                Err(NameError::WrongVersion) => return Err(NameError::Exists),
                Err(other) => return Err(other),
            },
            // The folder existed when the file was made.
            Err(Errno::NOENT) => return Err(NameError::NoProc),
            Err(other) => return Err(other.into()),
        }
    }
}

/// Links a file that has no name: through /proc, or by its descriptor if /proc is missing and the kernel permits that.
fn link(file: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::NOENT) => linkat(file, "", CWD, path, AtFlags::EMPTY_PATH),
        outcome => outcome,
    }
}

/// Opens a file that only this user can have made and changed. Every user can make files in /dev/shm, and a mutex that
/// another user forged could lead the C library anywhere.
pub(super) fn open_own(path: &Path) -> Result<File, NameError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty())?;
    let found = fstat(&file)?;
    let is_regular = FileType::from_raw_mode(found.st_mode).is_file();
    let others = Mode::RWXG | Mode::RWXO;
    let is_private =
        found.st_uid == geteuid().as_raw() && !Mode::from_raw_mode(found.st_mode).intersects(others);
    if !is_regular || !is_private {
        return Err(NameError::PermissionDenied);
    }
    let file = File::from(file);
    // A segment gets its header before its name. A file of another program is neither used nor removed.
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if u64::from_ne_bytes(magic) == MAGIC => Ok(file),
        _ => Err(NameError::WrongVersion),
    }
}

/// Opens a file that a process holds, and holds it as well.
pub(super) fn open_held(path: &Path) -> Result<OwnedFd, NameError> {
    let deadline = Deadline::after(SWEEPER_TIME_MAX);
    loop {
        let file = open_own(path)?;
        crate::crash::point();
        let is_unheld = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        crate::crash::point();
        if is_unheld && !header::is_persistent(&file) {
            // No process holds it, so killed processes left it. (A creator holds its file from the start.)
            unlink_same(path, &file);
            crate::crash::point();
            return Err(NameError::NotFound);
        }
        // For a name that stays, this also replaces the exclusive lock. Another process may come in between, as before.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            // Between opening and holding, the last holder may have removed it, and a process may have made another one.
            Ok(()) if is_named(path, file.as_fd()) => return Ok(file.into()),
            Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) if !deadline.has_passed() => {
                std::thread::yield_now();
            }
            Ok(()) => return Err(NameError::NotFound),
            Err(other) => return Err(other.into()),
        }
    }
}

pub(super) fn same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether the name still leads to this file.
pub(super) fn is_named(path: &Path, file: BorrowedFd<'_>) -> bool {
    matches!((stat(path), fstat(file)), (Ok(named), Ok(own)) if same_file(&named, &own) && own.st_nlink > 0)
}

/// Removes the name if it leads to this file, which the caller holds exclusively.
fn unlink_same(path: &Path, file: &File) {
    if is_named(path, file.as_fd())
        && let Err(error) = unlink(path)
    {
        tracing::debug!(%error, ?path, "a name that nobody uses stays");
    }
}

/// Removes the name of a file that the caller holds.
pub(super) fn remove_name_of(path: &Path, file: BorrowedFd<'_>) -> Result<(), NameError> {
    if !is_named(path, file) {
        return Err(NameError::NotFound);
    }
    Ok(unlink(path)?)
}

/// Removes a name that no process holds and that does not stay, if it leads to the file that the caller means.
pub(super) fn remove_if_unheld(path: &Path, means: impl Fn(&Stat) -> bool) {
    let Ok(file) = open_own(path) else {
        return;
    };
    let meant = fstat(&file).is_ok_and(|found| means(&found));
    let is_unheld = meant && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
    crate::crash::point();
    // A process that makes the name stay holds the file meanwhile.
    if is_unheld && !header::is_persistent(&file) {
        unlink_same(path, &file);
    }
}

/// Removes every name that no process holds and that does not stay: the names that killed processes left.
pub fn sweep() {
    for name in names() {
        remove_if_unheld(&Path::new(FOLDER).join(format!("{PREFIX}{name}")), |_| true);
    }
}

/// Returns all names that were given, whether a process holds them or not.
#[must_use]
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let name =
        |file: &OsStr| Some(std::str::from_utf8(file.as_bytes()).ok()?.strip_prefix(PREFIX)?.to_owned());
    entries.flatten().filter_map(|entry| name(&entry.file_name())).collect()
}

/// Removes a name at once. Processes that hold the segment keep it, but no process can open it any more.
///
/// # Errors
/// [`NameError::NotFound`], [`NameError::BadName`], [`NameError::PermissionDenied`].
pub fn unlink_name(name: &str) -> Result<(), NameError> {
    let path = path_of(name)?;
    // This returns NotFound for a leftover, and removes it.
    drop(open_held(&path)?);
    Ok(unlink(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_limit_and_one_above() {
        assert!(path_of(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        assert_eq!(path_of(&"n".repeat(NAME_BYTES_MAX + 1)), Err(NameError::BadName));
        for bad in ["", "/", "a/b", "a\0b"] {
            assert_eq!(path_of(bad), Err(NameError::BadName), "{bad:?}");
        }
    }
}
