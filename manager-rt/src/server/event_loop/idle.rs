//! When a server without clients ends.
//!
//! A client that only looks at what the server does is none here: a page that somebody has left open, or a Prometheus that asks every few
//! seconds, would keep the server for ever. What a new connection is for shows in its first calls. Until then, the server
//! waits, and the time goes on.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use super::EventLoop;
use crate::count::nanos_of;
use crate::limits::CONNECT_TIME_DEFAULT;
use crate::server::peer::{Peer, Phase};
use crate::state::Activity;

/// How long the server may be without a connection. Moments are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Idle {
    after: u64,
    /// The moment at which the server ends if it has no connection by then.
    ends_at: Option<u64>,
    /// Whether it waits until it is clear what a connection is for.
    is_held: bool,
}

/// Who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nobody, or clients that only look.
    Nobody,
    /// Connections that may become clients, or have done nothing yet.
    Strangers,
    /// A client.
    Clients,
}

impl Idle {
    /// Begins now. Whoever started the server has time to connect.
    pub(super) fn new(after: Duration, now: u64) -> Self {
        let first = nanos_of(after.max(CONNECT_TIME_DEFAULT));
        Self { after: nanos_of(after), ends_at: Some(now.saturating_add(first)), is_held: false }
    }

    /// Takes note of who is connected at a moment. Returns `true` if there has been no client for too long.
    pub(super) fn is_over(&mut self, now: u64, presence: Presence) -> bool {
        self.is_held = presence == Presence::Strangers;
        match presence {
            Presence::Clients => {
                self.ends_at = None;
                false
            }
            Presence::Strangers => false,
            Presence::Nobody => now >= *self.ends_at.get_or_insert_with(|| now.saturating_add(self.after)),
        }
    }

    /// Takes note of the end of a connection that has not only looked.
    pub(super) const fn has_left(&mut self) {
        self.ends_at = None;
    }

    /// Begins again, since the server could not end.
    pub(super) const fn begin_again(&mut self, now: u64) {
        self.ends_at = Some(now.saturating_add(self.after));
    }

    /// Returns when to look again.
    pub(super) const fn next_deadline(&self) -> Option<u64> {
        if self.is_held { None } else { self.ends_at }
    }
}

impl EventLoop {
    /// Ends the server when there has been no connection for this time.
    pub(in crate::server) fn end_when_idle(&mut self, after: Duration) {
        self.idle = Some(Idle::new(after, now_nanos()));
    }

    /// Ends the server if there has been no connection for too long. If the objects cannot be saved, it goes on for as long
    /// again, and then tries once more.
    pub(super) fn end_if_idle(&mut self) {
        if self.idle.is_none() {
            return;
        }
        let (now, presence) = (now_nanos(), self.presence());
        if !self.idle.as_mut().is_some_and(|idle| idle.is_over(now, presence)) {
            return;
        }
        let saved = self.save_at_end();
        if let Err(error) = saved {
            self.state.save_is_over(false, now_nanos());
            tracing::error!(%error, "no client is left, but the objects cannot be saved, so the server goes on");
        }
        self.is_saved = saved.is_ok();
        self.is_ending = self.is_saved;
        if let Some(idle) = self.idle.as_mut().filter(|_| !self.is_saved) {
            idle.begin_again(now);
        }
    }
}

impl EventLoop {
    fn presence(&self) -> Presence {
        let mut presence = if self.arrivals.has_work() { Presence::Strangers } else { Presence::Nobody };
        for (_, peer) in &self.peers {
            match self.activity_of(peer) {
                Activity::Works => return Presence::Clients,
                Activity::None => presence = Presence::Strangers,
                Activity::Looks => {}
            }
        }
        presence
    }

    /// Returns what somebody at the other side of a connection has done.
    pub(super) fn activity_of(&self, peer: &Peer) -> Activity {
        match (&peer.phase, peer.client()) {
            // It holds what a forked child inherits.
            (Phase::Heirs(_), _) => Activity::Works,
            (_, Some(client)) => self.state.activity_of(client),
            (_, None) => Activity::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Presence::{Clients, Nobody, Strangers};

    #[test]
    fn a_server_ends_when_the_time_is_over_and_not_before() {
        let first = nanos_of(CONNECT_TIME_DEFAULT);
        let mut idle = Idle::new(Duration::from_nanos(10), 5);
        assert_eq!(idle.next_deadline(), Some(5 + first));
        assert!(!idle.is_over(4 + first, Nobody), "the first client has time");
        assert!(!idle.is_over(5 + first, Clients), "there is one");
        assert_eq!(idle.next_deadline(), None);
        assert!(!idle.is_over(100 + first, Nobody), "it has just left");
        assert!(!idle.is_over(109 + first, Nobody));
        assert!(!idle.is_over(109 + first, Clients), "another one came");
        assert!(!idle.is_over(200 + first, Nobody));
        assert!(idle.is_over(210 + first, Nobody));
        assert!(Idle::new(CONNECT_TIME_DEFAULT * 2, 5).next_deadline() > Some(5 + first));
        assert!(Idle::new(Duration::from_nanos(10), 5).is_over(5 + first, Nobody), "nobody came");
    }

    #[test]
    fn those_that_only_look_do_not_keep_a_server() {
        let mut idle = Idle::new(Duration::from_nanos(10), 0);
        assert!(!idle.is_over(1, Clients) && !idle.is_over(100, Nobody));
        // It may become a client, so the server waits, but not for this reason alone.
        assert!(!idle.is_over(111, Strangers));
        assert_eq!(idle.next_deadline(), None);
        assert!(idle.is_over(112, Nobody), "it has only looked");
        assert!(!idle.is_over(113, Strangers));
        idle.has_left();
        assert!(!idle.is_over(114, Nobody), "it left without a call");
        assert_eq!(idle.next_deadline(), Some(124));
    }
}
