//! Whether more clients are busy than the CPUs can run at once.
//!
//! A client that waits for its answer spins if the server runs on another CPU, and so does the server for the next call. In a
//! crowd, that takes the CPU from a client that could go on. So in a crowd the server tells its clients to sleep at once, and
//! lets others run between two of its own looks.
//!
//! The measure is the number of turns that others had since a client's last turn, where several turns of one client in a row
//! count once. With `n` clients that are all busy, that is `n - 1`. It counts only if the turns came quickly one after the
//! other: clients that ask now and then are no crowd.

use std::thread;

use crate::count::count_of;

/// The most time between two turns of a crowd, in nanoseconds: half of what a client may spin.
const PAUSE_NANOS_MAX: u64 = 25_000;

/// Bytes for which a turn may take one more nanosecond: both sides copy them, in and out of the kernel, to memory that may be
/// new.
const BYTES_PER_NANO: u64 = 2;

/// A client that has this many turns in a row is alone.
const ROW_MAX: u32 = 16;

/// The newest turn of one client.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NewestTurn {
    number: u64,
    at: u64,
    /// The bytes moved until then.
    moved: u64,
    /// Whether the client was one of a crowd then.
    pub(super) is_in_crowd: bool,
}

/// The turns of all clients.
#[derive(Debug)]
pub(super) struct Crowd {
    turns: u64,
    /// The bytes that were read from all clients, and written to them.
    moved: u64,
    /// The slot of the newest turn, and how many turns it has had in a row.
    row: (usize, u32),
    /// The clients that can run at the same time as the server.
    room: u64,
    /// Whether the newest turn was that of a client in a crowd.
    pub(super) is_here: bool,
}

impl Crowd {
    pub(super) fn new() -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: 0,
            moved: 0,
            row: (usize::MAX, 0),
            room: u64::try_from(cpus).unwrap_or(u64::MAX).max(2),
            is_here: false,
        }
    }

    /// Counts bytes that were read from a client, or written to it.
    #[inline]
    pub(super) fn moves(&mut self, bytes: usize) {
        self.moved = self.moved.wrapping_add(count_of(bytes));
    }

    /// Returns `true` if only one client has had turns lately.
    pub(super) const fn is_alone(&self) -> bool {
        self.row.1 >= ROW_MAX
    }

    /// Counts a turn of the client in a slot, at the time `now` in nanoseconds.
    #[inline]
    pub(super) fn count(&mut self, slot: usize, newest: &mut NewestTurn, now: u64) {
        let (earlier, row) = self.row;
        self.row = (slot, if earlier == slot { row.saturating_add(1) } else { 0 });
        if earlier == slot && row < ROW_MAX {
            newest.at = now;
            return;
        }
        self.turns = self.turns.wrapping_add(1);
        let turns = self.turns.wrapping_sub(newest.number);
        let pause = now.saturating_sub(newest.at);
        let moving = self.moved.wrapping_sub(newest.moved) / BYTES_PER_NANO;
        let pause_max = turns.saturating_mul(PAUSE_NANOS_MAX).saturating_add(moving);
        self.is_here = turns > self.room && pause <= pause_max;
        *newest = NewestTurn { number: self.turns, at: now, moved: self.moved, is_in_crowd: self.is_here };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether each of `clients`, which have turns in a circle, `row` at a time, ends up in a crowd.
    fn are_crowded(clients: usize, row: usize, pause: u64) -> bool {
        are_crowded_moving(0, clients, row, pause)
    }

    /// Does the same with turns that move this many bytes.
    fn are_crowded_moving(bytes: usize, clients: usize, row: usize, pause: u64) -> bool {
        let mut crowd = Crowd { turns: 0, moved: 0, row: (usize::MAX, 0), room: 2, is_here: false };
        let mut newest = vec![NewestTurn::default(); clients];
        let mut now = 0;
        for _ in 0..10 {
            for (slot, client) in newest.iter_mut().enumerate() {
                for _ in 0..row {
                    now += pause;
                    crowd.count(slot, client, now);
                    crowd.moves(bytes);
                }
            }
        }
        newest.iter().all(|newest| newest.is_in_crowd)
    }

    #[test]
    fn a_crowd_is_more_busy_clients_than_there_is_room_for() {
        for row in [1, 3] {
            assert!(!are_crowded(1, row, 1_000));
            assert!(!are_crowded(2, row, 1_000));
            assert!(are_crowded(3, row, 1_000));
        }
        assert!(are_crowded(3, 1, PAUSE_NANOS_MAX));
        assert!(!are_crowded(64, 1, PAUSE_NANOS_MAX + 1), "they ask now and then");
    }

    #[test]
    fn turns_that_move_long_values_may_take_longer() {
        let pause = PAUSE_NANOS_MAX + 50_000;
        assert!(are_crowded_moving(100_000, 8, 1, pause));
        assert!(!are_crowded_moving(99_000, 8, 1, pause));
    }

    #[test]
    fn the_last_of_a_crowd_is_alone_soon() {
        let mut crowd = Crowd { turns: 0, moved: 0, row: (usize::MAX, 0), room: 2, is_here: false };
        let mut newest = [NewestTurn::default(); 3];
        for turn in 0..6 {
            crowd.count(turn % 3, &mut newest[turn % 3], 1);
        }
        let turns = (0..100).take_while(|_| {
            crowd.count(2, &mut newest[2], 1);
            crowd.is_here && newest[2].is_in_crowd
        });
        assert_eq!(turns.count(), ROW_MAX as usize);
        assert!(crowd.is_alone());
        crowd.count(1, &mut newest[1], 1);
        assert!(!crowd.is_alone());
    }
}
