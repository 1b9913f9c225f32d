//! How long a process lives beside others: with its parent, or until its own end is in order.
//!
//! # With its parent
//! What is needed is a [`Lifeline`](super::Lifeline). Beside it, the kernel can send a signal when the thread that started a
//! process ends (`PR_SET_PDEATHSIG`), which an exec does not undo. That is the right moment only if that thread lives as long
//! as its process: the main thread does, and so does the only thread of a fork server. [`is_main_thread`] tells.
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

/// Tells this process which one started it. A process that is forked by other means than this library is not told.
#[inline]
pub fn note_start(parent: u32) {
    WORDS.started.store(own_pid(), Ordering::Relaxed);
    WORDS.parent.store(parent, Ordering::Relaxed);
}

/// The id of the process that started this one, if it was told.
#[must_use]
pub fn started_by() -> Option<u32> {
    let is_about_this = WORDS.started.load(Ordering::Relaxed) == own_pid();
    is_about_this.then(|| WORDS.parent.load(Ordering::Relaxed))
}

/// Notes that this process has started another one.
#[inline]
pub fn note_child() {
    WORDS.starter.store(own_pid(), Ordering::Relaxed);
}

/// Whether it has: a forked child has not.
#[must_use]
pub fn has_children_noted() -> bool {
    WORDS.starter.load(Ordering::Relaxed) == own_pid()
}

/// Whether the calling thread is the one that lives as long as its process.
#[must_use]
pub fn is_main_thread() -> bool {
    gettid() == getpid()
}

/// Ends this process by SIGKILL when the thread that started it ends; `false` if the process that started it, whose id is
/// `parent`, has ended already.
///
/// # Errors
/// No documented reason is left.
pub(super) fn die_with(parent: u32) -> Result<bool, OsError> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Asked afterwards: an end between the two is seen here.
    Ok(is_child_of(parent))
}

/// The id of the process whose child this one is now; 0 if that cannot be seen from its PID namespace.
pub(crate) fn parent_pid() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Whether this process is still the child of that one, rather than of who adopts orphans.
fn is_child_of(parent: u32) -> bool {
    parent_pid() == parent
}

impl Parent {
    /// Keeps what this process was given of its parent until it ends; or notes that it was given nothing, where a process
    /// that was forked from it would find its parent's. One word, since a child pays for each page that it writes to.
    pub fn keep(given: Option<Self>) {
        match given {
            Some(given) => WORDS.kept_parent.store(given.pidfd.into_raw_fd(), Ordering::Relaxed),
            None if WORDS.kept_parent.load(Ordering::Relaxed) != NO_PARENT => {
                WORDS.kept_parent.store(NO_PARENT, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// What [`keep`](Self::keep) noted.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn kept() -> Result<Option<Self>, OsError> {
        let number = WORDS.kept_parent.load(Ordering::Relaxed);
        if number == NO_PARENT {
            return Ok(None);
        }
        // SAFETY: the number comes from `into_raw_fd` above. Nobody owns the descriptor any more, so that it stays open, in
        // forked children as well.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        Ok(Some(Self::of_descriptor(file.try_clone_to_owned()?)))
    }

    /// The parent of a forked process, whose id was `pid` at the fork, whether or not it has ended since.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn of_forked(pid: u32) -> Result<Self, OsError> {
        let ended = || Ok(Self::of_descriptor(eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?));
        let Some(raw) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
            return ended();
        };
        match pidfd_open(raw, rustix::process::PidfdFlags::empty()) {
            // Still its child afterwards: so the id meant the parent when it was opened.
            Ok(pidfd) if is_child_of(pid) => Ok(Self::of_descriptor(pidfd)),
            Ok(_) | Err(rustix::io::Errno::SRCH) => ended(),
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs `handler` when this process ends by returning from `main` or by `exit`; also in children that it forks, if they
/// end that way. Handlers run in the reverse order of their registration. `false` if the C library has no memory for it.
pub fn at_exit(handler: extern "C" fn()) -> bool {
    // SAFETY: the handler is a plain function, for the life of the program. It cannot unwind: `extern "C"` aborts.
    (unsafe { libc::atexit(handler) }) == 0
}
