//! The right to replace a file.
//!
//! # One writer
//! Whoever writes a snapshot holds a lock on a file beside the target, whose name is that of the target between `.` and
//! `.mp-lock`. A server that keeps its objects in a file holds it from before it reads the file until it has ended. So
//! two servers never keep the same file, and of two snapshots to one file the second fails.
//!
//! A process that is forked to write holds the lock as well, from the moment of the fork. So if its server is killed
//! and another one begins with the same file, the older state never replaces a newer one: nobody else can write before that
//! process has ended. It ends with its server, if the server keeps its objects in the file.
//!
//! # Which file is replaced
//! A symbolic link stays, and the file to which it leads is replaced. What is neither a file nor missing stays as it is.
//!
//! # The new file
//! It has a name that nobody can know before, and must not exist, so what somebody put there is neither followed nor used.
//! If a process is killed, its new file stays. The next one that holds the lock removes it.
//!
//! Source: flock(2), open(2) `O_EXCL`, rename(2).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::descriptors::open;
use mp_sys::handoff::nonce;
use rustix::fs::{Mode, OFlags, lstat, readlink};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::OsError;
use crate::limits::FILE_NAME_BYTES_MAX;
use crate::transport::local::{Excludes, LockFile, Missing};

/// How many symbolic links lead to a file at most, as in the kernel.
const LINKS_MAX: usize = 40;
/// The pause between two attempts to get the lock.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// How the names of new files and of lock files end.
const NEW: &str = ".mp-new";
const LOCK: &str = ".mp-lock";
/// The hexadecimal digits that nobody can know before.
const DIGITS: usize = 16;

/// The right to replace a file. The lock file is removed when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Claim {
    target: Target,
    /// It is taken out only when this is dropped.
    lock: Option<LockFile>,
}

impl Claim {
    /// Takes the right.
    ///
    /// # Errors
    /// `EBUSY` if another process has it; `EISDIR` or `EEXIST` for what is not a file; those of the system calls.
    pub(in crate::server) fn take(target: Target) -> Result<Self, OsError> {
        let lock = LockFile::take(&target.beside(LOCK), Excludes::All, Missing::Make)?;
        Ok(Self { target, lock: Some(lock.ok_or(Errno::BUSY)?) })
    }

    /// Takes the right as soon as the process that has it has ended.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(in crate::server) fn take_within(path: &Path, deadline: Deadline) -> Result<Self, OsError> {
        loop {
            match Self::take(Target::at(path)?) {
                Err(error) if error == Errno::BUSY.into() && !deadline.has_passed() => {
                    std::thread::sleep(TRY_AGAIN_AFTER.min(deadline.remaining()));
                }
                outcome => return outcome,
            }
        }
    }

    /// Returns a second descriptor of the lock, for a process that is forked while it exists: that process has the right until
    /// it ends, whatever becomes of this one.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(in crate::server) fn lend(&self) -> Result<OwnedFd, OsError> {
        let lock = self.lock.as_ref().ok_or(Errno::BADF)?;
        Ok(lock.file()?.try_clone_to_owned()?)
    }

    /// Checks that the right still excludes others: nobody has removed its lock file, of which `lent` is a descriptor.
    ///
    /// # Errors
    /// `ESTALE`, and those of stat(2).
    pub(super) fn check(&self, lent: BorrowedFd<'_>) -> Result<(), OsError> {
        self.lock.as_ref().ok_or(Errno::BADF)?.check(lent)
    }

    /// Returns the file that is replaced.
    pub(in crate::server) const fn target(&self) -> &Target {
        &self.target
    }

    /// Gives up the right, while a process to which it was lent goes on writing.
    pub(in crate::server) fn leave(mut self) {
        drop(self.lock.take());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

/// A file that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Target {
    folder: PathBuf,
    name: OsString,
}

