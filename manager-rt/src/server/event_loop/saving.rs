//! Snapshots while the server serves.
//!
//! A forked child has the memory of the server as it was at one moment, and writes it to the file. The server only forks, and
//! hears of the child's end. The kernel copies the pages that the server changes meanwhile.
//!
//! A child that writes to the file in which the server keeps its objects ends with the server, so that the next server can begin with
//! that file at once, even if the child is stopped or its disk is slow. One that writes to another file goes on: nobody waits for that file.
//!
//! A process with other threads cannot fork safely: a thread may hold the lock of the allocator, for example. In such a process,
//! the server writes the snapshot itself, and its clients wait.
//!
//! # Time
//! A snapshot has a limit, from the moment at which the server hears of it. The process that writes looks at the clock between two
//! blocks. One that hangs in between, because its disk does not answer, for example, is killed. The file is the previous one then, or the
//! new one if it hung after the rename, and always complete. If it does not even end by SIGKILL, the client hears that after
//! [`END_TIME_MAX`], and the next snapshots wait for its end.

mod end;
mod kept;
mod last;

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use mp_sys::OsError;
use mp_sys::child::{ChildProcess, Ended, ForkError, die_with, fork_to_write, own_pid};
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::io::Errno;
use rustix::process::Signal;

pub(in crate::server) use self::kept::Kept;
use super::{EventLoop, SAVER};
use crate::count::nanos_of;
use crate::limits::{END_TIME_MAX, SAVE_TIME_MAX};
use crate::proto::Fault;
use crate::server::event_loop::interval::Interval;
use crate::server::peer::Peer;
use crate::server::save::{Claim, Target, outcome_of};
use crate::state::{Asked, Changes, State};

/// The exit code of a child that has written its snapshot. Any other one is the error of the system.
const SAVED: i32 = 0;

/// The snapshots that clients wait for.
#[derive(Debug)]
pub(super) struct Saving {
    present: Option<Present>,
    next: VecDeque<Waiting>,
    /// How long a snapshot may take.
    pub(super) time_max: Duration,
    /// The file to which the objects are saved when the server ends.
    kept: Option<Kept>,
    /// When they are saved there besides.
    pub(super) interval: Option<Interval>,
    /// The round since which that has been due.
    pub(super) due_since: Option<u64>,
}

/// A call that waits for a snapshot.
#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// When it has waited for too long, in nanoseconds of the monotonic clock.
    until: u64,
    /// The round in which the server heard of it.
    round: u64,
    /// How many clients had ended before the call, once that is known. What they had is released first, so that what they took and
    /// did not read is not missing in the file.
    endings: Option<u64>,
}

impl Waiting {
    /// Returns `true` if everything that had to be released first is released.
    fn can_begin(&self, state: &State) -> bool {
        self.endings.is_some_and(|endings| state.has_released(endings))
    }
}

/// A snapshot that a child writes.
#[derive(Debug)]
struct Present {
    child: ChildProcess,
    reason: Reason,
    /// When it takes too long, in nanoseconds of the monotonic clock.
    until: u64,
    /// Whether the child was killed for that reason.
    is_late: bool,
    /// The right to replace the file, unless the server has that for its whole life.
    claim: Option<Claim>,
}

/// Why a snapshot is written.
#[derive(Debug)]
pub(super) enum Reason {
    /// A client has asked for it.
    Asked(Asked),
    /// An interval is over. This had happened.
    Interval { changes: Changes },
    /// Nobody hears of its end: the client has been told that it takes too long, or a newer one takes its place.
    Late,
}

impl Default for Saving {
    fn default() -> Self {
        Self {
            present: None,
            next: VecDeque::new(),
            time_max: SAVE_TIME_MAX,
            kept: None,
            interval: None,
            due_since: None,
        }
    }
}

impl Saving {
    /// Returns when a snapshot takes too long next, or another one begins. This has happened so far.
    pub(super) fn next_deadline(&self, changes: Changes) -> Option<u64> {
        let next = match &self.present {
            Some(present) => Some(present.until),
            None => self.interval.as_ref().and_then(|interval| interval.next_deadline(changes)),
        };
        next.into_iter().chain(self.next.front().map(|waiting| waiting.until)).min()
    }

