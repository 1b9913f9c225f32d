//! Waiting for a word in the two plain ways: always asleep in the kernel, or always spinning.
//!
//! The system call is rustix's, which `mp-sys` uses too, so that a ratio shows only the waiting policy.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use mp_sys::deadline::Deadline;
use rustix::thread::futex::{self, Flags};

/// Looks at a word between two readings of the clock.
const LOOKS: u32 = 4096;

/// Stores a value and wakes one sleeper, without checking whether there is one.
#[inline]
pub(crate) fn post(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // The call fails only for an unmapped word.
    let _woken = futex::wake(word, Flags::empty(), 1);
}

/// Sleeps while the word holds `value`.
#[inline]
pub(crate) fn wait_while(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        // Woken, changed or interrupted: the loop looks again.
        let _slept = futex::wait(word, Flags::empty(), value, None);
    }
}

/// The value of the word.
#[inline]
pub(crate) fn current(word: &AtomicU32) -> u32 {
    word.load(Ordering::Acquire)
}

/// Adds one and wakes one sleeper, without checking whether there is one.
#[inline]
pub(crate) fn advance(word: &AtomicU32) {
    word.fetch_add(1, Ordering::AcqRel);
    // As in `post`.
    let _woken = futex::wake(word, Flags::empty(), 1);
}

/// Waits at a barrier for two processes, which consists of the number of arrivals and of the round.
#[inline]
pub(crate) fn meet(arrived: &AtomicU32, round: &AtomicU32) {
    let seen = round.load(Ordering::Acquire);
    if arrived.fetch_add(1, Ordering::AcqRel) == 0 {
        wait_while(round, seen);
    } else {
        arrived.store(0, Ordering::Relaxed);
        advance(round);
    }
}

/// Stores a value for a peer that never sleeps.
#[inline]
pub(crate) fn post_silently(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
}

/// Looks at the word until it no longer holds `value`.
#[inline]
pub(crate) fn spin_while(word: &AtomicU32, value: u32, deadline: Deadline) -> Result<()> {
    loop {
        for _ in 0..LOOKS {
            if word.load(Ordering::Acquire) != value {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        if deadline.has_passed() {
            bail!("the peer of a spinning process does not answer");
        }
    }
}
