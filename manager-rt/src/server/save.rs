//! Snapshots as files.
//!
//! # How a file is replaced
//! 1. Whoever writes has the right to replace the file, which no other process has: see [`claim`].
//! 2. The snapshot is written to a new file beside the target.
//! 3. It is written through to the disk (fsync).
//! 4. It is renamed to the target, and then the folder is written through.
//!
//! A process that is killed in between, a disk that is full, or a limit for files leaves the target as it was.
//!
//! # Limits for files
//! Writing beyond `RLIMIT_FSIZE` raises SIGXFSZ, which kills the process: the server, if it writes by itself. So nothing is
//! written beyond it.
//!
//! Source: rename(2), fsync(2), setrlimit(2).

mod claim;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use mp_sys::budget::file_size_limit;
use mp_sys::child::{Ended, PANIC_EXIT_CODE};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::open;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, fsync};
use rustix::io::Errno;

pub(super) use self::claim::{Claim, Target};
use crate::OsError;
use crate::count::count_of;
use crate::proto::Fault;
use crate::state::{Limits, SnapshotFault, State};

/// How much of a file is read at once. In between, the server can be asked to end.
const READ_BYTES: usize = 1 << 16;

/// Why the objects in a file were not restored. Nothing is half restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot {} cannot be restored: {fault}", path.display())]
pub struct RestoreError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub fault: SnapshotFault,
}

impl Claim {
    /// Replaces the file by a snapshot, with what was [lent](Self::lend) for that.
    ///
    /// # Errors
    /// The file is as it was before, unless its folder cannot be written through to the disk (`EIO`). Then it is replaced, but may be the
    /// previous one again after a crash of the machine.
    ///
    /// Those of the system calls; `EFBIG` if it would be longer than a file of this process may be; `ETIMEDOUT` at the deadline;
    /// `ESTALE` if somebody has removed the lock file, so that another process may have the right.
    pub(super) fn save(
        &self,
        state: &State,
        lent: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<(), OsError> {
        self.check(lent)?;
        self.target().sweep();
        crash::point();
        // Opened first: a failure after the rename would say that the file is as it was.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(self.target().folder(), flags, Mode::empty())?;
        let (file, new) = self.target().make_new()?;
        let output = Output { file: file.as_fd(), len: 0, deadline };
        let saved = self.write(state, lent, output, &new);
        if saved.is_err() {
            let removed = std::fs::remove_file(&new);
            tracing::debug!(?removed, path = %new.display(), "a snapshot was not written");
        }
        saved?;
        crash::point();
        // Without this, the file would be complete after a crash of the machine, but might be the previous one.
        fsync(folder)?;
        crash::point();
        Ok(())
    }

    fn write(
        &self,
        state: &State,
        lent: BorrowedFd<'_>,
        mut output: Output<'_>,
        new: &Path,
    ) -> Result<(), OsError> {
        crash::point();
        state.save(&mut output)?;
        crash::point();
        fsync(output.file)?;
        crash::point();
        if output.deadline.has_passed() {
            return Err(Errno::TIMEDOUT.into());
        }
        self.check(lent)?;
        rustix::fs::rename(new, self.target().path())?;
        Ok(())
    }
}

/// A file that is written block by block.
struct Output<'f> {
    file: BorrowedFd<'f>,
    /// How many bytes were written.
    len: u64,
    deadline: Deadline,
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crash::point();
        if self.deadline.has_passed() {
            return Err(Errno::TIMEDOUT.into());
        }
        let then = self.len.saturating_add(count_of(bytes.len()));
        if file_size_limit().is_some_and(|limit| then > limit) {
            return Err(Errno::FBIG.into());
        }
        let written = rustix::io::write(self.file, bytes)?;
        self.len = self.len.saturating_add(count_of(written));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what the end of a process says about the snapshot that it should have written. It exits with the error of the system,
/// or with 0. `None` stands for a process that has not ended in time.
///
/// # Errors
/// [`Fault::NotSaved`].
pub(crate) const fn outcome_of(ended: Option<Ended>) -> Result<(), Fault> {
    let errno = match ended {
        Some(Ended::Exited(0)) => return Ok(()),
        Some(Ended::Signaled(signal)) => signal.saturating_neg(),
        Some(Ended::Exited(PANIC_EXIT_CODE) | Ended::Unknown) => 0,
        Some(Ended::Exited(errno)) => errno,
        None => Errno::TIMEDOUT.raw_os_error(),
    };
    Err(Fault::NotSaved { errno })
}

/// Makes a manager with the objects in a file.
///
/// # Errors
/// [`RestoreError`].
fn restore(limits: Limits, path: &Path, ends: &[OwnedFd]) -> Result<State, RestoreError> {
    let restored = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| SnapshotFault::System(error.into()))
        .map(|file| Input { file: file.into(), ends })
        .and_then(|input| State::restore(limits, BufReader::with_capacity(READ_BYTES, input)));
    restored.map_err(|fault| RestoreError { path: path.to_owned(), fault })
}

