//! Snapshots while the server serves.
//!
//! A forked child has the memory of the server as it was at one moment, and writes it to the file. The server only forks, and
//! hears of the child's end. The kernel copies the pages that the server changes meanwhile.
//!
//! A process with other threads cannot fork safely: a thread may hold the lock of the allocator, for example. In such a process,
//! the server writes the snapshot itself, and its clients wait.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use mp_sys::OsError;
use mp_sys::child::{ChildProcess, Ended, ForkError, fork_to_write};
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::io::Errno;
use rustix::process::Signal;

use super::{EventLoop, SAVER};
use crate::limits::{END_TIME_MAX, SAVE_TIME_MAX};
use crate::proto::Fault;
use crate::server::peer::Peer;
use crate::server::save::{Claim, Target, outcome_of};
use crate::state::Asked;

/// The exit code of a child that has written its snapshot. Any other one is the error of the system.
const SAVED: i32 = 0;

/// The snapshots that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Saving {
    present: Option<Present>,
    next: VecDeque<Asked>,
    /// The file to which the objects are saved when the server ends.
    kept: Option<Kept>,
}

/// A snapshot that a child writes.
#[derive(Debug)]
struct Present {
    child: ChildProcess,
    asked: Asked,
    /// The right to replace the file, unless the server has that for its whole life.
    claim: Option<Claim>,
}

/// A file in which a server keeps its objects.
#[derive(Debug)]
pub(in crate::server) struct Kept {
    pub(in crate::server) path: PathBuf,
    /// `None` as long as the right cannot be had, for want of the folder, for example.
    pub(in crate::server) claim: Option<Claim>,
}

impl Kept {
    fn claim(&mut self) -> Result<&Claim, OsError> {
        match &mut self.claim {
            Some(claim) => Ok(claim),
            none => Ok(none.insert(Claim::take(Target::at(&self.path)?)?)),
        }
    }
}

impl Saving {
    /// Takes the right to replace a file. Returns `None` if the server keeps its objects there, and has the right already.
    fn claim(&self, path: &Path) -> Result<Option<Claim>, OsError> {
        let target = Target::at(path)?;
        match self.own_claim() {
            Some(own) if *own.target() == target => Ok(None),
            _ => Claim::take(target).map(Some),
        }
    }

    fn own_claim(&self) -> Option<&Claim> {
        self.kept.as_ref()?.claim.as_ref()
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(present) = self.present.take() {
            // Its child goes on writing, and needs the right.
            let own = self.kept.take().and_then(|kept| kept.claim);
            present.claim.into_iter().chain(own).for_each(Claim::leave);
        }
    }
}

impl EventLoop {
    /// Saves the objects to this file when the server ends.
    pub(in crate::server) fn keep_in(&mut self, kept: Kept) {
        self.saving.kept = Some(kept);
    }

    /// Begins what clients have asked for.
    pub(super) fn begin_snapshots(&mut self) {
        for asked in self.state.take_snapshots() {
            // Nobody on another host decides what is written to the files of this one. A client that has left meanwhile may have been
            // one, and another client may have its place.
            let slot = self.slots.get(asked.client.slot()).copied();
            let peer = slot.and_then(|slot| self.peers.get(slot));
            let is_here = |peer: &Peer| peer.client() == Some(asked.client) && !peer.is_remote();
            if peer.is_some_and(is_here) {
                self.saving.next.push_back(asked);
            } else {
                self.end_snapshot(&asked, Err(Fault::Unauthorised));
            }
        }
        while self.saving.present.is_none()
            && let Some(asked) = self.saving.next.pop_front()
        {
            match self.begin_snapshot(&asked.path) {
                Ok(Some((child, claim))) => self.saving.present = Some(Present { child, asked, claim }),
                Ok(None) => self.end_snapshot(&asked, Ok(())),
                Err(error) => self.end_snapshot(&asked, not_saved(error)),
            }
        }
    }

