//! SIGHUP as an event to wait for, and as before when nobody waits for it any more.
//!
//! Source: signalfd(2), sigaction(2), sigtimedwait(2); sshd(8), which reads its settings again at SIGHUP.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::thread::{self, ThreadId};

use super::{Blocked, block, change_mask, contains, set_of};
use crate::OsError;

/// Blocks SIGHUP for the calling thread, and for what it starts or executes later. One that arrives from now on waits for
/// [`Hangups::block`], even if the process has inherited that the signal is ignored.
///
/// # Errors
/// None at present.
pub fn hold_hangups() -> Result<(), OsError> {
    block(libc::SIGHUP)?;
    heed();
    Ok(())
}

/// Lets the kernel keep the signal while it is blocked: it discards ignored ones even then.
fn heed() {
    // SAFETY: the default installs no handler. The call fails only for an invalid signal.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
}

/// SIGHUP as an event to wait for. Only for a process with one thread.
///
/// | property | |
/// |---|---|
/// | drop | the process handles the signal as before, if the same thread drops it; what has arrived and was not waited for is discarded |
#[derive(Debug)]
pub struct Hangups {
    blocked: Blocked,
    /// Dropped after the descriptor is closed.
    _before: Before,
}

impl Hangups {
    /// Blocks the signal for the calling thread, and for what it starts or executes later.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; the signal is handled as before then.
    pub fn block() -> Result<Self, OsError> {
        let mask = change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGHUP]))?;
        let before = Before::of(contains(&mask, libc::SIGHUP));
        heed();
        Ok(Self { blocked: Blocked::open(&[libc::SIGHUP])?, _before: before })
    }

    /// Whether the signal arrived since the last call; several arrivals in between count as one.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.blocked.arrived()
    }
}

impl AsFd for Hangups {
    /// Readable when the signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.blocked.file.as_fd()
    }
}

/// How a thread handled the signal before.
struct Before {
    action: libc::sigaction,
    was_blocked: bool,
    thread: ThreadId,
}

impl Before {
    fn of(was_blocked: bool) -> Self {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: nothing is set, and there is room for what the kernel has. The call fails only for an invalid signal.
        unsafe { libc::sigaction(libc::SIGHUP, ptr::null(), action.as_mut_ptr()) };
        // SAFETY: zeros are a valid value of every field, and the call has replaced them.
        Self { action: unsafe { action.assume_init() }, was_blocked, thread: thread::current().id() }
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if thread::current().id() != self.thread {
            return;
        }
        let set = set_of(&[libc::SIGHUP]);
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let discard = || {
            // SAFETY: the set and the time are initialised, and nothing else is written.
            unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const now) }
        };
        // One may wait for this thread, and one for the process.
        while !self.was_blocked && discard() > 0 {}
        // SAFETY: the kernel returned this action of this process, so its handler, if any, is still that of the program.
        unsafe { libc::sigaction(libc::SIGHUP, &raw const self.action, ptr::null_mut()) };
        if !self.was_blocked {
            let restored = change_mask(libc::SIG_UNBLOCK, &set);
            tracing::trace!(restored = restored.is_ok(), "SIGHUP is handled as before");
        }
    }
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Before").field("was_blocked", &self.was_blocked).finish_non_exhaustive()
    }
}
