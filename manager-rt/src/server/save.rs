//! Snapshots as files.
//!
//! # How a file is replaced
//! 1. The snapshot is written to a file beside the target, with `.new` at the end of its name, and this process holds a lock
//!    on it. So two snapshots to one target do not mix. A file that a killed process left is used again.
//! 2. It is written through to the disk (fsync).
//! 3. It is renamed to the target, and then the folder is written through.
//!
//! A process that is killed in between, or a disk that is full, leaves the target as it was.
//!
//! Source: rename(2), fsync(2).

use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use mp_sys::crash;
use mp_sys::descriptors::open;
use rustix::fs::{Mode, OFlags, fsync, ftruncate};
use rustix::io::Errno;

use crate::OsError;
use crate::state::{Limits, SnapshotFault, State};
use crate::transport::local::{Excludes, LockFile, Missing};

/// Why the objects in a file were not restored. Nothing is half restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot {} cannot be restored: {fault}", path.display())]
pub struct RestoreError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub fault: SnapshotFault,
}

/// Replaces a file by a snapshot.
///
/// # Errors
/// Those of the system calls; `EBUSY` if another process is writing a snapshot to this file.
pub(super) fn save(state: &State, path: &Path) -> Result<(), OsError> {
    let folder = path.parent().ok_or(Errno::INVAL)?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let mut new = OsString::from(name);
    new.push(".new");
    let new = folder.join(new);
    let lock = LockFile::take(&new, Excludes::All, Missing::Make)?.ok_or(Errno::BUSY)?;
    crash::point();
    let saved = write(state, &lock, path);
    if saved.is_err() {
        lock.remove();
    }
    saved?;
    crash::point();
    // Without this, the file would be complete after a crash of the machine, but might be the previous one.
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fsync(&folder)?;
    crash::point();
    Ok(())
}

fn write(state: &State, lock: &LockFile, path: &Path) -> Result<(), OsError> {
    let file = lock.file()?;
    ftruncate(file, 0)?;
    crash::point();
    state.save(&mut Target(file))?;
    crash::point();
    fsync(file)?;
    crash::point();
    rustix::fs::rename(lock.path(), path)?;
    Ok(())
}

/// A file that is written block by block.
struct Target<'f>(std::os::fd::BorrowedFd<'f>);

impl std::io::Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        crash::point();
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Makes a manager with the objects in a file.
///
/// # Errors
/// [`RestoreError`].
pub(super) fn restore(limits: Limits, path: &Path) -> Result<State, RestoreError> {
    let restored = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| SnapshotFault::System(error.into()))
        .and_then(|file| State::restore(limits, BufReader::new(File::from(file))));
    restored.map_err(|fault| RestoreError { path: path.to_owned(), fault })
}
