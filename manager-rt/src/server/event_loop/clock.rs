//! How long a turn may take.

use std::time::Duration;

use mp_sys::deadline::now_nanos;

use super::EventLoop;
use crate::count::nanos_of;
use crate::limits::{TURN_BYTES, TURN_TIME_BESIDE_OTHERS, TURN_TIME_MAX};

/// After a frame with more units of work than this, the clock is looked at again.
pub(super) const UNITS_PER_LOOK: usize = 500;

/// The time that one turn may take.
#[derive(Debug)]
pub(super) struct TurnClock {
    began: Option<u64>,
    nanos_max: u64,
}

impl TurnClock {
    fn of(time_max: Duration) -> Self {
        Self { began: None, nanos_max: nanos_of(time_max) }
    }

    /// Takes the time at which a frame was run, and returns `true` if no other one may follow in this turn. If the frame
    /// was much work, the clock is looked at again.
    pub(super) fn is_over(&mut self, now: u64, units: usize) -> bool {
        let began = *self.began.get_or_insert(now);
        let now = if units > UNITS_PER_LOOK { now_nanos() } else { now };
        now.saturating_sub(began) >= self.nanos_max
    }
}

impl EventLoop {
    /// Returns the clock of a turn that begins. If each round also lets new connections in, or goes on with work that was
    /// left, short turns would leave the clients little of the time, and would save them little waiting. And a manager that
    /// is full to the end of its reserve cannot keep what a turn leaves.
    pub(super) fn turn_clock(&self) -> TurnClock {
        let has_other_work = self.has_untidy || self.arrivals.has_work();
        let is_full = self.frames.whole().check_reserve(TURN_BYTES).is_err();
        let is_long = has_other_work || is_full || self.crowd.is_alone();
        TurnClock::of(if is_long { TURN_TIME_MAX } else { TURN_TIME_BESIDE_OTHERS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_over_at_its_limit_and_not_before() {
        for time_max in [TURN_TIME_MAX, TURN_TIME_BESIDE_OTHERS] {
            let (mut clock, most) = (TurnClock::of(time_max), nanos_of(time_max));
            assert!(!clock.is_over(7, 0), "it begins with its first frame");
            assert!(!clock.is_over(6 + most, UNITS_PER_LOOK));
            assert!(clock.is_over(7 + most, 0));
            let mut clock = TurnClock::of(time_max);
            assert!(clock.is_over(1, UNITS_PER_LOOK + 1), "the frame took until now");
        }
    }
}
