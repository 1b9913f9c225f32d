//! Waiting for the next event.

use std::io::ErrorKind;
use std::time::Duration;

use mio::{Events, Poll};
use mp_sys::OsError;

use super::{EVENTS_MAX, EventLoop, LOOKS_PER_POLL, own_cpu};
use crate::server::event_loop::idle::Idle;
use crate::server::peer::Read;

impl EventLoop {
    /// Waits for events: not at all while there is work, by spinning while that pays off, and otherwise in the kernel.
    /// If it returns what was read from the newest connection while spinning, the bytes are in the buffer.
    pub(super) fn wait(&mut self, events: &mut Events) -> Result<Option<(usize, Read)>, OsError> {
        let has_work = self.has_untidy
            || self.may_let_in()
            || self.state.has_new_snapshots()
            || self.saving.has_work(&self.state);
        if has_work || !self.ready.is_empty() || !self.unsettled.is_empty() {
            poll_for(&mut self.poll, events, Some(Duration::ZERO))?;
            return Ok(None);
        }
        // If the client is on the same CPU, not even one look pays off: the client could not have run.
        if (self.crowd.is_here || (self.peer_cpu != 0 && self.peer_cpu != own_cpu()))
            && let Some(caught) = self.spin(events)
        {
            return caught;
        }
        let idle = self.idle.as_ref().and_then(Idle::next_deadline);
        let saving = self.saving.next_deadline(self.state.changes());
        let next = [self.state.next_deadline(), self.arrivals.next_deadline(), idle, saving];
        let next = next.into_iter().flatten().min();
        if let Some(at) = next {
            self.alarm.set(at)?;
        }
        poll_for(&mut self.poll, events, None)?;
        Ok(None)
    }

    /// Learns of what has happened at all sockets, and does not wait.
    pub(super) fn look_once(&mut self) -> Result<(), OsError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        for _ in 0..=self.peers.len() / EVENTS_MAX {
            poll_for(&mut self.poll, &mut events, Some(Duration::ZERO))?;
            self.learn(&events);
        }
        Ok(())
    }

    /// Spins while that pays off. Most looks are at the newest connection, which saves asking for events.
    fn spin(&mut self, events: &mut Events) -> Option<Result<Option<(usize, Read)>, OsError>> {
        let Self { poll, peers, buffer, budget, looks, newest, peer_cpu, crowd, .. } = self;
        let is_crowded = crowd.is_here;
        let newest = newest.and_then(|slot| Some((slot, peers.get(slot)?)));
        let newest = newest.filter(|(_, peer)| !is_crowded && peer.is_between_turns());
        let mut seen = None;
        let look = || {
            *looks = looks.wrapping_add(1);
            if is_crowded {
                // A client that wants this CPU gets it. It sends its next call, and then sleeps.
                std::thread::yield_now();
            }
            seen = match newest {
                Some((slot, peer)) if !looks.is_multiple_of(LOOKS_PER_POLL) => match peer.read(buffer) {
                    Read::Nothing => None,
                    read => Some(Ok(Some((slot, read)))),
                },
                _ => match poll_for(poll, events, Some(Duration::ZERO)) {
                    Ok(()) if events.is_empty() => None,
                    outcome => Some(outcome.map(|()| None)),
                },
            };
            seen.is_some()
        };
        budget.spin(look, || if is_crowded { None } else { u32::from(*peer_cpu).checked_sub(1) });
        seen
    }
}

pub(super) fn poll_for(
    poll: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
) -> Result<(), OsError> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        outcome => Ok(outcome?),
    }
}
