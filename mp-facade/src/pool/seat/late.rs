//! Workers that take too long.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use crate::child::Child;
use crate::handle::Handle;
use crate::pool::seat::Seat;
use crate::stops::{CONTINUE_TIME, Excuse};

/// The least time that a worker has to begin with an item, however short the timeout of an item is: starting a process
/// takes a while.
const BEGIN_TIME_MIN: Duration = Duration::from_secs(1);

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// This item of this job.
    Item((u64, u64)),
    /// Beginning with an item: the worker is stopped, or its initializer hangs.
    Begin,
}

impl Seat {
    /// Returns what the worker is busy with, and how many nanoseconds it still has for that. `None` if it has nothing to do.
    fn due(&self, now: u64, limit: u64) -> Option<(Overdue, u64)> {
        let (what, since, limit) = match self.item() {
            Some(item) => (Overdue::Item(item), self.station.progress.began(), limit),
            None if self.assigned.is_empty() && !self.has_refused => return None,
            None => (Overdue::Begin, self.quiet_since, limit.max(nanos_of(BEGIN_TIME_MIN))),
        };
        let since = since.max(self.excused_until);
        Some((what, limit.saturating_sub(now.saturating_sub(since))))
    }

    /// Returns whether a late worker may go on, because it was stopped meanwhile, as by Ctrl-Z. Its time counts from now on
    /// then. If it is still stopped, it gets a moment: when a shell continues a program, this process may be the first to run.
    fn excuse(&mut self, what: Overdue, now: u64, limit: u64) -> bool {
        let Some(process) = self.child.as_ref().map(Child::handle) else { return false };
        self.excused_until = match Excuse::of(process, self.excused_for == Some(what)) {
            Some(Excuse::WasStopped) => now,
            Some(Excuse::IsStopped) => {
                self.excused_for = Some(what);
                now.saturating_add(nanos_of(CONTINUE_TIME)).saturating_sub(limit)
            }
            None => return false,
        };
        true
    }

    /// Forgets that the worker was stopped and continued before what it does now: that is no excuse for it. If it was, it may have
    /// been just now, and its time counts from here on.
    pub(super) fn forget_stops(&mut self) {
        let handle = self.child.as_ref().map(Child::handle).filter(|_| self.station.is_timed);
        if handle.is_some_and(Handle::was_continued) {
            self.excused_until = now_nanos();
        }
    }

    /// Returns after how many nanoseconds to look whether the worker has to be killed, if it has anything to do. It may begin
    /// with an item at any moment.
    pub(in crate::pool) fn time_left(&self, now: u64, limit: u64) -> Option<u64> {
        let due = self.due(now, limit).filter(|_| self.child.is_some() && self.condemned.is_none());
        due.map(|(_, left)| left.min(limit))
    }

    /// Kills the worker if its item takes too long, or it does not begin with one.
    pub(in crate::pool) fn kill_late(&mut self, limit: Option<Duration>) {
        let Some(limit) = limit.filter(|_| self.child.is_some() && self.condemned.is_none()) else { return };
        let (now, limit) = (now_nanos(), nanos_of(limit));
        if let Some((what, 0)) = self.due(now, limit)
            && !self.excuse(what, now, limit)
        {
            self.condemned = Some(what);
            self.kill();
        }
    }
}

/// Returns a time in nanoseconds.
pub(in crate::pool) fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
