//! Doorbells: how a queue wakes those who wait for an item, or for room.
//!
//! | value | meaning |
//! |---|---|
//! | [`QUIET`] | nobody sleeps, or somebody was woken and has not looked yet |
//! | [`WANTED`] | somebody sleeps, or is about to |
//!
//! Who sleeps stores `WANTED`, looks once more, and sleeps while it is there. Who changes the queue stores the change,
//! looks at the bell, and if it is `WANTED` makes it `QUIET` and wakes one sleeper. A sleeper that was woken and found what
//! it waited for passes the bell on: others may sleep, so it stores `WANTED` again, and wakes the next one itself if there
//! is something left.
//!
//! # Why no wake-up is lost
//! The change comes before the look at the bell, and the `WANTED` before the second look at the queue, both in the one order
//! of all sequentially consistent operations: at least one of the two sees the other. And whoever sleeps while the bell is `QUIET` sleeps behind somebody who was
//! woken and will pass the bell on; if that one was killed instead, the sleep ends with its slice.
//!
//! There are no counts of sleepers, so those who were killed in their sleep cost one needless system call at most.

#[cfg(all(loom, test))]
mod models;

use std::sync::atomic::{Ordering, fence};

use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::futex::{self, SLICE, Slept};
use mp_sys::word::Word32;

/// See the table above.
const QUIET: u32 = 0;
/// See the table above.
const WANTED: u32 = 1;
/// Everybody.
const ALL: u32 = i32::MAX.unsigned_abs();

/// To be called after a change that somebody may wait for, made by a sequentially consistent operation: wakes one sleeper,
/// if any.
#[inline]
pub(super) fn ring(bell: &impl Word32) {
    if bell.load(Ordering::SeqCst) != QUIET {
        wake_one(bell);
    }
}

#[cold]
fn wake_one(bell: &impl Word32) {
    if bell.exchange(WANTED, QUIET).is_ok() {
        crash::point();
        bell.wake(1);
    }
}

/// To be called after a change that all who sleep have to see: wakes all.
pub(super) fn ring_for_all(bell: &impl Word32) {
    if bell.load(Ordering::SeqCst) != QUIET {
        bell.store(QUIET, Ordering::SeqCst);
        crash::point();
        bell.wake(ALL);
    }
}

/// To be called by one that slept, when it is done with what it woke up for: others may sleep still. `more` says whether
/// there is something left for them.
#[cold]
pub(super) fn pass_on(bell: &impl Word32, more: impl FnOnce() -> bool) {
    bell.store(WANTED, Ordering::SeqCst);
    crash::point();
    fence(Ordering::SeqCst);
    if more() {
        wake_one(bell);
    }
}

/// Sleeps until the bell rings, for one slice at most and not past `deadline`; not at all if `ready` is so already.
#[cold]
pub(super) fn sleep(bell: &impl Word32, ready: impl Fn() -> bool, deadline: Deadline) -> Slept {
    bell.store(WANTED, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if ready() {
        return Slept::Changed;
    }
    let slept = bell.sleep(WANTED, SLICE, deadline);
    // A quiet bell: somebody was woken and is on the way, perhaps on a busy machine.
    if slept == Slept::SliceEnded && bell.load(Ordering::SeqCst) == WANTED && ready() {
        futex::count_late_wait();
    }
    slept
}
