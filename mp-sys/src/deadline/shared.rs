//! Moments that processes leave for each other in shared memory.
//!
//! Their clocks need not agree: a time namespace has a monotonic clock of its own, years ahead or behind, and a process that was
//! restored from a checkpoint may have another one than its peers. So a moment that was read is a claim. One that lies in the
//! future was made by another clock, and counts as long ago: whoever reads it acts, at once, instead of waiting for that clock.
//! One that lies too far in the past does so anyway. Two processes whose clocks differ leave each other moments that both think
//! to be long ago: each of them acts as if it was alone.
//!
//! Source: time_namespaces(7).

use std::time::Duration;

use super::{TICK_MAX, now_nanos, tick_nanos};

/// A moment of the past, as it stands in a shared word: never an end to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedTime(u64);

impl SharedTime {
    /// The present, by this process's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(now_nanos())
    }

    /// The moment that a shared word holds; 0 for none, which was long ago.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What is stored in a shared word.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// How long it has been at `now`, by this process's clock; `Duration::MAX` for a moment of another clock, or none.
    #[must_use]
    pub const fn age_at(self, now: Self) -> Duration {
        match now.0.checked_sub(self.0) {
            Some(age) if self.0 != 0 => Duration::from_nanos(age),
            _ => Duration::MAX,
        }
    }

    /// Whether it has certainly been less than `age`, as far as the kernel's ticks tell: a cheap answer for who asks often. A
    /// clock that is ahead by less than a tick makes no difference.
    #[must_use]
    pub fn is_surely_younger_than(self, age: Duration) -> bool {
        self.is_younger_at_tick(tick_nanos(), age)
    }

    fn is_younger_at_tick(self, tick: u64, age: Duration) -> bool {
        let latest = Duration::from_nanos(tick).saturating_add(TICK_MAX);
        let since = latest.checked_sub(Duration::from_nanos(self.0));
        self.0 != 0 && since.is_some_and(|since| since < age)
    }

    /// How long it has been.
    #[must_use]
    pub fn age(self) -> Duration {
        self.age_at(Self::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_another_clock_was_long_ago() {
        let now = SharedTime::from_bits(1_000);
        assert_eq!(SharedTime::from_bits(1_000).age_at(now), Duration::ZERO);
        assert_eq!(SharedTime::from_bits(400).age_at(now), Duration::from_nanos(600));
        assert_eq!(SharedTime::from_bits(1_001).age_at(now), Duration::MAX, "a clock that is ahead");
        assert_eq!(SharedTime::from_bits(u64::MAX).age_at(now), Duration::MAX);
        assert_eq!(SharedTime::default().age_at(now), Duration::MAX, "none");
    }

    #[test]
    fn ticks_never_say_younger_of_what_is_not() {
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
