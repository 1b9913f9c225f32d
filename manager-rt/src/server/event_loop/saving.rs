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

use super::{EventLoop, SAVER};
use crate::limits::SAVE_TIME_MAX;
use crate::proto::Fault;
use crate::server::peer::Peer;
use crate::server::save::{outcome_of, save};
use crate::state::Asked;

/// The exit code of a child that has written its snapshot. Any other one is the error of the system.
const SAVED: i32 = 0;

/// The snapshots that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// The one that is being written.
    present: Option<(ChildProcess, Asked)>,
    next: VecDeque<Asked>,
    /// The file to which the objects are saved when the server ends.
    pub(super) at_end: Option<PathBuf>,
}

impl EventLoop {
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
            let (state, path) = (&self.state, &asked.path);
            let write = || match save(state, path) {
                Ok(()) => SAVED,
                Err(error) => error.raw_os_error(),
            };
            let begun = fork_to_write(write).map_err(|error| match error {
                ForkError::OtherThreads(_) | ForkError::ThreadsUnknown(_) | ForkError::GuardHeld(_) => {
                    save(state, path).err()
                }
                ForkError::OutOfMemory => Some(Errno::NOMEM.into()),
                ForkError::OutOfDescriptors => Some(Errno::MFILE.into()),
                ForkError::System(error) => Some(error),
                _ => Some(Errno::AGAIN.into()),
            });
            let begun = begun.and_then(|child| match self.watch(&child) {
                Ok(()) => Ok(child),
                Err(error) => Err(Some(error)),
            });
            match begun {
                Ok(child) => self.saving.present = Some((child, asked)),
                Err(error) => self.end_snapshot(&asked, error.map_or(Ok(()), not_saved)),
            }
        }
    }

    fn watch(&self, child: &ChildProcess) -> Result<(), OsError> {
        let number = child.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&number), SAVER, Interest::READABLE)?;
        Ok(())
    }

    /// Handles the end of the child that has written a snapshot.
    pub(super) fn has_saved(&mut self) {
        let Some((child, asked)) = self.saving.present.take() else { return };
        let ended = match child.wait(Deadline::after(Duration::ZERO)) {
            Ok(None) => {
                self.saving.present = Some((child, asked));
                return;
            }
            Ok(Some(ended)) => ended,
            Err(_) => Ended::Unknown,
        };
        let number = child.as_fd().as_raw_fd();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&number)) {
            tracing::debug!(%error, "the process that writes a snapshot was not watched");
        }
        let outcome = outcome_of(Some(ended));
        tracing::debug!(?outcome, path = %asked.path.display(), "a snapshot is over");
        self.end_snapshot(&asked, outcome);
    }

    fn end_snapshot(&mut self, asked: &Asked, outcome: Result<(), Fault>) {
        self.state.snapshot_is_over(asked, outcome, now_nanos(), &mut self.effects);
        self.distribute();
    }

    /// Saves the objects at the end, if that was asked for.
    ///
    /// # Errors
    /// Those of the system calls. The file is as it was before.
    pub(super) fn save_at_end(&self) -> Result<(), OsError> {
        let Some(path) = &self.saving.at_end else { return Ok(()) };
        if let Some((child, _)) = &self.saving.present {
            // It may be writing to the same file, and what it writes is older.
            let ended = child.wait(Deadline::after(SAVE_TIME_MAX));
            tracing::debug!(?ended, "the last snapshot is over");
        }
        save(&self.state, path).inspect_err(|error| cannot_save(path, *error))
    }
}

fn cannot_save(path: &Path, error: OsError) {
    tracing::error!(%error, path = %path.display(), "the objects cannot be saved");
}

fn not_saved(error: OsError) -> Result<(), Fault> {
    Err(Fault::NotSaved { errno: error.raw_os_error() })
}
