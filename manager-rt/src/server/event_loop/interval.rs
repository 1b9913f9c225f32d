//! Saving the kept objects at intervals.
//!
//! Nothing is saved as long as no operation was finished since the last time.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use super::EventLoop;
use super::saving::{Reason, not_saved};
use crate::count::nanos_of;
use crate::proto::Fault;

/// The shortest interval, so that the server has time for its clients.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// When the objects are saved next. Moments are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Interval {
    every: u64,
    at: u64,
    /// How many operations were finished before what was saved last.
    operations: u64,
}

impl Interval {
    pub(super) fn new(every: Duration, now: u64) -> Self {
        let every = nanos_of(every.max(INTERVAL_MIN));
        Self { every, at: now.saturating_add(every), operations: 0 }
    }

    /// Begins the next interval if this one is over. Returns `true` if there is something to save.
    fn is_over(&mut self, now: u64, operations: u64) -> bool {
        if now < self.at {
            return false;
        }
        self.at = now.saturating_add(self.every);
        self.operations != operations
    }

    /// Returns when to look again.
    pub(super) const fn next_deadline(&self) -> u64 {
        self.at
    }
}

impl EventLoop {
    /// Saves the kept objects at these intervals, too, which are at least [`INTERVAL_MIN`].
    pub(in crate::server) fn keep_every(&mut self, time: Duration) {
        self.saving.interval = Some(Interval::new(time, now_nanos()));
    }

    /// Begins to save the kept objects, if it is time to. While another snapshot is written, it waits for that.
    pub(super) fn save_if_due(&mut self) {
        let (now, operations) = (now_nanos(), self.state.operations());
        let is_due = |interval: &mut Interval| interval.is_over(now, operations);
        if self.saving.is_writing() || !self.saving.interval.as_mut().is_some_and(is_due) {
            return;
        }
        let reason = Reason::Interval { operations };
        match self.saving.kept_path() {
            Ok(Some(path)) => {
                let until = now.saturating_add(nanos_of(self.saving.time_max));
                self.begin_snapshot(&path, until, reason);
            }
            Ok(None) => {}
            Err(error) => self.is_over(reason, not_saved(error)),
        }
    }

    pub(super) fn has_saved_at_interval(&mut self, operations: u64, outcome: Result<(), Fault>) {
        match outcome {
            Ok(()) => {
                if let Some(interval) = &mut self.saving.interval {
                    interval.operations = operations;
                }
            }
            Err(fault) => report(fault),
        }
    }
}

fn report(fault: Fault) {
    tracing::error!(%fault, "the objects were not saved at the end of an interval");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_saved_and_not_too_early() {
        let mut interval = Interval::new(Duration::ZERO, 100);
        assert_eq!(interval.next_deadline(), 100 + nanos_of(INTERVAL_MIN), "it is not endless work");
        interval.every = 10;
        interval.at = 110;
        assert!(!interval.is_over(109, 5), "too early");
        assert!(interval.is_over(110, 5));
        assert_eq!(interval.next_deadline(), 120);
        assert!(!interval.is_over(119, 5));
        assert!(interval.is_over(125, 5), "it was not saved");
        interval.operations = 5;
        assert!(!interval.is_over(135, 5), "nothing has changed");
        assert!(interval.is_over(145, 6));
    }
}
