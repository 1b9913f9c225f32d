//! Signals, only for the server processes of this workspace.
//!
//! A library must not touch the signals of a program. But the server of a manager, and a fork server, are processes that
//! the library itself starts. A signal that asks a whole program to end reaches them as well: Ctrl-C goes to the terminal's
//! foreground group, and a service manager sends SIGTERM to every process of a service. The program may still need its
//! servers to clean up. So they ignore these signals, and end with the program, which they watch.
//!
//! A server cannot tell whether a SIGTERM was sent to it alone. To ignore that one too costs little: a client ends a
//! manager by a call, and SIGKILL ends any server.
//!
//! A server that outlives the program that started it is different: nobody else ends it, so SIGTERM and SIGINT do. It learns of
//! them by a descriptor, and saves what it has to save first.
//!
//! The fork server learns of the ends of its children by a descriptor: no handler runs, so there is nothing that a handler must
//! not do.
//!
//! Source: signalfd(2), pthread_sigmask(3), signal(7), systemd.kill(5); Python's `multiprocessing.managers`, whose server ignores
//! SIGINT, and its resource tracker, which ignores SIGTERM too.

mod hangups;

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

pub use self::hangups::{Hangups, hold_hangups};
use crate::OsError;
use crate::descriptors::above_standard;

/// The signal that continues a stopped process. Its number differs from platform to platform.
pub const SIGCONT: i32 = libc::SIGCONT;

/// What asks a whole program to end: a terminal that is closed, Ctrl-C, Ctrl-\ and a service manager.
const SHUTDOWN: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
const SHUTDOWN_AND_CHILD: [i32; 5] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGCHLD];

/// What asks one process to end.
const ENDING: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

/// Blocked signals as a descriptor to wait for.
#[derive(Debug)]
struct Blocked {
    file: OwnedFd,
}

impl Blocked {
    /// Opens signals that are blocked already.
    fn open(signals: &[i32]) -> Result<Self, OsError> {
        let set = set_of(signals);
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let number = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if number < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: signalfd just made the descriptor, and nothing else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self { file: above_standard(file)? })
    }

    /// Whether the signal arrived since the last call; several arrivals in between count as one.
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
    // SAFETY: the set is writable; the call makes it empty, whatever it was.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset, which cannot fail, has initialised the set.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: the set is initialised, and callers pass valid signals.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn contains(set: &libc::sigset_t, signal: i32) -> bool {
    // SAFETY: the set is initialised, and callers pass valid signals.
    (unsafe { libc::sigismember(set, signal) }) == 1
}

/// Changes which signals the calling thread accepts, and returns the mask before.
fn change_mask(how: i32, set: &libc::sigset_t) -> Result<libc::sigset_t, OsError> {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised, and there is room for the old one.
    let failed = unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) };
    if failed != 0 {
        return Err(Errno::from_raw_os_error(failed).into());
    }
    // SAFETY: the successful call has written it.
    Ok(unsafe { before.assume_init() })
}

/// Blocks a signal for the calling thread, as programs do that handle signals in another thread.
pub(crate) fn block(signal: i32) -> Result<(), OsError> {
    change_mask(libc::SIG_BLOCK, &set_of(&[signal])).map(drop)
}

/// Unblocks every signal, in a process that this library has executed: what its parent blocked must not affect it.
pub(crate) fn unblock_all() -> Result<(), OsError> {
    change_mask(libc::SIG_SETMASK, &set_of(&[])).map(drop)
}

/// The ends of children as an event to wait for, however the program handles SIGCHLD. SIGCHLD is blocked and not
/// ignored, so that ended children stay until they are waited for. The signals that ask a whole program to end are blocked
/// as well, so they end no process.
///
/// | property | |
/// |---|---|
/// | in a forked child | [`restore`](Self::restore) brings back the program's own settings |
/// | drop | closes the descriptor; the signals stay blocked |
pub struct ChildEnds {
    blocked: Blocked,
    mask_before: libc::sigset_t,
    was_ignored: bool,
}

impl ChildEnds {
    /// Blocks the signals, in a process with one thread.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; the signals are blocked then.
    pub fn block() -> Result<Self, OsError> {
        let mask_before = change_mask(libc::SIG_BLOCK, &set_of(&SHUTDOWN_AND_CHILD))?;
        let blocked = Blocked::open(&[libc::SIGCHLD])?;
        // SAFETY: the default installs no handler. The call fails only for an invalid signal.
        let was_ignored = (unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) }) == libc::SIG_IGN;
        Ok(Self { blocked, mask_before, was_ignored })
    }

    /// Whether a child ended since the last call; several ends in between count as one.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.blocked.arrived()
    }

    /// Handles the signals as before, in a forked child. A signal that arrived since the fork is delivered now.
    pub fn restore(self) {
        if self.was_ignored {
            // SAFETY: ignoring a signal installs no handler. The call fails only for an invalid signal.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        }
        let restored = change_mask(libc::SIG_SETMASK, &self.mask_before);
        tracing::trace!(restored = restored.is_ok(), "signals are handled as before");
    }
}

impl fmt::Debug for ChildEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildEnds").field("was_ignored", &self.was_ignored).finish_non_exhaustive()
    }
}

impl AsFd for ChildEnds {
    /// Readable when a child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.blocked.file.as_fd()
    }
}

/// Ignores the signals that ask a whole program to end, in this process, and in those that it forks or executes.
pub fn ignore_shutdown() {
    for signal in SHUTDOWN {
        // SAFETY: ignoring a signal installs no handler. The call fails only for an invalid signal.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Blocks SIGINT and SIGTERM, in a process with one thread that has nothing else to do than to serve, and returns a descriptor
/// that is readable once one of them has arrived. A terminal that is closed (SIGHUP) does not end the process: the signal is ignored,
/// unless it is blocked, because [`Hangups`] may wait for it. Processes that it executes have the signals blocked, too.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`; the signals are blocked then.
pub fn end_requests() -> Result<OwnedFd, OsError> {
    let before = change_mask(libc::SIG_BLOCK, &set_of(&ENDING))?;
    if !contains(&before, libc::SIGHUP) {
        // SAFETY: ignoring a signal installs no handler. The call fails only for an invalid signal.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    for signal in ENDING {
        // A process may have inherited that they are ignored, and the kernel discards ignored signals even if they are blocked.
        // SAFETY: the default installs no handler. The call fails only for an invalid signal.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Ok(Blocked::open(&ENDING)?.file)
}
