//! Points in time on the monotonic clock, as every wait of the workspace uses them.
//!
//! The public interfaces take a [`Duration`]. Inside, it becomes a [`Deadline`] once, so that a wait of several steps
//! never lasts longer than the caller asked for. Python's `multiprocessing` waits on the wall clock, and waits too long
//! or too short if somebody sets that clock.

mod shared;

use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub use self::shared::SharedTime;

/// A point in time on `CLOCK_MONOTONIC`, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Nanoseconds since boot; `u64::MAX` (584 years) stands for never.
    nanos: u64,
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

impl Deadline {
    /// The deadline that never passes.
    pub const NEVER: Self = Self { nanos: u64::MAX };

    /// Returns the moment that lies `timeout` from now, or never if that overflows (`Duration::MAX`).
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: now_nanos().saturating_add(nanos) }
    }

    /// Whether this is the deadline that never passes.
    #[must_use]
    pub fn is_never(self) -> bool {
        self.nanos == u64::MAX
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        !self.is_never() && now_nanos() >= self.nanos
    }

    /// The time left: zero if the deadline has passed, `Duration::MAX` if it never does.
    #[must_use]
    pub fn remaining(self) -> Duration {
        if self.is_never() {
            return Duration::MAX;
        }
        Duration::from_nanos(self.nanos.saturating_sub(now_nanos()))
    }

    /// The time left in the kernel's format, or `None` if the deadline never passes.
    pub(crate) fn remaining_timespec(self) -> Option<Timespec> {
        (!self.is_never()).then(|| timespec(self.nanos.saturating_sub(now_nanos())))
    }

    /// Makes a system call that may sleep, and repeats it whenever a signal interrupts it, each time with the time that
    /// is left: a signal never restarts a sleep with its full length. Returns `None` if the deadline passes meanwhile.
    pub(crate) fn uninterrupted<T>(
        self,
        mut call: impl FnMut(Option<&Timespec>) -> Result<T, Errno>,
    ) -> Result<Option<T>, Errno> {
        loop {
            match call(self.remaining_timespec().as_ref()) {
                Err(Errno::INTR) if self.has_passed() => return Ok(None),
                Err(Errno::INTR) => {}
                outcome => return outcome.map(Some),
            }
        }
    }

    /// The deadline in the kernel's format, or `None` if it never passes.
    pub(crate) fn absolute_timespec(self) -> Option<Timespec> {
        (!self.is_never()).then(|| timespec(self.nanos))
    }
}

/// The monotonic clock in nanoseconds since boot.
#[must_use]
pub fn now_nanos() -> u64 {
    nanos_of(ClockId::Monotonic)
}

/// Like [`now_nanos`], but goes on while the system is suspended (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boot_nanos() -> u64 {
    nanos_of(ClockId::Boottime)
}

/// The monotonic clock at the newest tick of the kernel: a quarter of the cost, and up to [`TICK_MAX`] late.
#[must_use]
#[inline]
pub fn tick_nanos() -> u64 {
    nanos_of(ClockId::MonotonicCoarse)
}

/// The longest time between two ticks: the slowest setting of the kernel, `CONFIG_HZ=100`.
pub const TICK_MAX: Duration = Duration::from_millis(10);

#[inline]
fn nanos_of(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos)
}

fn timespec(nanos: u64) -> Timespec {
    // Both quotients fit: `u64::MAX` nanoseconds are 1.8e10 seconds.
    let tv_sec = i64::try_from(nanos / NANOS_PER_SEC).unwrap_or(i64::MAX);
    let tv_nsec = i64::try_from(nanos % NANOS_PER_SEC).unwrap_or(0);
    Timespec { tv_sec, tv_nsec }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_means_never() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.has_passed());
        assert_eq!(Deadline::NEVER.remaining(), Duration::MAX);
        assert!(Deadline::NEVER.absolute_timespec().is_none());
    }

    #[test]
    fn a_timeout_of_zero_has_passed_at_once() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }

    #[test]
    fn a_call_that_is_interrupted_again_and_again_ends_with_its_deadline() {
        let deadline = Deadline::after(Duration::from_millis(2));
        let mut left = Vec::new();
        let outcome = deadline.uninterrupted(|timeout| {
            left.push(timeout.map(|timeout| (timeout.tv_sec, timeout.tv_nsec)));
            Err::<(), _>(Errno::INTR)
        });
        assert_eq!(outcome, Ok(None));
        assert!(deadline.has_passed());
        assert!(
            left.is_sorted_by(|earlier, later| earlier >= later),
            "the call never starts again with the full time: {left:?}"
        );
        assert_eq!(Deadline::NEVER.uninterrupted(|_| Err::<(), _>(Errno::NOMEM)), Err(Errno::NOMEM));
        assert_eq!(deadline.uninterrupted(|_| Ok(7)), Ok(Some(7)), "one look, even if it is late");
    }

    #[test]
    fn nanoseconds_carry_into_seconds() {
        let almost = Deadline { nanos: 1_999_999_999 };
        assert_eq!(almost.absolute_timespec(), Some(Timespec { tv_sec: 1, tv_nsec: 999_999_999 }));
        let next = Deadline { nanos: 2_000_000_000 };
        assert_eq!(next.absolute_timespec(), Some(Timespec { tv_sec: 2, tv_nsec: 0 }));
    }
}