    /// Forks a child that writes a snapshot. If that is not possible, writes it, and returns `None`.
    fn begin_snapshot(&self, path: &Path) -> Result<Option<(ChildProcess, Option<Claim>)>, OsError> {
        let claim = self.saving.claim(path)?;
        let right = claim.as_ref().or_else(|| self.saving.own_claim()).ok_or(Errno::BADF)?;
        // The child gets it with the fork, and keeps it until it ends.
        let lent = right.lend()?;
        let state = &self.state;
        let write = || match right.save(state) {
            Ok(()) => SAVED,
            Err(error) => error.raw_os_error(),
        };
        let forked = fork_to_write(write);
        drop(lent);
        let child = match forked {
            Ok(child) => child,
            Err(ForkError::OtherThreads(_) | ForkError::ThreadsUnknown(_) | ForkError::GuardHeld(_)) => {
                return right.save(state).map(|()| None);
            }
            Err(ForkError::OutOfMemory) => return Err(Errno::NOMEM.into()),
            Err(ForkError::OutOfDescriptors) => return Err(Errno::MFILE.into()),
            Err(ForkError::System(error)) => return Err(error),
            Err(_) => return Err(Errno::AGAIN.into()),
        };
        let number = child.as_fd().as_raw_fd();
        match self.poll.registry().register(&mut SourceFd(&number), SAVER, Interest::READABLE) {
            Ok(()) => Ok(Some((child, claim))),
            Err(error) => {
                // Nobody would hear of its end.
                let killed = child.signal(Signal::KILL.as_raw());
                let ended = child.wait(Deadline::after(END_TIME_MAX));
                tracing::debug!(?killed, ?ended, "the process that writes a snapshot cannot be watched");
                Err(error.into())
            }
        }
    }

    /// Handles the end of the child that has written a snapshot.
    pub(super) fn has_saved(&mut self) {
        let Some(present) = self.saving.present.take() else { return };
        let ended = match present.child.wait(Deadline::after(Duration::ZERO)) {
            Ok(None) => {
                self.saving.present = Some(present);
                return;
            }
            Ok(Some(ended)) => ended,
            Err(_) => Ended::Unknown,
        };
        let number = present.child.as_fd().as_raw_fd();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&number)) {
            tracing::debug!(%error, "the process that writes a snapshot was not watched");
        }
        let outcome = outcome_of(Some(ended));
        tracing::debug!(?outcome, path = %present.asked.path.display(), "a snapshot is over");
        // Whoever hears of the end can have the right.
        drop(present.claim);
        self.end_snapshot(&present.asked, outcome);
    }

    fn end_snapshot(&mut self, asked: &Asked, outcome: Result<(), Fault>) {
        self.state.snapshot_is_over(asked, outcome, now_nanos(), &mut self.effects);
        self.distribute();
    }

    /// Saves the objects at the end, if that was asked for.
    ///
    /// # Errors
    /// Those of the system calls. The file is as it was before.
    pub(super) fn save_at_end(&mut self) -> Result<(), OsError> {
        if self.saving.kept.is_none() {
            return Ok(());
        }
        let saved = self.end_present().and_then(|()| match &mut self.saving.kept {
            Some(kept) => kept.claim()?.save(&self.state),
            None => Ok(()),
        });
        if let (Err(error), Some(kept)) = (saved, &self.saving.kept) {
            tracing::error!(%error, path = %kept.path.display(), "the objects cannot be saved");
        }
        saved
    }

    /// Waits for the child that writes a snapshot: it may be writing to the same file, and what it writes is older.
    ///
    /// # Errors
    /// `ETIMEDOUT` if the child does not even end by SIGKILL.
    fn end_present(&mut self) -> Result<(), OsError> {
        let Some(present) = &self.saving.present else { return Ok(()) };
        let has_ended = |time| !matches!(present.child.wait(Deadline::after(time)), Ok(None));
        if !has_ended(SAVE_TIME_MAX) {
            let killed = present.child.signal(Signal::KILL.as_raw());
            tracing::warn!(?killed, "the last snapshot took too long");
            if !has_ended(END_TIME_MAX) {
                return Err(Errno::TIMEDOUT.into());
            }
        }
        self.has_saved();
        Ok(())
    }
}

fn not_saved(error: OsError) -> Result<(), Fault> {
    Err(Fault::NotSaved { errno: error.raw_os_error() })
}
