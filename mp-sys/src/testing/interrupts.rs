//! A program that handles signals itself, for tests: a SIGINT, or the many signals of a timer.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Counts interrupts from now on, instead of ending at the first one. Forked children inherit that.
pub fn handle_interrupts() {
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: the handler adds to an atomic, which may happen at any moment.
    unsafe { libc::signal(libc::SIGINT, handler as *const () as libc::sighandler_t) };
}

/// How many interrupts arrived since [`handle_interrupts`], in this process and before its fork.
#[must_use]
pub fn interrupts() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Makes a timer send this process a signal every `period` from now on, as profilers and progress bars do. The handler
/// only counts. With `restarts`, the kernel restarts the calls that it interrupts, where it can (`SA_RESTART`). A
/// forked child has no such timer.
///
/// # Panics
/// If `period` is a second or more, or the kernel returns an error.
pub fn tick(period: Duration, restarts: bool) {
    let handler: extern "C" fn(libc::c_int) = count;
    // SAFETY: all zero is a valid `sigaction`: no flags, and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    action.sa_flags = if restarts { libc::SA_RESTART } else { 0 };
    // SAFETY: the action is initialised; its handler adds to an atomic, which may happen at any moment.
    let handled = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) };
    assert_eq!(handled, 0, "a handler of SIGALRM");
    assert!(period.as_secs() == 0, "the timer's fraction of a second is set alone");
    let every = libc::timeval { tv_sec: 0, tv_usec: period.subsec_micros().into() };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is initialised, and the old one is not read.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
    assert_eq!(set, 0, "a timer");
}
