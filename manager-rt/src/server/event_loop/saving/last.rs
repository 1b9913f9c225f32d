//! The last save of a server.
//!
//! A forked child writes it, as it does every other one, so that the server can answer meanwhile. It runs no operation any more, but
//! tells those that connect that it ends: they would wait for it otherwise, and would not learn why. At a socket that a service manager
//! has made, it leaves them waiting: the next server accepts them.

use std::os::fd::AsFd;
use std::time::Duration;

use mio::Events;
use mp_sys::OsError;
use mp_sys::child::ChildProcess;
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::io::Errno;
use rustix::process::Signal;

use super::{EventLoop, Present, Reason};
use crate::limits::END_TIME_MAX;
use crate::proto::Fault;
use crate::server::event_loop::EVENTS_MAX;
use crate::server::event_loop::waiting::poll_for;
use crate::server::save::outcome_of;

impl EventLoop {
    /// Tells those that connect from now on that the server ends, or serves them again.
    pub(super) fn refuse_newcomers(&mut self, are_refused: bool) {
        self.arrivals.are_refused = are_refused;
        self.acceptors.leave_given(are_refused);
        // Those that were left waiting are not reported again.
        self.arrivals.may_come();
    }

    /// Saves the objects to the file in which they are kept. If no child can do that, or it is killed, this process does.
    ///
    /// # Errors
    /// Those of the system calls; `ETIMEDOUT` at the deadline. The file is as it was before.
    pub(super) fn save_last(&mut self, deadline: Deadline) -> Result<(), OsError> {
        let Some(kept) = &mut self.saving.kept else { return Ok(()) };
        kept.claim()?;
        let Some(right) = self.saving.own_claim() else { return Ok(()) };
        let child = match self.fork_with(right, true, deadline) {
            Ok(Some(child)) => child,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "no other process can save the objects, so the server does");
                return self.save_here(deadline);
            }
        };
        let mut has_ended = self.see_off(Some(&child), deadline);
        if !has_ended {
            let killed = child.signal(Signal::KILL.as_raw());
            tracing::debug!(?killed, "the last snapshot takes too long");
            has_ended = self.see_off(Some(&child), Deadline::after(END_TIME_MAX));
        }
        if !has_ended {
            // It keeps the right, unless another one that hangs has it.
            let late = Present { child, reason: Reason::Late, until: u64::MAX, is_late: true, claim: None };
            self.saving.present.get_or_insert(late);
            return Err(Errno::TIMEDOUT.into());
        }
        let ended = child.wait(Deadline::after(Duration::ZERO)).ok().flatten();
        match outcome_of(ended) {
            Ok(()) => Ok(()),
            Err(Fault::NotSaved { errno: errno @ 1.. }) => Err(Errno::from_raw_os_error(errno).into()),
            Err(_) if deadline.has_passed() => Err(Errno::TIMEDOUT.into()),
            Err(fault) => {
                tracing::warn!(%fault, "the server saves its objects itself");
                self.save_here(deadline)
            }
        }
    }

    fn save_here(&self, deadline: Deadline) -> Result<(), OsError> {
        let right = self.saving.own_claim().ok_or(Errno::BADF)?;
        right.save(&self.state, right.lend()?.as_fd(), deadline)
    }

    /// Waits until a child has ended, or the one that writes a snapshot, for at most until the deadline. Returns `true` if it has.
    pub(super) fn see_off(&mut self, child: Option<&ChildProcess>, deadline: Deadline) -> bool {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let present = self.saving.present.as_ref().map(|present| &present.child);
            let is_over = |child: &ChildProcess, by| !matches!(child.wait(by), Ok(None));
            let Some(waited_for) = child.or(present) else { return true };
            if is_over(waited_for, Deadline::after(Duration::ZERO)) {
                self.has_saved();
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            if let Err(error) = self.hear_newcomers(&mut events, deadline) {
                tracing::error!(%error, "nobody hears that the server ends");
                let present = self.saving.present.as_ref().map(|present| &present.child);
                let Some(waited_for) = child.or(present) else { return true };
                is_over(waited_for, deadline);
            }
        }
    }

    /// Waits for something to happen, for at most until the deadline, and lets those that connect have a turn.
    pub(super) fn hear_newcomers(&mut self, events: &mut Events, deadline: Deadline) -> Result<(), OsError> {
        let next =
            self.arrivals.next_deadline().map(|at| Duration::from_nanos(at.saturating_sub(now_nanos())));
        let time = if self.may_let_in() { Duration::ZERO } else { deadline.remaining() };
        poll_for(&mut self.poll, events, Some(next.map_or(time, |next| next.min(time))))?;
        self.learn(events);
        self.let_in();
        self.close_late(now_nanos());
        self.flush_all();
        Ok(())
    }
}
