//! Lock files: files whose `flock` shows that their holder lives.
//!
//! The kernel releases the lock when the holder ends, in whatever way. A process id cannot show that: ids of another PID
//! namespace mean nothing here, although both may use the same folder. A forked child does not have the lock (see
//! [`ClosedOnFork`]), so it does not keep it beyond its parent's end.
//!
//! A holder may remove its lock file. Another process may have opened the file before, and lock it afterwards, when
//! that no longer excludes anybody. So a process that has locked a file checks that the path still leads to it.
//!
//! Source: flock(2).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use mp_sys::descriptors::open;
use mp_sys::fork::{BeforeOpening, ClosedOnFork, NotTaken};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, stat};
use rustix::io::Errno;

use crate::OsError;

/// How often a lock is tried again because its file was removed meanwhile, or this process was forked.
const ATTEMPTS_MAX: usize = 100;

/// Which other locks a lock excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excludes {
    /// Those that exclude all.
    Exclusive,
    /// All.
    All,
}

/// What happens if there is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made, for its owner only.
    Make,
    /// The result is `ENOENT`.
    Fail,
}

/// A lock on a file. It ends when it is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    file: ClosedOnFork,
}

impl LockFile {
    /// Locks the file at a path, without waiting. Returns `None` if another process holds a lock that excludes this
    /// one.
    ///
    /// # Errors
    /// Those of open(2) and flock(2); `ENOLCK`, `EOPNOTSUPP` or `ENOSYS` if the file system has no locks. `ESTALE` if
    /// the file is removed again and again.
    pub(crate) fn take(path: &Path, excludes: Excludes, missing: Missing) -> Result<Option<Self>, OsError> {
        let lock = match excludes {
            Excludes::Exclusive => FlockOperation::NonBlockingLockShared,
            Excludes::All => FlockOperation::NonBlockingLockExclusive,
        };
        // Never waits for the other side of a pipe that somebody put there.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = if missing == Missing::Make { flags | OFlags::CREATE } else { flags };
        for _ in 0..ATTEMPTS_MAX {
            let before = BeforeOpening::now();
            let file = open(path, flags, Mode::RUSR | Mode::WUSR)?;
            match flock(&file, lock) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !leads_to(path, file.as_fd())? {
                continue;
            }
            match ClosedOnFork::of(file, before) {
                Ok(file) => return Ok(Some(Self { path: path.to_owned(), file })),
                // A child may have a copy of the lock.
                Err(NotTaken::Forked) => {}
                Err(NotTaken::System(error)) => return Err(error),
                Err(_) => return Err(Errno::MFILE.into()),
            }
        }
        Err(Errno::STALE.into())
    }

    /// Returns the file.
    ///
    /// # Errors
    /// `EBADF` in a forked child, which does not have the lock.
    #[cfg(feature = "server")]
    pub(crate) fn file(&self) -> Result<BorrowedFd<'_>, OsError> {
        self.file.file().map_err(|_| Errno::BADF.into())
    }

    /// Checks that the path still leads to the locked file, of which `file` is a descriptor. If somebody has removed it, another
    /// process may have a lock there.
    ///
    /// # Errors
    /// `ESTALE` if it leads elsewhere, and those of stat(2).
    #[cfg(feature = "server")]
    pub(crate) fn check(&self, file: BorrowedFd<'_>) -> Result<(), OsError> {
        if leads_to(&self.path, file)? { Ok(()) } else { Err(Errno::STALE.into()) }
    }

    /// Removes the file, and releases the lock. Does nothing in a forked child, which does not have the lock. What others
    /// have put at the path stays.
    pub(crate) fn remove(self) {
        let Ok(file) = self.file.file() else { return };
        if !leads_to(&self.path, file).unwrap_or(false) {
            tracing::debug!(path = %self.path.display(), "somebody else has removed a lock file");
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a lock file cannot be removed");
        }
    }
}

/// Returns `true` if a path leads to an open file.
fn leads_to(path: &Path, file: BorrowedFd<'_>) -> Result<bool, OsError> {
    let open = fstat(file)?;
    match stat(path) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (open.st_dev, open.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns `true` if an error says that the file system has no locks.
pub(crate) fn has_no_locks(error: OsError) -> bool {
    [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|errno| OsError::from(*errno) == error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path, excludes: Excludes) -> Result<Option<LockFile>, OsError> {
        LockFile::take(path, excludes, Missing::Make)
    }

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(
            LockFile::take(&path, Excludes::All, Missing::Fail).unwrap_err(),
            OsError::from(Errno::NOENT)
        );
        let one = take(&path, Excludes::All).unwrap().unwrap();
        assert!(take(&path, Excludes::All).unwrap().is_none());
        assert!(take(&path, Excludes::Exclusive).unwrap().is_none());
        drop(one);
        let shared = [(); 2].map(|()| take(&path, Excludes::Exclusive).unwrap().unwrap());
        assert!(take(&path, Excludes::All).unwrap().is_none());
        drop(shared);
        assert!(take(&path, Excludes::All).unwrap().is_some());
    }

    #[test]
    fn a_lock_of_a_removed_file_counts_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let one = take(&path, Excludes::All).unwrap().unwrap();
        one.remove();
        assert!(!path.exists());
        let two = take(&path, Excludes::All).unwrap().unwrap();
        assert!(path.exists() && take(&path, Excludes::All).unwrap().is_none());
        drop(two);
    }

    #[test]
    fn the_lock_file_of_another_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let one = take(&path, Excludes::All).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        let two = take(&path, Excludes::All).unwrap().unwrap();
        one.remove();
        assert!(path.exists() && take(&path, Excludes::All).unwrap().is_none());
        two.remove();
        assert!(!path.exists());
    }

    #[test]
    fn threads_that_take_and_remove_one_lock_exclude_each_other() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let holders = AtomicUsize::new(0);
        let work = || {
            let mut taken = 0;
            while taken < 300 {
                let Some(lock) = take(&path, Excludes::All).unwrap() else { continue };
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "another thread has it");
                taken += 1;
                assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                lock.remove();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                std::thread::Builder::new().spawn_scoped(scope, work).unwrap();
            }
        });
    }
}
