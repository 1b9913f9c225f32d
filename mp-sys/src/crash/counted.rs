//! Crash points as tests of processes use them: counted, in the one process that is armed.
//!
//! Two numbers identify that process, both in this process and in those that it starts: how many starts away the armed
//! process is, and how many points it has left. A start passes both on, with one start less, to the started process and
//! to no other.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Starts from this process to the armed one; 0 if this process is armed.
static STARTS: AtomicU64 = AtomicU64::new(0);
/// Points left until the armed process dies; 0 means that none is armed.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// The environment variable that passes both numbers to an executed process, with a space between them.
pub const VARIABLE: &str = "MP_CRASH_POINT";

/// Kills this process by SIGKILL if a test armed this point.
#[inline]
pub fn point() {
    if LEFT.load(Ordering::Relaxed) == 0 || STARTS.load(Ordering::Relaxed) > 0 {
        return;
    }
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        die();
    }
}

/// Arms this process: the `n`-th point from now on kills it. 0 disarms it.
pub fn die_at(n: u64) {
    descendant_dies_at(0, n);
}

/// Arms the process that is `starts` starts away, whatever their kind: 1 is the next process that this process starts,
/// 2 is the first process that *that one* starts. The `n`-th point of its life kills it. With 0, disarms it if it does
/// not exist yet.
pub fn descendant_dies_at(starts: u64, n: u64) {
    STARTS.store(starts, Ordering::Relaxed);
    LEFT.store(n, Ordering::Relaxed);
}

/// Updates the parent's numbers in a process that was just forked.
pub(crate) fn begin_forked() {
    match STARTS.load(Ordering::Relaxed).checked_sub(1) {
        Some(starts) => STARTS.store(starts, Ordering::Relaxed),
        // The parent is the armed process.
        None => LEFT.store(0, Ordering::Relaxed),
    }
}

/// Updates the numbers in the parent after a fork.
pub(crate) fn has_forked() {
    if STARTS.load(Ordering::Relaxed) > 0 {
        die_at(0);
    }
}

/// Passes both numbers to a process that will be executed, or neither.
pub(crate) fn hand_on(command: &mut Command) {
    command.env_remove(VARIABLE);
    let left = LEFT.load(Ordering::Relaxed);
    let starts = STARTS.load(Ordering::Relaxed).checked_sub(1);
    if let Some(starts) = starts.filter(|_| left > 0) {
        command.env(VARIABLE, format!("{starts} {left}"));
        die_at(0);
    }
}

/// Reads both numbers in a process that was executed.
pub(crate) fn begin_executed() {
    let given = std::env::var(VARIABLE).unwrap_or_default();
    if let Some((starts, left)) = given.split_once(' ') {
        descendant_dies_at(starts.parse().unwrap_or(0), left.parse().unwrap_or(0));
    }
}

#[cold]
fn die() -> ! {
    // SAFETY: raise(3) is async-signal-safe and takes any signal number; SIGKILL cannot be caught or blocked.
    unsafe { libc::raise(libc::SIGKILL) };
    // The signal is delivered before raise returns to user space; the loop only satisfies the return type.
    loop {
        std::hint::spin_loop();
    }
}
