//! How much of the time new connections may take from the clients: half, and little at once.
//!
//! A flood of them may come for ever. A server that works without a pause competes for its CPU with those who flood it, and
//! when its time slice is over, its clients wait for the slices of others, several milliseconds each. A server that sleeps
//! now and then runs as soon as something wakes it. And whoever waits to be accepted takes no CPU meanwhile.

use crate::count::nanos_of;
use crate::limits::ARRIVALS_TIME_MAX;

/// What new connections have taken of the time. Moments are nanoseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How much more than half of the time they have taken.
    ahead: u64,
    /// When they were last worked on.
    newest: u64,
    /// When a rest is over.
    rests_until: u64,
}

impl Pace {
    /// Counts work on new connections. If they have taken too much, they rest until others could have had as much.
    pub(super) fn count(&mut self, began: u64, ended: u64) {
        let between = began.saturating_sub(self.newest);
        self.ahead = self.ahead.saturating_sub(between).saturating_add(ended.saturating_sub(began));
        self.newest = ended;
        if self.ahead >= nanos_of(ARRIVALS_TIME_MAX) {
            self.rests_until = ended.saturating_add(self.ahead);
        }
    }

    /// Returns when new connections are worked on again, which may be in the past.
    pub(super) const fn rests_until(&self) -> u64 {
        self.rests_until
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use mp_sys::deadline::now_nanos;

    use super::*;
    use crate::server::Server;

    #[test]
    fn new_connections_rest_as_long_as_they_have_worked() {
        let (mut pace, most) = (Pace::default(), nanos_of(ARRIVALS_TIME_MAX));
        pace.count(10, 9 + most);
        assert_eq!(pace.rests_until(), 0, "one nanosecond is left");
        pace.count(9 + most, 10 + most);
        assert_eq!(pace.rests_until(), 10 + 2 * most);
        pace.count(10 + 2 * most, 20 + 2 * most);
        assert_eq!(pace.rests_until(), 10 + 2 * most, "the rest counts");
    }

    #[test]
    fn half_of_the_time_is_not_too_much() {
        let (mut pace, most) = (Pace::default(), nanos_of(ARRIVALS_TIME_MAX));
        for round in 0..1_000 {
            let began = round * (most - 1) * 2;
            pace.count(began, began + most - 1);
        }
        assert_eq!(pace.rests_until(), 0);
        let mut pace = Pace::default();
        let rounds = (0..).take_while(|round| {
            let began = round * most;
            pace.count(began, began + most / 2 + most / 20);
            pace.rests_until() == 0
        });
        assert!(rounds.count() < 20, "a little more is too much in the end");
    }

    #[test]
    fn new_connections_rest_while_there_are_clients_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager.sock");
        let mut server = Server::bind(&path).unwrap();
        let now = now_nanos();
        server.work.arrivals.pace.count(now, now + nanos_of(Duration::from_secs(3_600)));
        let accept = |server: &mut Server| {
            server.work.arrivals.may_come();
            server.work.let_in();
            server.work.peers()
        };
        let _first = UnixStream::connect(&path).unwrap();
        assert_eq!(accept(&mut server), 1, "there is nobody who could use the time");
        server.work.state.connect().unwrap();
        let _second = UnixStream::connect(&path).unwrap();
        assert_eq!(accept(&mut server), 1, "the time is that of the client");
        server.work.arrivals.pace = Pace::default();
        assert_eq!(accept(&mut server), 2, "the rest is over");
    }
}