/// A file that is read until the server is asked to end.
struct Input<'e> {
    file: File,
    ends: &'e [OwnedFd],
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut files = vec![PollFd::new(&self.file, PollFlags::IN)];
        files.extend(self.ends.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        poll(&mut files, None)?;
        let is_asked_to_end = files.iter().skip(1).any(|end| !end.revents().is_empty());
        drop(files);
        if is_asked_to_end { Err(Errno::CANCELED.into()) } else { self.file.read(buffer) }
    }
}

/// Makes the manager with which a server begins: with the objects in the file in which it keeps them, or else in the other one.
///
/// # Errors
/// [`RestoreError`], with `ECANCELED` if one of `ends` asks the server to end meanwhile.
pub(super) fn initial(
    limits: Limits,
    from: Option<&Path>,
    keep: Option<&Path>,
    ends: &[OwnedFd],
) -> Result<State, RestoreError> {
    if let Some(path) = keep {
        match restore(limits, path, ends) {
            Err(RestoreError { fault: SnapshotFault::System(error), .. }) if error == Errno::NOENT.into() => {
            }
            outcome => return outcome,
        }
    }
    from.map_or_else(|| Ok(State::new(limits)), |path| restore(limits, path, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_once_the_lock_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, state) = (folder.path().join("file"), State::new(Limits::default()));
        let claim = Claim::take(Target::at(&file).unwrap()).unwrap();
        let lent = claim.lend().unwrap();
        let save = |claim: &Claim, lent: &OwnedFd| claim.save(&state, lent.as_fd(), Deadline::NEVER);
        assert_eq!(save(&claim, &lent), Ok(()));
        std::fs::write(&file, "newer").unwrap();
        std::fs::remove_file(folder.path().join(".file.mp-lock")).unwrap();
        let other = Claim::take(Target::at(&file).unwrap()).unwrap();
        let (_file, new) = other.target().make_new().unwrap();
        assert_eq!(save(&claim, &lent), Err(Errno::STALE.into()));
        assert!(new.exists(), "what the other one writes stays");
        drop(claim);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "newer");
        assert_eq!(save(&other, &other.lend().unwrap()), Ok(()), "its lock file is still there");
        drop(other);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_cause_is_that_of_the_end() {
        let text = |ended| outcome_of(ended).unwrap_err().to_string();
        assert_eq!(outcome_of(Some(Ended::Exited(0))), Ok(()));
        assert!(text(Some(Ended::Exited(Errno::NOSPC.raw_os_error()))).contains("No space left"));
        assert!(text(Some(Ended::Signaled(9))).ends_with("was killed by signal 9"));
        for unknown in [Ended::Exited(PANIC_EXIT_CODE), Ended::Unknown] {
            assert!(text(Some(unknown)).ends_with("ended early"), "a panic is no error of the network");
        }
        assert!(text(None).contains("timed out"), "{}", text(None));
    }
}