impl Target {
    /// Finds the file to which a path leads, which may be missing.
    ///
    /// # Errors
    /// `EISDIR` or `EEXIST` for what is not a file; `ENAMETOOLONG` above [`FILE_NAME_BYTES_MAX`]; `ELOOP`; those of the system
    /// calls.
    pub(in crate::server) fn at(path: &Path) -> Result<Self, OsError> {
        let mut path = absolute(path)?;
        for _ in 0..LINKS_MAX {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(Errno::ISDIR.into());
            };
            if name.len() > FILE_NAME_BYTES_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            let found = Self { folder: fs::canonicalize(folder)?, name: name.to_owned() };
            match readlink(found.path(), Vec::new()) {
                Ok(leads_to) => path = found.folder.join(OsString::from_vec(leads_to.into_bytes())),
                Err(Errno::NOENT) => return Ok(found),
                // It is no link.
                Err(Errno::INVAL) => {
                    let kind = fs::symlink_metadata(found.path())?.file_type();
                    return match (kind.is_file(), kind.is_dir()) {
                        (true, _) => Ok(found),
                        (_, true) => Err(Errno::ISDIR.into()),
                        _ => Err(Errno::EXIST.into()),
                    };
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Returns the folder of the file.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Returns `true` if there is something that would be replaced.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub(in crate::server) fn exists(&self) -> Result<bool, OsError> {
        match lstat(self.path()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the path of a file that belongs to this one.
    fn beside(&self, end: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(end);
        self.folder.join(name)
    }

    /// Makes the file that will replace this one.
    ///
    /// # Errors
    /// Those of open(2).
    pub(super) fn make_new(&self) -> Result<(OwnedFd, PathBuf), OsError> {
        let random = nonce()?.first_chunk().copied().map_or(0, u64::from_le_bytes);
        let path = self.beside(&format!(".{random:0DIGITS$x}{NEW}"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok((open(&path, flags, Mode::RUSR | Mode::WUSR)?, path))
    }

    /// Removes what processes that were killed have left. Only for the holder of the lock.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok).filter(|entry| self.is_left(&entry.file_name())) {
            let is_own = |found: &fs::Metadata| found.is_file() && found.uid() == geteuid().as_raw();
            if entry.metadata().is_ok_and(|found| is_own(&found)) {
                let removed = fs::remove_file(entry.path());
                tracing::debug!(?removed, path = %entry.path().display(), "a killed process had left it");
            }
        }
    }

    /// Returns `true` if a file in the folder has the name of a new file.
    fn is_left(&self, name: &OsStr) -> bool {
        let name =
            name.as_bytes().strip_prefix(b".").and_then(|name| name.strip_prefix(self.name.as_bytes()));
        let digits =
            name.and_then(|name| name.strip_prefix(b".")).and_then(|name| name.strip_suffix(NEW.as_bytes()));
        digits.is_some_and(|digits| {
            digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn take(path: &Path) -> Result<Claim, OsError> {
        Claim::take(Target::at(path)?)
    }

    #[test]
    fn one_claim_excludes_another_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let claim = take(&file).unwrap();
        assert_eq!(take(&file).unwrap_err(), OsError::from(Errno::BUSY));
        let late = Claim::take_within(&file, Deadline::after(Duration::from_millis(30)));
        assert_eq!(late.unwrap_err(), OsError::from(Errno::BUSY));
        // What is lent stays.
        let lent = claim.lend().unwrap();
        claim.leave();
        assert_eq!(take(&file).unwrap_err(), OsError::from(Errno::BUSY));
        drop(lent);
        drop(take(&file).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_lead_to_the_file_that_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let found = |name: &str| Target::at(&at(name)).map(|target| target.path());
        fs::create_dir(at("inner")).unwrap();
        symlink("inner/file", at("link")).unwrap();
        symlink(at("link"), at("second")).unwrap();
        symlink("inner", at("folder")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let expected = fs::canonicalize(at("inner")).unwrap().join("file");
        for name in ["link", "second", "folder/file", "inner/file"] {
            assert_eq!(found(name), Ok(expected.clone()), "{name}, which is missing");
        }
        fs::write(&expected, "text").unwrap();
        assert_eq!(found("second"), Ok(expected));
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, errno) in [
            ("loop", Errno::LOOP),
            ("inner", Errno::ISDIR),
            ("folder", Errno::ISDIR),
            ("socket", Errno::EXIST),
            ("missing/file", Errno::NOENT),
        ] {
            assert_eq!(found(name), Err(OsError::from(errno)), "{name}");
        }
        drop(socket);
    }

    #[test]
    fn only_what_killed_processes_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::at(&folder.path().join("file")).unwrap();
        let (_file, new) = target.make_new().unwrap();
        let others =
            ["file.new", ".file.mp-new", ".file.0123456789abcdeg.mp-new", ".other.0123456789abcdef.mp-new"];
        others.iter().for_each(|name| fs::write(folder.path().join(name), "text").unwrap());
        assert_eq!(new.metadata().unwrap().mode() & 0o777, 0o600);
        target.sweep();
        assert!(!new.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), others.len());
    }

    #[test]
    fn a_name_leaves_room_for_what_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let at = |bytes: usize| Target::at(&folder.path().join("n".repeat(bytes)));
        assert!(at(FILE_NAME_BYTES_MAX).unwrap().make_new().is_ok());
        assert_eq!(at(FILE_NAME_BYTES_MAX + 1), Err(OsError::from(Errno::NAMETOOLONG)));
    }
}
