//! Moments that processes leave for each other in shared memory.
//!
//! Their clocks need not agree. A time namespace has a monotonic clock of its own, years ahead or behind, and a process
//! that was restored from a checkpoint may have another clock than its peers. So a moment that was read is only a
//! claim. A moment in the future was made by another clock, and counts as long ago: a process that reads it acts at
//! once, instead of waiting for that clock. A moment too far in the past makes it act anyway. If the clocks of two
//! processes differ, both consider the other's moments to be long ago, and each acts as if it were alone.
//!
//! Source: time_namespaces(7).

use std::time::Duration;

use super::{TICK_MAX, now_nanos, tick_nanos};

/// A moment of the past, as it stands in a shared word. It is never an end to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedTime(u64);

impl SharedTime {
    /// The present, by this process's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(now_nanos())
    }

    /// Returns the moment that a shared word holds; 0 stands for none, which counts as long ago.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits to store in a shared word.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The time from this moment to `now`, by this process's clock; `Duration::MAX` for a moment of another clock, or
    /// none.
    #[must_use]
    pub const fn age_at(self, now: Self) -> Duration {
        match now.0.checked_sub(self.0) {
            Some(age) if self.0 != 0 => Duration::from_nanos(age),
            _ => Duration::MAX,
        }
    }

    /// Whether the moment is certainly younger than `age`, as far as the kernel's ticks show: a cheap answer for
    /// callers that ask often. A clock that is ahead by less than a tick makes no difference.
    #[must_use]
    pub fn is_surely_younger_than(self, age: Duration) -> bool {
        self.is_younger_at_tick(tick_nanos(), age)
    }

    fn is_younger_at_tick(self, tick: u64, age: Duration) -> bool {
        let latest = Duration::from_nanos(tick).saturating_add(TICK_MAX);
        let since = latest.checked_sub(Duration::from_nanos(self.0));
        self.0 != 0 && since.is_some_and(|since| since < age)
    }

    /// The time since this moment.
    #[must_use]
    pub fn age(self) -> Duration {
        self.age_at(Self::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_another_clock_counts_as_long_ago() {
        let now = SharedTime::from_bits(1_000);
        assert_eq!(SharedTime::from_bits(1_000).age_at(now), Duration::ZERO);
        assert_eq!(SharedTime::from_bits(400).age_at(now), Duration::from_nanos(600));
        assert_eq!(SharedTime::from_bits(1_001).age_at(now), Duration::MAX, "a clock that is ahead");
        assert_eq!(SharedTime::from_bits(u64::MAX).age_at(now), Duration::MAX);
        assert_eq!(SharedTime::default().age_at(now), Duration::MAX, "none");
    }

    #[test]
    fn ticks_never_make_a_moment_younger() {
        let (tick, age) = (1_000_000_000, Duration::from_millis(20));
        let younger = |nanos| SharedTime::from_bits(nanos).is_younger_at_tick(tick, age);
        assert!(younger(tick) && younger(tick - 9_999_999));
        assert!(!younger(tick - 10_000_000), "the next tick may be due");
        assert!(younger(tick + 10_000_000), "since the tick");
        assert!(!younger(tick + 10_000_001), "a clock that is ahead");
        assert!(!younger(0) && !younger(u64::MAX));
        let now = SharedTime::now();
        assert!(now.is_surely_younger_than(Duration::MAX));
        assert!(!now.is_surely_younger_than(Duration::ZERO));
    }
}