    /// Takes the right to replace the file in which the objects are kept, if the server does not have it. Returns the file.
    pub(super) fn kept_path(&mut self) -> Result<Option<PathBuf>, OsError> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        kept.claim()?;
        Ok(Some(kept.path.clone()))
    }

    /// Returns the file in which the objects are kept.
    pub(super) fn kept_at(&self) -> Option<PathBuf> {
        self.kept.as_ref().map(|kept| kept.path.clone())
    }

    /// Returns `true` if the next round has something to do for a call that waits.
    pub(super) fn has_work(&self, state: &State) -> bool {
        self.next.iter().any(|waiting| waiting.endings.is_none())
            || (self.present.is_none() && self.next.front().is_some_and(|next| next.can_begin(state)))
    }

    /// Removes and returns a call that has waited for too long. The first one in the line waits for the longest.
    fn pop_late(&mut self, now: u64) -> Option<Waiting> {
        if self.next.front()?.until <= now { self.next.pop_front() } else { None }
    }

    /// Takes the right to replace a file. Returns `None` if the server keeps its objects there, and has the right for its whole
    /// life.
    fn claim(&mut self, path: &Path) -> Result<Option<Claim>, OsError> {
        let target = Target::at(path)?;
        match &mut self.kept {
            Some(kept) if kept.is_in(&target) => kept.claim().map(|_| None),
            _ => Claim::take(target).map(Some),
        }
    }

    /// Returns `true` while a child writes a snapshot.
    pub(super) const fn is_writing(&self) -> bool {
        self.present.is_some()
    }

    fn own_claim(&self) -> Option<&Claim> {
        self.kept.as_ref()?.claim.as_ref()
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(present) = self.present.take() {
            // Its child goes on writing, and needs the right.
            let own = || self.kept.take().and_then(|kept| kept.claim);
            if let Some(claim) = present.claim.or_else(own) {
                claim.leave();
            }
        }
    }
}

impl EventLoop {
    /// Saves the objects to this file when the server ends.
    pub(in crate::server) fn keep_in(&mut self, kept: Kept) {
        self.saving.kept = Some(kept);
    }

