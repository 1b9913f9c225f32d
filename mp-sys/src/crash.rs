//! Crash points: counted places between two steps of a protocol where a test kills the process.
//!
//! A protocol that promises to survive SIGKILL at any instruction calls [`point`] after each of its stores. Without the
//! feature `crash-points` the call is nothing at all. With it, a test forks a child, arms it with `die_at(n)`, runs
//! the operation, and the child dies at the n-th point that it meets; with n = 1, 2, 3, … until the child survives,
//! every point has been tried.
//!
//! The counter is private to the process: a child inherits the armed count, so arm inside the child.
//!
//! Under `cfg(loom)`, with the feature `testing`, the same points end a thread of a model, in every order of what the others
//! do meanwhile. Without the feature somebody else's models are run, and the points are nothing to them.

#[cfg(all(loom, feature = "testing"))]
mod modelled;

#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(loom, feature = "testing"))]
pub use self::modelled::{point, until};

/// Points left until the process dies; 0 means disarmed.
#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
static LEFT: AtomicU64 = AtomicU64::new(0);

/// Dies here by SIGKILL if a test armed this point.
#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
#[inline]
pub fn point() {
    if LEFT.load(Ordering::Relaxed) == 0 {
        return;
    }
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        die();
    }
}

/// Nothing: the crate was built without the feature `crash-points`.
#[cfg(not(any(feature = "crash-points", all(loom, feature = "testing"))))]
#[inline(always)]
pub fn point() {}

/// Arms this process: the `n`-th point from now on kills it. 0 disarms it.
#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
pub fn die_at(n: u64) {
    LEFT.store(n, Ordering::Relaxed);
}

#[cfg(all(feature = "crash-points", not(all(loom, feature = "testing"))))]
#[cold]
fn die() -> ! {
    // SAFETY: raise(3) is async-signal-safe and takes any signal number; SIGKILL cannot be caught or blocked.
    unsafe { libc::raise(libc::SIGKILL) };
    // The signal is delivered before raise returns to user space; the loop only satisfies the return type.
    loop {
        std::hint::spin_loop();
    }
}
