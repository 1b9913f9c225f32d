//! What all processes of the server share.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mp::manager::Manager;
use mp::{JoinableQueue, RawArray, RawValue, Value};

use crate::limiter::Limiter;
use crate::limits::{BACKLOG_QUIET, HISTORY_SECONDS, JOBS_MAX, SWEEP_EVERY};
use crate::records::{Job, Log};
use crate::sessions::Sessions;
use crate::table::{Field, Kind, Table, Total};

/// The shared objects. They were made before the first fork, so every process has them.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Hits of the front page. A hit counts before it is answered, and its answer has its number.
    pub(crate) hits: Value<u64>,
    pub(crate) limiter: Limiter,
    pub(crate) jobs: JoinableQueue<Job>,
    pub(crate) sessions: Sessions,
    pub(crate) table: Table,
    pub(crate) history: History,
    pub(crate) log: Option<Log>,
    /// Whether the whole server ends, and not only one process: then nobody else looks after the backlog and the jobs.
    pub(crate) ends: RawValue<u32>,
    /// When somebody last came out of the backlog after that, or that began, in milliseconds of the server's clock.
    pub(crate) last_accept_ms: RawValue<u64>,
    next_sweep_ms: RawValue<u64>,
    start: Instant,
}

impl Shared {
    pub(crate) fn new(manager: &Manager, log: Option<&Path>) -> Result<Self> {
        Ok(Self {
            hits: Value::new(0)?,
            limiter: Limiter::new()?,
            jobs: JoinableQueue::bounded(JOBS_MAX).context("no queue for the background processes")?,
            sessions: Sessions::new(manager)?,
            table: Table::new()?,
            history: History::new()?,
            log: log.map(Log::create).transpose()?,
            ends: RawValue::new(0)?,
            last_accept_ms: RawValue::new(0)?,
            next_sweep_ms: RawValue::new(millis(SWEEP_EVERY))?,
            start: Instant::now(),
        })
    }

    /// The server's clock: the time since its start, by the monotonic clock, which is the same in all its processes.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.now())
    }

    pub(crate) fn ends(&self) -> bool {
        self.ends.load() != 0
    }

    /// Notes that somebody has come out of the backlog.
    pub(crate) fn note_accept(&self) {
        self.last_accept_ms.fetch_max(self.now_ms());
    }

    /// How long to wait until the backlog, which is empty now, has been empty for long enough.
    pub(crate) fn until_quiet(&self) -> Duration {
        let quiet = self.now_ms().saturating_sub(self.last_accept_ms.load());
        BACKLOG_QUIET.saturating_sub(Duration::from_millis(quiet))
    }

    /// Requests that have arrived so far.
    pub(crate) fn requests(&self) -> u64 {
        self.table.sum(Kind::Worker, Field::Begun, Total::Requests)
    }

    /// Jobs that failed again and again.
    pub(crate) fn failed(&self) -> u64 {
        let kept = self.jobs.failed().map_or(0, |failed| failed.len());
        self.table.total(Total::Failed) + kept as u64
    }

    /// Whether the caller should have the sessions swept. Of all processes, one gets `true` each time.
    pub(crate) fn is_sweep_due(&self) -> bool {
        let (due, now) = (self.next_sweep_ms.load(), self.now_ms());
        now >= due && self.next_sweep_ms.compare_exchange(due, now + millis(SWEEP_EVERY)).is_ok()
    }
}

/// How many requests arrived in each of the last seconds. The parent writes it, and everybody reads it.
#[derive(Debug)]
pub(crate) struct History {
    seconds: RawArray<u64>,
    /// Seconds that were written so far.
    written: RawValue<u64>,
}

impl History {
    fn new() -> Result<Self> {
        let seconds = RawArray::zeroed(HISTORY_SECONDS).context("no shared memory for the history")?;
        Ok(Self { seconds, written: RawValue::new(0)? })
    }

    pub(crate) fn push(&self, requests: u64) {
        self.seconds.set(place(self.written.load()), requests).unwrap_or_default();
        self.written.fetch_add(1);
    }

    /// The last seconds, oldest first.
    pub(crate) fn read(&self) -> Vec<u64> {
        let end = self.written.load();
        let start = end.saturating_sub(HISTORY_SECONDS as u64);
        (start..end).map(|second| self.seconds.get(place(second)).unwrap_or(0)).collect()
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % HISTORY_SECONDS as u64).unwrap_or(0)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_has_the_last_seconds_in_order() {
        let history = History::new().unwrap();
        assert!(history.read().is_empty());
        (0..HISTORY_SECONDS as u64).for_each(|second| history.push(second));
        assert_eq!(history.read(), (0..HISTORY_SECONDS as u64).collect::<Vec<_>>());
        history.push(100);
        assert_eq!(
            (history.read()[0], history.read().last(), history.read().len()),
            (1, Some(&100), HISTORY_SECONDS)
        );
    }
}
