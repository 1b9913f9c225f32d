//! Saving the kept objects at intervals.
//!
//! Nothing is saved as long as nothing has changed since the last time: no operation was finished, and no client has ended.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use super::EventLoop;
use super::saving::{Reason, not_saved};
use crate::count::nanos_of;
use crate::proto::Fault;
use crate::state::Changes;

/// The shortest interval, so that the server has time for its clients.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// When the objects are saved next. Moments are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Interval {
    every: u64,
    at: u64,
    /// What had happened before what was saved last.
    saved: Changes,
}

impl Interval {
    pub(super) fn new(every: Duration, now: u64) -> Self {
        let every = nanos_of(every.max(INTERVAL_MIN));
        Self { every, at: now.saturating_add(every), saved: Changes::default() }
    }

    /// Begins the next interval if this one is over and something has changed. Returns `true` then.
    fn is_over(&mut self, now: u64, changes: Changes) -> bool {
        let is_over = self.next_deadline(changes).is_some_and(|at| at <= now);
        if is_over {
            self.begin(now);
        }
        is_over
    }

    /// Begins the next interval. After a snapshot that took long, the server has time for its clients as well.
    const fn begin(&mut self, now: u64) {
        self.at = now.saturating_add(self.every);
    }

    /// Returns when to look again. As long as nothing has changed, nobody has to look.
    pub(super) fn next_deadline(&self, changes: Changes) -> Option<u64> {
        (self.saved != changes).then_some(self.at)
    }
}

impl EventLoop {
    /// Saves the kept objects at these intervals, too, which are at least [`INTERVAL_MIN`].
    pub(in crate::server) fn keep_every(&mut self, time: Duration) {
        self.saving.interval = Some(Interval::new(time, now_nanos()));
    }

    /// Begins to save the kept objects, if it is time to. While another snapshot is written, the end of a client is to be read, or
    /// what ended clients had is being released, it waits for that.
    pub(super) fn save_if_due(&mut self) {
        let (now, changes) = (now_nanos(), self.state.changes());
        let due_at = self.saving.interval.as_ref().and_then(|interval| interval.next_deadline(changes));
        if self.saving.is_writing() || due_at.is_none_or(|at| now < at) {
            return;
        }
        // Those that hang up later are not waited for.
        let since = *self.saving.due_since.get_or_insert(self.rounds);
        let is_due = |interval: &mut Interval| interval.is_over(now, changes);
        if self.oldest_end() <= since
            || !self.state.has_released(changes.endings)
            || !self.saving.interval.as_mut().is_some_and(is_due)
        {
            return;
        }
        self.saving.due_since = None;
        let reason = Reason::Interval { changes };
        match self.saving.kept_path() {
            Ok(Some(path)) => {
                let until = now.saturating_add(nanos_of(self.saving.time_max));
                self.begin_snapshot(&path, until, reason);
            }
            Ok(None) => {}
            Err(error) => self.is_over(reason, not_saved(error)),
        }
    }

    pub(super) fn has_saved_at_interval(&mut self, changes: Changes, outcome: Result<(), Fault>) {
        if let Some(interval) = &mut self.saving.interval {
            interval.begin(now_nanos());
            if outcome.is_ok() {
                interval.saved = changes;
            }
        }
        if let Err(fault) = outcome {
            let path = self.saving.kept_at().unwrap_or_default();
            tracing::error!(%fault, "the objects were not saved in {} at the end of an interval", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_saved_and_not_too_early() {
        let mut interval = Interval::new(Duration::ZERO, 100);
        let [before, after] = [5, 6].map(|operations| Changes { operations, endings: 1 });
        let soon = Some(100 + nanos_of(INTERVAL_MIN));
        assert_eq!(interval.next_deadline(before), soon, "it is not endless work");
        interval.every = 10;
        interval.at = 110;
        assert!(!interval.is_over(109, before), "too early");
        assert!(interval.is_over(110, before));
        assert_eq!(interval.next_deadline(before), Some(120));
        assert!(!interval.is_over(119, before));
        assert!(interval.is_over(125, before), "it was not saved");
        interval.saved = before;
        assert!(!interval.is_over(135, before), "nothing has changed");
        assert_eq!(interval.next_deadline(before), None, "nobody wakes for that");
        assert!(!interval.is_over(134, after), "the time is not over");
        assert!(interval.is_over(135, after));
        interval.saved = after;
        assert!(interval.is_over(145, Changes { endings: 2, ..after }), "a client has ended");
    }
}
