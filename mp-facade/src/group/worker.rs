//! One process of a group, from its start until it has ended.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use kernel_ipc::Descriptor;
use mp_sys::OsError;
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::ready::ReadySet;
use mp_sys::signals::SIGCONT;

use crate::exit::ExitError;
use crate::group::event::Place;
use crate::group::keep::{GROUP_SETTLING, Keep};
use crate::running::Running;
use crate::signal::{SIGKILL, SIGTERM};
use crate::stops::{CONTINUE_TIME, Excuse};

/// How long to look for the status of a worker that seems to have ended. A debugger keeps the status back.
const LOOK_MAX: Duration = Duration::from_millis(10);

/// What the group's set reports about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The worker with this number has ended.
    End(u64),
    /// It says that it is ready.
    Ready(u64),
}

impl Sign {
    fn to_word(self) -> u64 {
        match self {
            Self::End(number) => number.saturating_mul(2),
            Self::Ready(number) => number.saturating_mul(2).saturating_add(1),
        }
    }

    pub(super) fn of_word(word: u64) -> Self {
        if word.is_multiple_of(2) { Self::End(word / 2) } else { Self::Ready(word / 2) }
    }
}

/// Whether a worker is ready.
#[derive(Debug)]
enum Readiness {
    /// It counts as ready at this time, or when it has said so by the descriptor, if it has one.
    From(Deadline, Option<Descriptor>),
    /// It has had its time, and counts as ready although it has not said so.
    Late(Descriptor),
    Ready,
}

/// A process of a group.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) place: Place,
    /// The number by which the group knows it.
    pub(super) number: u64,
    running: Arc<Running>,
    readiness: Readiness,
    started: u64,
    /// When it is killed, if it was asked to end.
    kill_at: Option<Deadline>,
    /// How long it may take to become ready, or to end if it was asked to.
    time: Duration,
    /// Whether it was stopped when that time was over, and has had a moment to go on.
    had_moment: bool,
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
        ready: Option<Descriptor>,
        keep: &Keep,
        set: &ReadySet,
    ) -> Result<Self, OsError> {
        let patience = if ready.is_some() { keep.ready_timeout } else { GROUP_SETTLING };
        let watched = set.add(running.process.as_fd(), Sign::End(number).to_word());
        let watched = watched.and_then(|()| {
            ready.as_ref().map_or(Ok(()), |file| set.add(file, Sign::Ready(number).to_word()))
        });
        let readiness = Readiness::From(Deadline::after(patience), ready);
        let worker = Self {
            place,
            number,
            running,
            readiness,
            started: now_nanos(),
            kill_at: None,
            time: patience,
            had_moment: false,
        };
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
            (self.time, self.had_moment) = (grace, false);
            self.signal(SIGTERM);
            self.signal(SIGCONT);
            // It is no excuse for later that it was stopped before.
            let _before: bool = self.running.process.was_continued();
        }
    }

    /// Gives it its time again if it is late because it was stopped meanwhile.
    pub(super) fn excuse(&mut self) {
        let at = match (&mut self.kill_at, &mut self.readiness) {
            (Some(at), _) | (None, Readiness::From(at, _)) => at,
            (None, Readiness::Late(_) | Readiness::Ready) => return,
        };
        if !at.has_passed() {
            return;
        }
        match Excuse::of(&self.running.process, self.had_moment) {
            Some(Excuse::WasStopped) => *at = Deadline::after(self.time),
            Some(Excuse::IsStopped) => {
                self.had_moment = true;
                *at = Deadline::after(CONTINUE_TIME);
            }
            None if self.kill_at.is_some() => {}
            None => {
                let readiness = std::mem::replace(&mut self.readiness, Readiness::Ready);
                if let Readiness::From(_, Some(file)) = readiness {
                    self.readiness = Readiness::Late(file);
                }
            }
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

    /// Records that it has said that it is ready.
    pub(super) fn note_ready(&mut self, set: &ReadySet) {
        let before = std::mem::replace(&mut self.readiness, Readiness::Ready);
        if let Readiness::From(_, Some(file)) | Readiness::Late(file) = before {
            stop_watching(set, &file);
        }
    }

    /// Whether it has said that it is ready, or counts as ready because enough time has passed.
    pub(super) fn is_ready(&self) -> bool {
        match &self.readiness {
            Readiness::From(at, _) => at.has_passed(),
            Readiness::Late(_) | Readiness::Ready => true,
        }
    }

    /// How long it has lived.
    pub(super) fn age(&self) -> Duration {
        Duration::from_nanos(now_nanos().saturating_sub(self.started))
    }

    /// When there is something to do about it, if nothing happens before.
    pub(super) fn due(&self) -> Deadline {
        let ready_at = match &self.readiness {
            Readiness::From(at, _) if !at.has_passed() => *at,
            _ => Deadline::NEVER,
        };
        ready_at.min(self.kill_at.unwrap_or(Deadline::NEVER))
    }

    /// Gives up the process that has ended.
    pub(super) fn forget(self, set: &ReadySet) {
        // Before they are closed: a sibling that was forked has copies, and the set would keep them.
        stop_watching(set, self.running.process.as_fd());
        if let Readiness::From(_, Some(file)) | Readiness::Late(file) = &self.readiness {
            stop_watching(set, file);
        }
        self.running.abandon();
    }
}

fn stop_watching(set: &ReadySet, file: impl AsFd) {
    if let Err(error) = set.remove(file) {
        tracing::warn!(%error, "a descriptor of a worker of a group is not watched");
    }
}
