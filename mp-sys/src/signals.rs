//! Signals, for a server process of this workspace and for nothing else.
//!
//! A library has no business with the signals of a program. The server of a manager is a process that the library itself
//! starts: it is to end in order when it is asked to, and to live through the Ctrl-C that the terminal sends to the whole
//! process group, since its clients may still want to put things away.
//!
//! SIGTERM becomes a descriptor for the event loop: no handler runs, so there is nothing that a handler must not do. The fork
//! server learns of the ends of its children in the same way.
//!
//! Source: signalfd(2), pthread_sigmask(3), signal(7); Python's `multiprocessing.managers`, whose server ignores SIGINT.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::OsError;
use crate::descriptors::above_standard;

/// A blocked signal as a descriptor to wait for.
#[derive(Debug)]
struct Blocked {
    file: OwnedFd,
}

impl Blocked {
    /// For a signal that is blocked already.
    fn open(signal: i32) -> Result<Self, OsError> {
        let set = set_of(&[signal]);
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let number = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if number < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: signalfd just made the descriptor, and nobody else knows it.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self { file: above_standard(file)? })
    }

    /// Whether it came since the last time that this was asked; several that came in between are one.
    fn arrived(&self) -> bool {
        let mut told = [0_u8; size_of::<libc::signalfd_siginfo>()];
        loop {
            match rustix::io::read(&self.file, &mut told) {
                Err(Errno::INTR) => {}
                outcome => return outcome.is_ok_and(|count| count > 0),
            }
        }
    }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is writable; it is made empty, whatever it was.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised the set: it has no way to fail.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised, and callers name signals.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

/// Changes which signals the calling thread takes, and gives the mask before.
fn change_mask(how: i32, set: &libc::sigset_t) -> Result<libc::sigset_t, OsError> {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised, and there is room for the old one.
    let failed = unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) };
    if failed != 0 {
        return Err(Errno::from_raw_os_error(failed).into());
    }
    // SAFETY: the call that succeeded has written it.
    Ok(unsafe { before.assume_init() })
}

/// Lets every signal through, in a process that this library has executed: what its parent blocked is no business of it.
pub(crate) fn unblock_all() -> Result<(), OsError> {
    change_mask(libc::SIG_SETMASK, &set_of(&[])).map(drop)
}

/// SIGTERM as something to wait for.
///
/// | property | |
/// |---|---|
/// | in a forked child | blocked there too, and the descriptor tells of the signals of whoever reads it |
/// | drop | closes the descriptor; SIGTERM stays blocked |
#[derive(Debug)]
pub struct Termination(Blocked);

impl Termination {
    /// Blocks SIGTERM for the calling thread, and for those that it starts from now on: so it is called before there are
    /// any others. One that was sent before and is pending arrives.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; SIGTERM is blocked then.
    pub fn block() -> Result<Self, OsError> {
        change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGTERM]))?;
        Blocked::open(libc::SIGTERM).map(Self)
    }

    /// Whether SIGTERM came since the last time that this was asked; several that came in between are one.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.0.arrived()
    }
}

impl AsFd for Termination {
    /// Readable when SIGTERM came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

/// The ends of children as something to wait for, whatever the program does about SIGCHLD: it is blocked, and not ignored,
/// so that children that ended stay until they are waited for. SIGINT is blocked as well, and so ends nobody.
///
/// | property | |
/// |---|---|
/// | in a forked child | [`restore`](Self::restore) gives it what the program had |
/// | drop | closes the descriptor; the signals stay blocked |
pub struct ChildEnds {
    blocked: Blocked,
    mask_before: libc::sigset_t,
    was_ignored: bool,
}

impl ChildEnds {
    /// For a process with one thread.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; the signals are blocked then.
    pub fn block() -> Result<Self, OsError> {
        let mask_before = change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGCHLD, libc::SIGINT]))?;
        let blocked = Blocked::open(libc::SIGCHLD)?;
        // SAFETY: the default installs no handler. It fails only for what is no signal.
        let was_ignored = (unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) }) == libc::SIG_IGN;
        Ok(Self { blocked, mask_before, was_ignored })
    }

    /// Whether a child ended since the last time that this was asked; several that did are one.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.blocked.arrived()
    }

    /// Treats the signals as before, in a forked child. A SIGINT that came since the fork arrives now.
    pub fn restore(self) {
        if self.was_ignored {
            // SAFETY: ignoring a signal installs no handler. It fails only for what is no signal.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        }
        let restored = change_mask(libc::SIG_SETMASK, &self.mask_before);
        tracing::trace!(restored = restored.is_ok(), "signals arrive as before");
    }
}

impl fmt::Debug for ChildEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildEnds").field("was_ignored", &self.was_ignored).finish_non_exhaustive()
    }
}

impl AsFd for ChildEnds {
    /// Readable when a child ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.blocked.file.as_fd()
    }
}

/// Ignores SIGINT in this process, and in those that it forks or executes.
pub fn ignore_interrupt() {
    // SAFETY: ignoring a signal installs no handler. It fails only for what is no signal.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}
