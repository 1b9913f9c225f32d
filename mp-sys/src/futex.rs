//! Sleeping until a shared word changes, mostly in bounded slices.
//!
//! Every futex here is shared. (`FUTEX_PRIVATE_FLAG` is never set, because a private wait never meets a wake from
//! another process.) No single sleep is longer than [`SLICE`], with two exceptions: waiters that rest while others
//! watch ([`Watch`](crate::adaptive::Watch)), and waiters for a lock, where the kernel passes a wake-up on
//! ([`crate::robust`]). If a process is killed between being woken and doing what it was woken for, its wake-up is
//! lost. Another waiter then notices at the end of a slice instead of never.
//!
//! A wait cannot miss a change, because the kernel compares the word with the expected value under its bucket lock. A
//! change before the comparison is seen there, and a change after it is followed by a wake that finds the sleeper.
//!
//! Source: futex(2).

mod several;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;

pub use self::several::{LOOK_AGAIN, WORDS_MAX, wait_any};
use crate::deadline::Deadline;

/// The longest single sleep. A lost wake-up costs at most one slice.
pub const SLICE: Duration = Duration::from_millis(40);

/// Waits of this process that ended with a slice although what they waited for had happened. Either a wake-up was lost,
/// or it came at the very moment at which the slice ended: its sender was stopped between the change and the call.
static LATE_WAITS: AtomicU64 = AtomicU64::new(0);

/// Sleeps of this process that ended with a slice, or at a deadline.
static ENDED_SLICES: AtomicU64 = AtomicU64::new(0);

/// How many sleeps on words in this process ended because their slice did, or at their deadline. A wait that found what
/// it waited for only by looking after others needed such a sleep.
#[must_use]
pub fn ended_slices() -> u64 {
    ENDED_SLICES.load(Ordering::Relaxed)
}

/// How many waits of this process ended by a slice although what they waited for had happened. Slices hide bugs; a run
/// in which nobody is killed must not need them.
///
/// The count is exact if a change wakes all that wait for it. A semaphore wakes as many waiters as there are permits;
/// there, a waiter that was not due to be woken counts if its slice ends meanwhile.
#[must_use]
pub fn late_waits() -> u64 {
    LATE_WAITS.load(Ordering::Relaxed)
}

/// Counts one late wait, for waits that this module does not see.
pub fn count_late_wait() {
    LATE_WAITS.fetch_add(1, Ordering::Relaxed);
}

/// How a sleep ended. None of the variants shows what the word holds now: look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slept {
    /// Another thread called [`wake`].
    Woken,
    /// The word no longer held the expected value: there was no sleep.
    Changed,
    /// A slice passed, or the deadline did.
    SliceEnded,
    /// A signal arrived. The slice counts as ended, because without a clock the rest of it is unknown. Otherwise, a
    /// timer that ticks faster than slices would keep the sleeper from looking after others for ever.
    Interrupted,
}

impl Slept {
    /// Whether the sleep ended without a wake-up, so that it is time to look after others.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::SliceEnded | Self::Interrupted)
    }
}

/// Sleeps while `word` holds `expected`, at most for one slice and not past `deadline`.
pub fn wait_slice(word: &AtomicU32, expected: u32, deadline: Deadline) -> Slept {
    wait_for(word, expected, SLICE, deadline)
}

/// Sleeps while `word` holds `expected`, at most for `slice` and not past `deadline`.
pub(crate) fn wait_for(word: &AtomicU32, expected: u32, slice: Duration, deadline: Deadline) -> Slept {
    // Without a deadline, which is the common case, the clock is not read.
    let timeout = if deadline.is_never() { slice } else { slice.min(deadline.remaining()) };
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match futex::wait(word, Flags::empty(), expected, Some(&timeout)) {
        Ok(()) => Slept::Woken,
        Err(Errno::INTR) => Slept::Interrupted,
        Err(Errno::AGAIN) => Slept::Changed,
        // TIMEDOUT. Any other error (a kernel without futexes) must not become a busy loop that never checks its
        // deadline.
        Err(_) => {
            ENDED_SLICES.fetch_add(1, Ordering::Relaxed);
            Slept::SliceEnded
        }
    }
}

/// Wakes at most `count` sleepers of `word`; returns how many there were.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    // The call fails only for an unmapped word, and `word` is a reference.
    futex::wake(word, Flags::empty(), count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_does_not_sleep() {
        let word = AtomicU32::new(7);
        assert_eq!(wait_slice(&word, 8, Deadline::NEVER), Slept::Changed);
    }

    #[test]
    fn a_sleep_ends_with_its_slice_or_its_deadline() {
        let word = AtomicU32::new(7);
        assert_eq!(wait_slice(&word, 7, Deadline::NEVER), Slept::SliceEnded);
        assert_eq!(wait_slice(&word, 7, Deadline::after(Duration::ZERO)), Slept::SliceEnded);
        assert_eq!(wake(&word, 1), 0);
    }
}
