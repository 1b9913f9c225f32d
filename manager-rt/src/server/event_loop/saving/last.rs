//! The last save of a server.
//!
//! While the server waits for the child that writes an earlier one, it runs no operation any more, but tells those that connect that it
//! ends: they would wait for it otherwise, and would not learn why. At a socket that a service manager has made, it leaves them waiting:
//! the next server accepts them.

use std::time::Duration;

use mio::Events;
use mp_sys::OsError;
use mp_sys::child::ChildProcess;
use mp_sys::deadline::{Deadline, now_nanos};

use super::EventLoop;
use crate::server::event_loop::EVENTS_MAX;
use crate::server::event_loop::waiting::poll_for;

impl EventLoop {
    /// Tells those that connect from now on that the server ends, or serves them again.
    pub(super) fn refuse_newcomers(&mut self, are_refused: bool) {
        self.arrivals.are_refused = are_refused;
        self.acceptors.leave_given(are_refused);
        // Those that were left waiting are not reported again.
        self.arrivals.may_come();
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
