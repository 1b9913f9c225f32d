//! One process of a group, from its start until it has ended.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::OsError;
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::ready::ReadySet;
use mp_sys::signals::SIGCONT;

use crate::exit::ExitError;
use crate::group::event::Place;
use crate::running::Running;
use crate::signal::{SIGKILL, SIGTERM};

/// How long to look for the status of a worker that seems to have ended. A debugger keeps the status back.
const LOOK_MAX: Duration = Duration::from_millis(10);

/// A process of a group.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) place: Place,
    /// The number by which the group knows it.
    pub(super) number: u64,
    running: Arc<Running>,
    started: u64,
    /// When it is killed, if it was asked to end.
    kill_at: Option<Deadline>,
}

impl Worker {
    /// Takes charge of a process that was just started.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC` if it cannot be watched. It was killed then.
    pub(super) fn new(
        place: Place,
        number: u64,
        running: Arc<Running>,
        set: &ReadySet,
    ) -> Result<Self, OsError> {
        let watched = set.add(running.process.as_fd(), number);
        let worker = Self { place, number, running, started: now_nanos(), kill_at: None };
        if let Err(error) = watched {
            worker.signal(SIGKILL);
            worker.forget(set);
            return Err(error);
        }
        Ok(worker)
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.process.id()
    }

    fn signal(&self, signal: i32) {
        // It may have ended already.
        let sent = self.running.process.signal(signal);
        tracing::debug!(place = %self.place, signal, ?sent, "sent a signal to a worker of a group");
    }

    /// Asks it to end, and kills it later if it does not. A stopped worker is continued, so that it can.
    pub(super) fn ask_to_end(&mut self, grace: Duration) {
        if self.kill_at.is_none() {
            self.kill_at = Some(Deadline::after(grace));
            self.signal(SIGTERM);
            self.signal(SIGCONT);
        }
    }

    pub(super) fn kill(&self) {
        self.signal(SIGKILL);
    }

    /// Kills it if its grace period is over. Returns whether it has.
    pub(super) fn kill_late(&mut self) -> bool {
        let is_late = self.kill_at.is_some_and(Deadline::has_passed);
        if is_late {
            self.kill_at = Some(Deadline::NEVER);
            self.kill();
        }
        is_late
    }

    /// Returns how it ended, if it has.
    pub(super) fn outcome(&self) -> Option<Result<(), ExitError>> {
        match self.running.process.wait(Deadline::after(LOOK_MAX)) {
            Ok(None) => None,
            Ok(Some(_)) => Some(self.running.failure().map_or(Ok(()), Err)),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// How long it has lived.
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(now_nanos().saturating_sub(self.started))
    }

    /// When there is something to do about it, if nothing happens before.
    pub(super) fn due(&self) -> Deadline {
        self.kill_at.unwrap_or(Deadline::NEVER)
    }

    /// Gives up the process that has ended.
    pub(super) fn forget(self, set: &ReadySet) {
        // Before they are closed: a sibling that was forked has copies, and the set would keep them.
        stop_watching(set, self.running.process.as_fd());
        self.running.abandon();
    }
}

fn stop_watching(set: &ReadySet, file: impl AsFd) {
    if let Err(error) = set.remove(file) {
        tracing::warn!(%error, "a descriptor of a worker of a group is not watched");
    }
}
