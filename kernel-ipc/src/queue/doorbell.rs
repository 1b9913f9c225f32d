//! Doorbells: how a queue wakes processes that wait for an item, or for room.
//!
//! | value | meaning |
//! |---|---|
//! | [`QUIET`] | no process sleeps, or one was woken and has not looked yet |
//! | [`WANTED`] | at least one process sleeps, or is about to |
//!
//! A waiter stores `WANTED`, looks at the queue once more, and sleeps while the bell is `WANTED`. A process that changes
//! the queue stores the change and then looks at the bell. If it is `WANTED`, it stores `QUIET` and wakes one sleeper. A
//! sleeper that was woken and found what it waited for passes the bell on: it stores `WANTED` again, since others may
//! sleep, and wakes the next one itself if something is left.
//!
//! # Why no wake-up is lost
//! The change comes before the look at the bell, and the store of `WANTED` comes before the second look at the queue. Both
//! are in the single order of all sequentially consistent operations, so at least one of the two sides sees the other.
//!
//! A process that sleeps while the bell is `QUIET` depends on another one, which was woken and will pass the bell on. If
//! that one is killed, the sleep ends with its slice.
//!
//! Sleepers are not counted, so a process that is killed in its sleep costs at most one needless system call.

#[cfg(all(mp_loom, test))]
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
/// The number of sleepers to wake if all are to be woken.
const ALL: u32 = i32::MAX.unsigned_abs();

/// Wakes one sleeper, if any. Call it after a change that a process may wait for. The change must be a sequentially
/// consistent operation.
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

/// Wakes all sleepers. Call it after a change that all of them have to see.
pub(super) fn ring_for_all(bell: &impl Word32) {
    if bell.load(Ordering::SeqCst) != QUIET {
        bell.store(QUIET, Ordering::SeqCst);
        crash::point();
        bell.wake(ALL);
    }
}

/// Passes the bell on, since others may still sleep. A process that slept calls it when it has taken what it woke up for.
/// `more` returns whether something is left for the others.
#[cold]
pub(super) fn pass_on(bell: &impl Word32, more: impl FnOnce() -> bool) {
    bell.store(WANTED, Ordering::SeqCst);
    crash::point();
    fence(Ordering::SeqCst);
    if more() {
        wake_one(bell);
    }
}

/// Sleeps until the bell rings, for one slice at most and not past `deadline`. Does not sleep if `ready` returns `true`.
#[cold]
pub(super) fn sleep(bell: &impl Word32, ready: impl Fn() -> bool, deadline: Deadline) -> Slept {
    bell.store(WANTED, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if ready() {
        return Slept::Changed;
    }
    let slept = bell.sleep(WANTED, SLICE, deadline);
    // If the bell is quiet, a process was woken and is on its way, perhaps on a busy machine. Then nothing was late.
    if slept == Slept::SliceEnded && bell.load(Ordering::SeqCst) == WANTED && ready() {
        futex::count_late_wait();
    }
    slept
}
