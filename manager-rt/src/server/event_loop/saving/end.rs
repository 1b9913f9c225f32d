//! The end of a server that keeps its objects.

use std::os::fd::AsFd;
use std::time::Duration;

use mp_sys::OsError;
use mp_sys::child::ChildProcess;
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::io::Errno;
use rustix::process::Signal;

use super::{EventLoop, Reason, Waiting, not_saved};
use crate::limits::END_TIME_MAX;

impl EventLoop {
    /// Tells those that have asked for the end of the server whether its objects are saved.
    pub(in crate::server::event_loop) fn answer_ends(&mut self, saved: Result<(), OsError>) {
        let outcome = saved.or_else(not_saved);
        self.state.end_is_over(outcome, now_nanos(), &mut self.effects);
        self.distribute();
        self.flush_all();
    }

    /// Saves the objects at the end, if that was asked for. Snapshots that have not begun are not written.
    ///
    /// # Errors
    /// Those of the system calls. The file is as it was before.
    pub(in crate::server::event_loop) fn save_at_end(&mut self) -> Result<(), OsError> {
        while let Some(Waiting { asked, .. }) = self.saving.next.pop_front() {
            self.end_snapshot(&asked, not_saved(Errno::CANCELED.into()));
        }
        if self.saving.kept.is_none() {
            self.flush_all();
            return Ok(());
        }
        let time = self.saving.time_max;
        let deadline = Deadline::after(time);
        let is_free = self.end_present(time.checked_div(2).unwrap_or_default());
        let endings = self.state.endings();
        while !self.state.has_released(endings) && self.state.tidy(&mut self.effects) {
            self.distribute();
        }
        self.flush_all();
        is_free.and_then(|()| match &mut self.saving.kept {
            Some(kept) => {
                let claim = kept.claim()?;
                claim.save(&self.state, claim.lend()?.as_fd(), deadline)
            }
            None => Ok(()),
        })
    }

    /// Waits for the child that writes to the file in which the objects are kept, for at most this time: what it writes is older
    /// than what follows. If nobody waits for it, it is killed at once. One that writes to another file goes on, whatever
    /// becomes of the server.
    ///
    /// # Errors
    /// `ETIMEDOUT` if the child does not even end by SIGKILL.
    fn end_present(&mut self, time: Duration) -> Result<(), OsError> {
        let Some(present) = self.saving.present.as_mut().filter(|present| present.claim.is_none()) else {
            return Ok(());
        };
        let has_ended = |child: &ChildProcess, time| !matches!(child.wait(Deadline::after(time)), Ok(None));
        let is_awaited = matches!(present.reason, Reason::Asked(_)) && !present.is_late;
        if !(is_awaited && has_ended(&present.child, time)) {
            let killed = present.child.signal(Signal::KILL.as_raw());
            tracing::debug!(?killed, "a newer snapshot takes the place of the last one");
            if matches!(present.reason, Reason::Interval { .. }) {
                present.reason = Reason::Late;
            }
            present.is_late = true;
            if !has_ended(&present.child, END_TIME_MAX) {
                return Err(Errno::TIMEDOUT.into());
            }
        }
        self.has_saved();
        Ok(())
    }
}
