//! Signals, for a server process of this workspace and for nothing else.
//!
//! A library has no business with the signals of a program. The server of a manager is a process that the library itself
//! starts: it is to end in order when it is asked to, and to live through the Ctrl-C that the terminal sends to the whole
//! process group, since its clients may still want to put things away.
//!
//! SIGTERM becomes a descriptor for the event loop: no handler runs, so there is nothing that a handler must not do.
//!
//! Source: signalfd(2), pthread_sigmask(3), signal(7); Python's `multiprocessing.managers`, whose server ignores SIGINT.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::OsError;

/// SIGTERM as something to wait for.
///
/// | property | |
/// |---|---|
/// | in a forked child | blocked there too, and the descriptor tells of the signals of whoever reads it |
/// | drop | closes the descriptor; SIGTERM stays blocked |
#[derive(Debug)]
pub struct Termination {
    file: OwnedFd,
}

impl Termination {
    /// Blocks SIGTERM for the calling thread, and for those that it starts from now on: so it is called before there are
    /// any others. One that was sent before and is pending arrives.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; SIGTERM is blocked then.
    pub fn block() -> Result<Self, OsError> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is writable; it is made empty, whatever it was.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: sigemptyset has initialised the set: it has no way to fail.
        let mut set = unsafe { set.assume_init() };
        // SAFETY: the set is initialised, and SIGTERM is a signal.
        unsafe { libc::sigaddset(&raw mut set, libc::SIGTERM) };
        // SAFETY: the set is initialised; the old mask is not asked for.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if failed != 0 {
            return Err(Errno::from_raw_os_error(failed).into());
        }
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let number = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if number < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: signalfd just made the descriptor, and nobody else knows it.
        Ok(Self { file: unsafe { OwnedFd::from_raw_fd(number) } })
    }

    /// Whether SIGTERM came since the last time that this was asked; several that came in between are one.
    #[must_use]
    pub fn arrived(&self) -> bool {
        let mut told = [0_u8; size_of::<libc::signalfd_siginfo>()];
        loop {
            match rustix::io::read(&self.file, &mut told) {
                Err(Errno::INTR) => {}
                outcome => return outcome.is_ok_and(|count| count > 0),
            }
        }
    }
}

impl AsFd for Termination {
    /// Readable when SIGTERM came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Ignores SIGINT in this process, and in those that it forks or executes. `true` if it was at its default before.
pub fn ignore_interrupt() -> bool {
    // SAFETY: ignoring a signal installs no handler. It fails only for what is no signal.
    (unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) }) == libc::SIG_DFL
}

/// Lets SIGINT end this process again.
pub fn default_interrupt() {
    // SAFETY: the default installs no handler. It fails only for what is no signal.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}
