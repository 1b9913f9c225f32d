//! What each process of the server is doing, in shared memory: the rows of the status page, and the proof of what a kill cost.
//!
//! A *seat* is the place of one worker or background process; who sits there changes. A *row* belongs to one process. During a
//! reload, a seat has two rows for a while, the old process's and the new one's. Only the process writes its row, one word at a
//! time. When it has ended, the parent adds the row to the totals and clears it.
//!
//! # Invariants
//! 1. A worker counts a connection *before* it accepts it, and a request as *ended* after its reply was written. So whatever
//!    the moment of a kill is, the row of the dead worker counts every connection and every request that it had in hand.

use anyhow::{Context, Result};
use mp::{ExitError, RawArray};

use crate::limits::PROCESSES_MAX;

/// The words of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// 0 if the row is free.
    Pid,
    /// A [`Kind`].
    Kind,
    /// The number of the seat within its kind.
    Seat,
    /// When the process was started, in milliseconds of the server's clock.
    Started,
    /// A [`State`].
    State,
    /// Connections that are open, or about to be accepted.
    Connections,
    /// Requests that arrived, or jobs that were taken.
    Begun,
    /// Requests whose replies were written or whose clients left, or jobs that are done or have failed.
    Ended,
    /// Requests that the rate limit refused.
    Limited,
    /// Jobs that another process had before.
    Repeated,
}

/// Words of a row.
const FIELDS: usize = 10;
/// Two for each seat, because of reloads, and two kinds of seats.
const ROWS: usize = 4 * PROCESSES_MAX as usize;
/// Words of a seat: restarts, how the last crash ended it, and when.
const SEAT_FIELDS: usize = 3;
const SEATS: usize = 2 * PROCESSES_MAX as usize;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Answers requests.
    Worker,
    /// Does the jobs that workers leave.
    Background,
}

impl Kind {
    /// The index of a seat among those of both kinds.
    fn seat(self, number: usize) -> usize {
        self as usize * usize::from(PROCESSES_MAX) + number
    }
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Working,
    /// It finishes what it has in hand.
    Stopping,
}

impl State {
    pub(crate) fn of(word: u64) -> Self {
        match word {
            0 => Self::Starting,
            1 => Self::Working,
            _ => Self::Stopping,
        }
    }
}

/// What ended processes left: sums of their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Total {
    Requests,
    Jobs,
    Limited,
    Repeated,
    /// Requests in the hands of workers that were killed. Jobs are not lost: the queue hands them out again.
    LostRequests,
    /// Connections in the hands of workers that were killed.
    LostConnections,
    /// Processes that were replaced because they crashed.
    Restarts,
    /// Reloads that have been completed.
    Reloads,
    /// Jobs that failed again and again, and are no longer in the queue.
    Failed,
}

const TOTALS: usize = 9;

/// The last crash of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    /// A signal; 0 if it was a panic or an error.
    pub(crate) signal: u64,
    /// In milliseconds of the server's clock.
    pub(crate) at_ms: u64,
}

/// All rows, seats and totals.
#[derive(Debug)]
pub(crate) struct Table {
    rows: RawArray<u64>,
    seats: RawArray<u64>,
    totals: RawArray<u64>,
}

/// The row of one process.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    words: RawArray<u64>,
    number: usize,
}

impl Table {
    pub(crate) fn new() -> Result<Self> {
        let zeroed = |len| RawArray::zeroed(len).context("no shared memory for the table of processes");
        Ok(Self {
            rows: zeroed(ROWS * FIELDS)?,
            seats: zeroed(SEATS * SEAT_FIELDS)?,
            totals: zeroed(TOTALS)?,
        })
    }

    /// Takes a free row for a process that is about to start. Only the parent calls this.
    pub(crate) fn take(&self, kind: Kind, seat: usize, now_ms: u64) -> Option<Row> {
        let free = self.all().find(|row| row.get(Field::Started) == 0)?;
        free.set(Field::Kind, kind as u64);
        free.set(Field::Seat, seat as u64);
        free.set(Field::State, State::Starting as u64);
        free.set(Field::Started, now_ms.max(1));
        Some(free)
    }

    /// The rows of processes of a kind.
    pub(crate) fn rows(&self, kind: Kind) -> impl Iterator<Item = Row> {
        self.all().filter(move |row| row.get(Field::Pid) != 0 && row.get(Field::Kind) == kind as u64)
    }

    fn all(&self) -> impl Iterator<Item = Row> {
        (0..ROWS).map(|number| Row { words: self.rows.clone(), number })
    }

    /// Adds the row of a process that has ended to the totals, and frees it. Only the parent calls this.
    pub(crate) fn bury(&self, kind: Kind, pid: u32) {
        let Some(row) = self.rows(kind).find(|row| row.get(Field::Pid) == u64::from(pid)) else { return };
        let begun = row.get(Field::Begun);
        self.add(Total::Limited, row.get(Field::Limited));
        self.add(Total::Repeated, row.get(Field::Repeated));
        if kind == Kind::Worker {
            self.add(Total::Requests, begun);
            self.add(Total::LostRequests, begun.saturating_sub(row.get(Field::Ended)));
            self.add(Total::LostConnections, row.get(Field::Connections));
        } else {
            self.add(Total::Jobs, begun);
        }
        row.clear();
    }

    pub(crate) fn add(&self, total: Total, count: u64) {
        self.totals.fetch_add(total as usize, count).unwrap_or_default();
    }

