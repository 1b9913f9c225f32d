//! Whether more clients are busy than the CPUs can run at once.
//!
//! A client that waits for its answer spins if the server runs on another CPU, and so does the server for the next call. In a
//! crowd, that takes the CPU from a client that could go on. So in a crowd the server tells its clients to sleep at once, and
//! lets others run between two of its own looks.
//!
//! The measure is the number of turns that others had since a client's last turn. With `n` clients that are all busy, that is
//! `n - 1`. It counts only if the turns came quickly one after the other: clients that ask now and then are no crowd.

use std::thread;

/// The most time between two turns of a crowd, in nanoseconds: half of what a client may spin.
const PAUSE_NANOS_MAX: u64 = 25_000;

/// The newest turn of one client.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NewestTurn {
    number: u64,
    at: u64,
    /// Whether the client was one of a crowd then.
    pub(super) is_in_crowd: bool,
}

/// The turns of all clients.
#[derive(Debug)]
pub(super) struct Crowd {
    turns: u64,
    /// The clients that can run at the same time as the server.
    room: u64,
    /// Whether the newest turn was that of a client in a crowd.
    pub(super) is_here: bool,
}

impl Crowd {
    pub(super) fn new() -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self { turns: 0, room: u64::try_from(cpus).unwrap_or(u64::MAX).max(2), is_here: false }
    }

    /// Counts a turn, at the time `now` in nanoseconds.
    #[inline]
    pub(super) fn count(&mut self, newest: &mut NewestTurn, now: u64) {
        self.turns = self.turns.wrapping_add(1);
        let turns = self.turns.wrapping_sub(newest.number);
        let pause = now.saturating_sub(newest.at);
        self.is_here = turns > self.room && pause <= turns.saturating_mul(PAUSE_NANOS_MAX);
        *newest = NewestTurn { number: self.turns, at: now, is_in_crowd: self.is_here };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether each of `clients`, which have turns in a circle, ends up in a crowd.
    fn are_crowded(clients: usize, pause: u64) -> bool {
        let mut crowd = Crowd { turns: 0, room: 2, is_here: false };
        let mut newest = vec![NewestTurn::default(); clients];
        let mut now = 0;
        for _ in 0..10 {
            for client in &mut newest {
                now += pause;
                crowd.count(client, now);
            }
        }
        newest.iter().all(|newest| newest.is_in_crowd)
    }

    #[test]
    fn a_crowd_is_more_busy_clients_than_there_is_room_for() {
        assert!(!are_crowded(1, 1_000));
        assert!(!are_crowded(2, 1_000));
        assert!(are_crowded(3, 1_000));
        assert!(are_crowded(3, PAUSE_NANOS_MAX));
        assert!(!are_crowded(64, PAUSE_NANOS_MAX + 1), "they ask now and then");
    }
}
