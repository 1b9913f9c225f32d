//! The end of a server that keeps its objects: nothing that was on its way to a client is missing in the file.

use std::time::Duration;

use mp_sys::OsError;
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::io::Errno;
use rustix::process::Signal;

use super::{EventLoop, Reason, Waiting, not_saved};
use crate::limits::END_TIME_MAX;
use crate::server::event_loop::turn::Unsettled;
use crate::server::peer::Peer;
use crate::state::Activity;

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
        self.refuse_newcomers(true);
        let is_free = self.end_present(time.checked_div(2).unwrap_or_default());
        self.take_back_unread(deadline);
        let saved = is_free.and_then(|()| self.save_last(deadline));
        // If it would only end for want of clients, and could not save, the server goes on.
        self.refuse_newcomers(false);
        saved
    }

    /// Waits for the child that writes to the file in which the objects are kept, for at most this time: what it writes is older
    /// than what follows. If nobody waits for it, it is killed at once. One that writes to another file goes on, whatever
    /// becomes of the server.
    ///
    /// # Errors
    /// `ETIMEDOUT` if the child does not even end by SIGKILL.
    fn end_present(&mut self, time: Duration) -> Result<(), OsError> {
        let Some(present) = self.saving.present.as_ref().filter(|present| present.claim.is_none()) else {
            return Ok(());
        };
        let is_awaited = matches!(present.reason, Reason::Asked(_)) && !present.is_late;
        if is_awaited && self.see_off(None, Deadline::after(time)) {
            return Ok(());
        }
        if let Some(present) = &mut self.saving.present {
            let killed = present.child.signal(Signal::KILL.as_raw());
            tracing::debug!(?killed, "a newer snapshot takes the place of the last one");
            if matches!(present.reason, Reason::Interval { .. }) {
                present.reason = Reason::Late;
            }
            present.is_late = true;
        }
        if self.see_off(None, Deadline::after(END_TIME_MAX)) { Ok(()) } else { Err(Errno::TIMEDOUT.into()) }
    }

    /// Takes back what clients were granted and have not read: those that have hung up, and those to which an answer is not
    /// completely written. All connections end now, and nobody else would read it.
    fn take_back_unread(&mut self, deadline: Deadline) {
        if let Err(error) = self.look_once() {
            tracing::error!(%error, "it is not known who has hung up");
        }
        self.hear_to_the_end(deadline);
        loop {
            let slots = self.flush_and_find_unread();
            for slot in &slots {
                self.close(*slot, false);
            }
            let endings = self.state.endings();
            while !self.state.has_released(endings) && self.state.tidy(&mut self.effects) {
                self.distribute();
            }
            // What was taken back may be granted to others.
            if slots.is_empty() && self.dirty.is_empty() {
                return;
            }
        }
    }

    /// Reads what clients that have hung up had sent, which ends with their ends: it says what they have read.
    fn hear_to_the_end(&mut self, deadline: Deadline) {
        while !deadline.has_passed() {
            let is_over = |slot: usize| self.peers.get(slot).is_some_and(|peer| peer.hung_up_in.is_some());
            let is_unsettled = |waits: &Unsettled| is_over(waits.slot);
            let ready = self.ready.iter().position(|slot| is_over(*slot));
            let (ended, others): (Vec<_>, Vec<_>) =
                self.unsettled.iter().partition(|waits| is_unsettled(waits));
            if ready.is_none() && ended.is_empty() {
                return;
            }
            self.unsettled = others;
            if let Some(slot) = ready.and_then(|at| self.ready.remove(at)) {
                self.turn(slot, None);
            }
            self.resume(ended);
        }
    }

    /// Writes all pending answers, and returns the connections of the clients that nevertheless have not got all.
    fn flush_and_find_unread(&mut self) -> Vec<usize> {
        self.flush_all();
        let has_unread = |peer: &Peer| !peer.outbound.is_empty() || peer.hung_up_in.is_some();
        // Those that only look have taken nothing, and stay if the server goes on.
        let found = self.peers.iter().filter(|(_, peer)| {
            peer.client().is_some() && has_unread(peer) && self.activity_of(peer) != Activity::Looks
        });
        let mut slots: Vec<usize> = found.map(|(slot, _)| slot).collect();
        slots.retain(|slot| !self.write_all(*slot));
        slots
    }

    /// Writes as much as the socket takes. Returns `true` if that is everything, and the client may read it.
    fn write_all(&mut self, slot: usize) -> bool {
        loop {
            let Some(before) = self.peers.get(slot).map(|peer| peer.outbound.len()) else { return true };
            // A connection between hosts writes only a little at a time.
            self.write(slot);
            let Some(peer) = self.peers.get(slot) else { return true };
            if peer.outbound.len() == before || peer.outbound.is_empty() {
                return peer.outbound.is_empty() && peer.hung_up_in.is_none();
            }
        }
    }
}
