//! Sleeping on several words at once, for one thread that waits on behalf of many tasks.
//!
//! futex_waitv(2) exists since Linux 5.16, and takes at most [`WORDS_MAX`] words. Where it is missing, where a sandbox
//! refuses it, and for more words than that, a sleep covers fewer words and ends after [`LOOK_AGAIN`], so that the
//! caller looks at the others.
//!
//! # What a wake-up means
//! A sleeper is counted by each wake-up that reaches one of its words before it runs: a call that wakes one sleeper of
//! one word and a call that wakes one sleeper of another word can both count the same thread. So the caller looks at all
//! words after each sleep, and never at the one alone that the kernel names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{Wait, WaitFlags, WaitPtr, WaitvFlags, waitv};
use rustix::time::ClockId;

use super::{ENDED_SLICES, Slept, wait_for};
use crate::deadline::Deadline;

/// The most words that one sleep covers: `FUTEX_WAITV_MAX` of include/uapi/linux/futex.h.
pub const WORDS_MAX: usize = 128;
/// The longest sleep that does not cover all words of the caller.
pub const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Sleeps while each of `words` holds the value beside it, and not past `deadline`. The caller then looks at all of the
/// words. A sleep that did not cover all of them ends with [`Slept::Changed`], whether one has changed or not.
///
/// The first word should be the one whose change must be noticed at once, because every sleep covers it.
pub fn wait_any<'a>(words: impl Iterator<Item = (&'a AtomicU32, u32)>, deadline: Deadline) -> Slept {
    let mut words = words.peekable();
    let Some(&(first, expected)) = words.peek() else {
        return Slept::Changed;
    };
    let covered: Vec<Wait> = words.by_ref().take(WORDS_MAX).map(to_wait).collect();
    let covers_all = words.next().is_none();
    let until = if covers_all { deadline } else { deadline.min(Deadline::after(LOOK_AGAIN)) };
    let timeout = until.absolute_timespec();
    match waitv(&covered, WaitvFlags::empty(), timeout.as_ref(), ClockId::Monotonic) {
        Ok(_) => Slept::Woken,
        Err(Errno::AGAIN) => Slept::Changed,
        Err(Errno::INTR) => Slept::Interrupted,
        Err(Errno::TIMEDOUT) if !covers_all => Slept::Changed,
        Err(Errno::TIMEDOUT) => {
            ENDED_SLICES.fetch_add(1, Ordering::Relaxed);
            Slept::SliceEnded
        }
        // NOSYS, and PERM in some sandboxes. No error may become a busy loop.
        Err(_) => {
            wait_for(first, expected, LOOK_AGAIN, deadline);
            Slept::Changed
        }
    }
}

fn to_wait((word, expected): (&AtomicU32, u32)) -> Wait {
    let mut wait = Wait::new();
    wait.uaddr = WaitPtr::new(word.as_ptr().cast());
    wait.val = u64::from(expected);
    wait.flags = WaitFlags::SIZE_U32;
    wait
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futex::wake;

    fn words(count: usize) -> Vec<AtomicU32> {
        (0..count).map(|_| AtomicU32::new(7)).collect()
    }

    fn all_seven(words: &[AtomicU32]) -> impl Iterator<Item = (&AtomicU32, u32)> {
        words.iter().map(|word| (word, 7))
    }

    /// For sleeps that end by themselves.
    fn patience() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(1))
    }

    #[test]
    fn a_change_of_any_word_is_seen_before_the_sleep() {
        let words = words(WORDS_MAX);
        assert_eq!(wait_any(all_seven(&words), soon()), Slept::SliceEnded);
        words[WORDS_MAX - 1].store(8, Ordering::SeqCst);
        assert_eq!(wait_any(all_seven(&words), patience()), Slept::Changed);
        assert_eq!(wait_any(all_seven(&[]), patience()), Slept::Changed);
    }

    #[test]
    fn a_wake_up_of_any_word_ends_the_sleep() {
        let words = words(WORDS_MAX);
        std::thread::scope(|scope| {
            let slept = scope.spawn(|| wait_any(all_seven(&words), patience()));
            while wake(&words[WORDS_MAX / 2], 1) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(slept.join().unwrap(), Slept::Woken);
        });
    }

    #[test]
    fn a_sleep_on_more_words_than_the_kernel_takes_is_short() {
        let words = words(WORDS_MAX + 1);
        assert_eq!(wait_any(all_seven(&words), patience()), Slept::Changed);
        // A change of the last word is the caller's to find.
        words[WORDS_MAX].store(8, Ordering::SeqCst);
        assert_eq!(wait_any(all_seven(&words), patience()), Slept::Changed);
    }
}
