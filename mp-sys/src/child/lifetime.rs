//! How long a process lives relative to others: as long as its parent, or until its own end is in order.
//!
//! # With its parent
//! This needs a [`Lifeline`](super::Lifeline). In addition, the kernel can send a signal when the thread that started a
//! process ends (`PR_SET_PDEATHSIG`), which an exec does not undo. That is the right moment only if that thread lives
//! as long as its process. The main thread does, and so does the only thread of a fork server; [`is_main_thread`] finds
//! out.
//!
//! Source: prctl(2) `PR_SET_PDEATHSIG`, atexit(3).

use std::os::fd::{BorrowedFd, IntoRawFd};
use std::sync::atomic::Ordering;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::gettid;

use crate::OsError;
use crate::descriptors::{eventfd, pidfd_open};
use crate::fork::{NO_PARENT, WORDS};
use crate::reexec::Parent;

/// The id of the calling process.
#[must_use]
pub fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// Records which process started this one. It is not called in a process that was forked without this library.
#[inline]
pub fn note_start(parent: u32) {
    WORDS.started.store(own_pid(), Ordering::Relaxed);
    WORDS.parent.store(parent, Ordering::Relaxed);
}

/// The id of the process that started this one, if it was recorded.
#[must_use]
pub fn started_by() -> Option<u32> {
    let is_about_this = WORDS.started.load(Ordering::Relaxed) == own_pid();
    is_about_this.then(|| WORDS.parent.load(Ordering::Relaxed))
}

/// Records that this process has started another one.
#[inline]
pub fn note_child() {
    WORDS.starter.store(own_pid(), Ordering::Relaxed);
}

/// Whether this process has recorded that. A forked child has not.
#[must_use]
pub fn has_children_noted() -> bool {
    WORDS.starter.load(Ordering::Relaxed) == own_pid()
}

/// Whether the calling thread is the one that lives as long as its process.
#[must_use]
pub fn is_main_thread() -> bool {
    gettid() == getpid()
}

/// Makes the kernel end this process by SIGKILL when the thread that started it ends. Returns `false` if the process
/// that started it, whose id is `parent`, has already ended.
///
/// # Errors
/// None that is documented.
pub fn die_with(parent: u32) -> Result<bool, OsError> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Checked afterwards: an end between the two is seen here.
    Ok(is_child_of(parent))
}

/// The id of the process whose child this one is now, or 0 if its PID namespace does not show it.
pub(crate) fn parent_pid() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Whether this process is still the child of `parent`, and not of a process that adopts orphans.
fn is_child_of(parent: u32) -> bool {
    parent_pid() == parent
}

impl Parent {
    /// Keeps what this process received about its parent until it ends, or records that it received nothing: otherwise,
    /// a process that was forked from it would find its parent's. It is one word, because a child pays for each page
    /// that it writes.
    pub fn keep(given: Option<Self>) {
        match given {
            Some(given) => WORDS.kept_parent.store(given.pidfd.into_raw_fd(), Ordering::Relaxed),
            None if WORDS.kept_parent.load(Ordering::Relaxed) != NO_PARENT => {
                WORDS.kept_parent.store(NO_PARENT, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Returns what [`keep`](Self::keep) recorded.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn kept() -> Result<Option<Self>, OsError> {
        let number = WORDS.kept_parent.load(Ordering::Relaxed);
        if number == NO_PARENT {
            return Ok(None);
        }
        // SAFETY: the number comes from `into_raw_fd` above. Nothing owns the descriptor any more, so it stays open, in
        // forked children as well.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        Ok(Some(Self::of_descriptor(file.try_clone_to_owned()?)))
    }

    /// Returns the parent of a forked process, whose id was `pid` at the fork, even if it has ended since.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn of_forked(pid: u32) -> Result<Self, OsError> {
        let ended = || Ok(Self::of_descriptor(eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?));
        let Some(raw) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
            return ended();
        };
        match pidfd_open(raw, rustix::process::PidfdFlags::empty()) {
            // This process is still its child afterwards, so the id referred to the parent when it was opened.
            Ok(pidfd) if is_child_of(pid) => Ok(Self::of_descriptor(pidfd)),
            Ok(_) | Err(rustix::io::Errno::SRCH) => ended(),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs `handler` when this process ends by returning from `main` or by `exit`, and also in forked children that end
/// that way. Handlers run in the reverse order of their registration. Returns `false` if the C library has no memory
/// for it.
pub fn at_exit(handler: extern "C" fn()) -> bool {
    // SAFETY: the handler is a plain function, for the life of the program. It cannot unwind: `extern "C"` aborts.
    (unsafe { libc::atexit(handler) }) == 0
}
