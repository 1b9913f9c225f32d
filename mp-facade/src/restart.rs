//! When a process that has ended is started again, and when it is given up: for the places of a group and the seats of a pool.

use std::time::Duration;

/// Counts processes that ended one after the other before they were of any use.
#[derive(Debug, Clone)]
pub(crate) struct Crashes {
    in_row: u32,
    max: u32,
}

impl Crashes {
    /// Begins to count. The process number `max` is one too many.
    pub(crate) fn up_to(max: u32) -> Self {
        Self { in_row: 0, max }
    }

    /// Counts one. Returns `false` if it is one too many.
    #[must_use]
    pub(crate) fn note(&mut self) -> bool {
        self.in_row = self.in_row.saturating_add(1);
        self.in_row < self.max
    }

    /// Begins again, because a process was of use.
    pub(crate) fn clear(&mut self) {
        self.in_row = 0;
    }

    /// Returns how many are one too many.
    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    pub(crate) fn in_row(&self) -> u32 {
        self.in_row
    }

    /// Returns how long to wait before the next start: `min` after the first crash, and twice as long after each further
    /// one, up to `max`.
    pub(crate) fn pause(&self, min: Duration, max: Duration) -> Duration {
        let doublings = self.in_row.saturating_sub(1).min(DOUBLINGS_MAX);
        min.saturating_mul(1 << doublings).min(max)
    }
}

/// After so many, a pause of a microsecond has become more than an hour.
const DOUBLINGS_MAX: u32 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(30));
        let mut crashes = Crashes::up_to(u32::MAX);
        let mut millis = Vec::new();
        for _ in 0..12 {
            assert!(crashes.note());
            millis.push(crashes.pause(min, max).as_millis());
        }
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        crashes.clear();
        assert!(crashes.note());
        assert_eq!(crashes.pause(min, max), min);
        let mut many = Crashes { in_row: u32::MAX, max: u32::MAX };
        assert_eq!(many.pause(min, Duration::MAX), min * (1 << DOUBLINGS_MAX));
        assert!(!many.note());
    }

    #[test]
    fn the_last_one_is_one_too_many() {
        let mut crashes = Crashes::up_to(2);
        assert_eq!((crashes.note(), crashes.note(), crashes.in_row()), (true, false, 2));
        assert!(!Crashes::up_to(1).note());
    }
}