    pub(crate) fn total(&self, total: Total) -> u64 {
        self.totals.get(total as usize).unwrap_or(0)
    }

    /// The sum over living and dead processes of a kind.
    pub(crate) fn sum(&self, kind: Kind, field: Field, total: Total) -> u64 {
        self.rows(kind).map(|row| row.get(field)).sum::<u64>() + self.total(total)
    }

    /// Notes that the process on a seat crashed. Only the parent calls this.
    pub(crate) fn note_crash(&self, kind: Kind, seat: usize, error: Option<&ExitError>, now_ms: u64) {
        let signal = match error {
            Some(ExitError::Signaled(signal)) => u64::from(signal.unsigned_abs()),
            _ => 0,
        };
        let at = kind.seat(seat) * SEAT_FIELDS;
        self.seats.set(at + 1, signal).unwrap_or_default();
        self.seats.set(at + 2, now_ms.max(1)).unwrap_or_default();
        self.seats.fetch_add(at, 1).unwrap_or_default();
        self.add(Total::Restarts, 1);
    }

    /// How often the process on a seat was replaced after a crash, and the last crash.
    pub(crate) fn seat(&self, kind: Kind, seat: usize) -> (u64, Option<Crash>) {
        let word = |offset| self.seats.get(kind.seat(seat) * SEAT_FIELDS + offset).unwrap_or(0);
        let crash = Crash { signal: word(1), at_ms: word(2) };
        (word(0), (crash.at_ms != 0).then_some(crash))
    }
}

// The row's number is below `ROWS`, so none of these is out of range.
impl Row {
    pub(crate) fn get(&self, field: Field) -> u64 {
        self.words.get(self.at(field)).unwrap_or(0)
    }

    pub(crate) fn set(&self, field: Field, value: u64) {
        self.words.set(self.at(field), value).unwrap_or_default();
    }

    pub(crate) fn add(&self, field: Field, count: u64) {
        self.words.fetch_add(self.at(field), count).unwrap_or_default();
    }

    pub(crate) fn sub(&self, field: Field, count: u64) {
        self.words.fetch_sub(self.at(field), count).unwrap_or_default();
    }

    fn at(&self, field: Field) -> usize {
        self.number * FIELDS + field as usize
    }

    /// Frees the row.
    pub(crate) fn clear(&self) {
        // The pid goes first, so nobody takes a half-cleared row for a process. The start goes last, because it marks the row as
        // taken.
        self.set(Field::Pid, 0);
        for field in [Field::Connections, Field::Begun, Field::Ended, Field::Limited, Field::Repeated] {
            self.set(field, 0);
        }
        self.set(Field::Started, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::{Background, Worker};
    use super::*;

    #[test]
    fn what_a_dead_worker_had_in_hand_goes_to_the_totals() {
        let table = Table::new().unwrap();
        let row = table.take(Worker, 1, 5).unwrap();
        assert_eq!(table.rows(Worker).count(), 0, "it is not running yet");
        row.set(Field::Pid, 77);
        row.add(Field::Begun, 10);
        row.add(Field::Ended, 8);
        row.add(Field::Connections, 4);
        row.sub(Field::Connections, 1);
        let seen = table.rows(Worker).next().unwrap();
        assert_eq!((seen.get(Field::Pid), seen.get(Field::Seat)), (77, 1));
        assert_eq!(table.sum(Worker, Field::Begun, Total::Requests), 10);
        assert_eq!(table.sum(Background, Field::Begun, Total::Jobs), 0);

        table.bury(Worker, 77);
        let totals = [Total::Requests, Total::LostRequests, Total::LostConnections];
        assert_eq!(totals.map(|total| table.total(total)), [10, 2, 3]);
        assert_eq!((table.rows(Worker).count(), table.sum(Worker, Field::Begun, Total::Requests)), (0, 10));
    }

    #[test]
    fn a_job_in_the_hand_of_a_dead_process_is_not_lost() {
        let table = Table::new().unwrap();
        let row = table.take(Background, 0, 0).unwrap();
        row.set(Field::Pid, 77);
        row.add(Field::Begun, 3);
        table.bury(Background, 77);
        assert_eq!((table.total(Total::Jobs), table.total(Total::LostRequests)), (3, 0));
    }

    #[test]
    fn rows_are_used_again_and_there_are_enough_for_a_reload() {
        let table = Table::new().unwrap();
        let rows: Vec<_> = (0..ROWS).map(|row| table.take(Worker, row / 4, 0).unwrap()).collect();
        assert!(table.take(Worker, 0, 0).is_none(), "one more than there are");
        rows[7].clear();
        assert_eq!(table.take(Worker, 0, 0).unwrap().number, 7);
    }

    #[test]
    fn a_seat_remembers_its_restarts_and_its_last_crash() {
        let table = Table::new().unwrap();
        let last = usize::from(PROCESSES_MAX) - 1;
        assert_eq!(table.seat(Background, last), (0, None));
        table.note_crash(Background, last, Some(&ExitError::Exited(1)), 10);
        table.note_crash(Background, last, Some(&ExitError::Signaled(9)), 20);
        assert_eq!(table.seat(Background, last), (2, Some(Crash { signal: 9, at_ms: 20 })));
        assert_eq!((table.seat(Worker, last), table.total(Total::Restarts)), ((0, None), 2));
    }
}
