//! A program that handles SIGINT itself, for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Counts interrupts from now on, instead of ending by the first one. Forked children inherit that.
pub fn handle_interrupts() {
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: the handler adds to an atomic, which may happen at any moment.
    unsafe { libc::signal(libc::SIGINT, handler as *const () as libc::sighandler_t) };
}

/// How many came since [`handle_interrupts`], in this process and before its fork.
#[must_use]
pub fn interrupts() -> usize {
    COUNT.load(Ordering::Relaxed)
}
