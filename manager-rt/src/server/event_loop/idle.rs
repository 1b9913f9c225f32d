//! When a server without clients ends.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use super::EventLoop;
use crate::count::nanos_of;
use crate::limits::CONNECT_TIME_DEFAULT;

/// How long the server may be without a connection. Moments are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Idle {
    after: u64,
    /// The moment at which the server ends if it has no connection by then.
    ends_at: Option<u64>,
}

impl Idle {
    /// Begins now. Whoever started the server has time to connect.
    pub(super) fn new(after: Duration, now: u64) -> Self {
        let first = nanos_of(after.max(CONNECT_TIME_DEFAULT));
        Self { after: nanos_of(after), ends_at: Some(now.saturating_add(first)) }
    }

    /// Takes note of whether there are connections at a moment. Returns `true` if there have been none for too long.
    pub(super) fn is_over(&mut self, now: u64, has_connections: bool) -> bool {
        if has_connections {
            self.ends_at = None;
            return false;
        }
        now >= *self.ends_at.get_or_insert_with(|| now.saturating_add(self.after))
    }

    /// Begins again, since the server could not end.
    pub(super) const fn begin_again(&mut self, now: u64) {
        self.ends_at = Some(now.saturating_add(self.after));
    }

    /// Returns when to look again.
    pub(super) const fn next_deadline(&self) -> Option<u64> {
        self.ends_at
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
        let has_connections = !self.peers.is_empty() || self.arrivals.has_work();
        let now = now_nanos();
        if !self.idle.as_mut().is_some_and(|idle| idle.is_over(now, has_connections)) {
            return;
        }
        self.is_saved = self.save_at_end().is_ok();
        self.is_ending = self.is_saved;
        if let Some(idle) = self.idle.as_mut().filter(|_| !self.is_saved) {
            idle.begin_again(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_when_the_time_is_over_and_not_before() {
        let first = nanos_of(CONNECT_TIME_DEFAULT);
        let mut idle = Idle::new(Duration::from_nanos(10), 5);
        assert_eq!(idle.next_deadline(), Some(5 + first));
        assert!(!idle.is_over(4 + first, false), "the first client has time");
        assert!(!idle.is_over(5 + first, true), "there is one");
        assert_eq!(idle.next_deadline(), None);
        assert!(!idle.is_over(100 + first, false), "it has just left");
        assert!(!idle.is_over(109 + first, false));
        assert!(!idle.is_over(109 + first, true), "another one came");
        assert!(!idle.is_over(200 + first, false));
        assert!(idle.is_over(210 + first, false));
        assert!(Idle::new(CONNECT_TIME_DEFAULT * 2, 5).next_deadline() > Some(5 + first));
        assert!(Idle::new(Duration::from_nanos(10), 5).is_over(5 + first, false), "nobody came");
    }
}