    /// Limits how long a snapshot may take.
    pub(in crate::server) const fn limit_snapshots(&mut self, time: Duration) {
        self.saving.time_max = time;
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
                let until = now_nanos().saturating_add(nanos_of(self.saving.time_max));
                let waiting = Waiting { asked, until, round: self.rounds, endings: None };
                self.saving.next.push_back(waiting);
            } else {
                self.end_snapshot(&asked, Err(Fault::Unauthorised));
            }
        }
        self.settle_snapshots();
        // Those that ask again and again do not prevent it.
        self.save_if_due();
        while self.saving.present.is_none()
            && self.saving.next.front().is_some_and(|next| next.can_begin(&self.state))
            && let Some(waiting) = self.saving.next.pop_front()
        {
            let Waiting { asked, until, .. } = waiting;
            self.begin_snapshot(&asked.path.clone(), until, Reason::Asked(asked));
        }
        self.end_late_snapshots();
    }

    /// Finds out which clients had ended before the calls for snapshots: those that are closed once the ones that had hung up by the
    /// next look at all sockets are. See [`resume`](Self::resume).
    fn settle_snapshots(&mut self) {
        let (oldest_end, endings, round) = (self.oldest_end(), self.state.endings(), self.rounds);
        for waiting in self.saving.next.iter_mut().filter(|waiting| waiting.endings.is_none()) {
            let looked_in = waiting.round.saturating_add(1);
            if looked_in <= round && looked_in < oldest_end {
                waiting.endings = Some(endings);
            }
        }
    }

    /// Ends snapshots that take too long.
    fn end_late_snapshots(&mut self) {
        let now = now_nanos();
        if self.saving.next_deadline(self.state.changes()).is_none_or(|until| now < until) {
            return;
        }
        while let Some(late) = self.saving.pop_late(now) {
            self.end_snapshot(&late.asked, outcome_of(None));
        }
        let Some(present) = self.saving.present.as_mut().filter(|present| present.until <= now) else {
            return;
        };
        if present.is_late {
            // It hangs in the kernel.
            present.until = u64::MAX;
            let reason = std::mem::replace(&mut present.reason, Reason::Late);
            self.is_over(reason, outcome_of(None));
        } else {
            let killed = present.child.signal(Signal::KILL.as_raw());
            tracing::debug!(?killed, "a snapshot takes too long");
            present.is_late = true;
            present.until = now.saturating_add(nanos_of(END_TIME_MAX));
        }
    }

    /// Begins a snapshot, or writes it if that is not possible.
    pub(super) fn begin_snapshot(&mut self, path: &Path, until: u64, reason: Reason) {
        self.flush_all();
        match self.fork_writer(path, until) {
            Ok(Some((child, claim))) => {
                self.saving.present = Some(Present { child, reason, until, is_late: false, claim });
            }
            Ok(None) => self.is_over(reason, Ok(())),
            Err(error) => self.is_over(reason, not_saved(error)),
        }
    }

    /// Tells whom it concerns how a snapshot ended.
    pub(super) fn is_over(&mut self, reason: Reason, outcome: Result<(), Fault>) {
        let is_kept = match &reason {
            Reason::Asked(asked) => self.saving.kept_at().is_some_and(|kept| kept == asked.path),
            Reason::Interval { .. } => true,
            Reason::Late => false,
        };
        if is_kept {
            self.state.save_is_over(outcome.is_ok(), now_nanos());
        }
        match reason {
            Reason::Asked(asked) => self.end_snapshot(&asked, outcome),
            Reason::Interval { changes } => self.has_saved_at_interval(changes, outcome),
            Reason::Late => {}
        }
    }

    /// Forks a child that writes a snapshot. If that is not possible, writes it, and returns `None`.
    fn fork_writer(
        &mut self,
        path: &Path,
        until: u64,
    ) -> Result<Option<(ChildProcess, Option<Claim>)>, OsError> {
        let claim = self.saving.claim(path)?;
        let deadline = Deadline::after(Duration::from_nanos(until.saturating_sub(now_nanos())));
        let right = claim.as_ref().or_else(|| self.saving.own_claim()).ok_or(Errno::BADF)?;
        let child = self.fork_with(right, claim.is_none(), deadline)?;
        Ok(child.map(|child| (child, claim)))
    }

    /// Forks a child that replaces a file, and ends with the server if the server keeps its objects there. If that is not possible,
    /// writes the file, and returns `None`.
    fn fork_with(
        &self,
        right: &Claim,
        is_kept: bool,
        deadline: Deadline,
    ) -> Result<Option<ChildProcess>, OsError> {
        // The child gets it with the fork, and keeps it until it ends.
        let lent = right.lend()?;
        let state = &self.state;
        let server = is_kept.then(own_pid);
        let write = || match ends_with(server).and_then(|()| right.save(state, lent.as_fd(), deadline)) {
            Ok(()) => SAVED,
            Err(error) => error.raw_os_error(),
        };
        let child = match fork_to_write(write) {
            Ok(child) => child,
            Err(ForkError::OtherThreads(_) | ForkError::ThreadsUnknown(_) | ForkError::GuardHeld(_)) => {
                return right.save(state, lent.as_fd(), deadline).map(|()| None);
            }
            Err(ForkError::OutOfMemory) => return Err(Errno::NOMEM.into()),
            Err(ForkError::OutOfDescriptors) => return Err(Errno::MFILE.into()),
            Err(ForkError::System(error)) => return Err(error),
            Err(_) => return Err(Errno::AGAIN.into()),
        };
        let number = child.as_fd().as_raw_fd();
        match self.poll.registry().register(&mut SourceFd(&number), SAVER, Interest::READABLE) {
            Ok(()) => Ok(Some(child)),
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
        let outcome = match ended {
            Ended::Signaled(_) if present.is_late => outcome_of(None),
            ended => outcome_of(Some(ended)),
        };
        tracing::debug!(?outcome, "a snapshot is over");
        // Whoever hears of the end can have the right.
        drop(present.claim);
        self.is_over(present.reason, outcome);
    }

    fn end_snapshot(&mut self, asked: &Asked, outcome: Result<(), Fault>) {
        self.state.snapshot_is_over(asked, outcome, now_nanos(), &mut self.effects);
        self.distribute();
    }
}

pub(super) fn not_saved(error: OsError) -> Result<(), Fault> {
    Err(Fault::NotSaved { errno: error.raw_os_error() })
}

/// Makes the kernel end this process, which was forked, with its server, if it is to end with one.
///
/// # Errors
/// `ESRCH` if the server has already ended; those of prctl(2).
fn ends_with(server: Option<u32>) -> Result<(), OsError> {
    match server.map(die_with).transpose()? {
        Some(false) => Err(Errno::SRCH.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
