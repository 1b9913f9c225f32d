//! A line from a process to its children, which breaks when it ends: then the kernel kills those that hold it.
//!
//! `PR_SET_PDEATHSIG` alone does not keep the promise: the kernel clears it when the child changes its user or group, and
//! sends it when the *thread* ends that started the child. A pidfd of the parent tells the truth, but only to who waits for
//! it, and no thread of ours runs in the user's process; a pidfd sends no signals.
//!
//! A pipe does (`O_ASYNC`). The parent alone holds the end to write to, and writes nothing. Each child has an open file of the
//! other end, with itself as the owner and SIGKILL as the signal: the kernel sends it when the last end to write to is
//! closed, so when the parent ends, however that happens, or executes another program. A stopped child is killed as well.
//!
//! The kernel compares users when it sends the signal: those of the moment when the owner was set with those of now. What
//! root of the machine has set is sent whatever the child becomes. Root of a user namespace is nobody special here: a child
//! that drops its rights there calls [`renew`] afterwards.
//!
//! Measured in `docs/design/lifeline.md`. Source: fcntl(2) `F_SETOWN`, `F_SETSIG`; fs/fcntl.c `sigio_perm`, fs/pipe.c
//! `pipe_release`; kernel/cred.c `commit_creds`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, getpid, kill_process};

use super::last_errno;
use super::lifetime::die_with;
use crate::OsError;
use crate::descriptors::{open, pipe};
use crate::fork::{BeforeOpening, ClosedOnFork, NotTaken, PerProcess};

/// fcntl(2) on every Linux; libc leaves it out.
const F_SETSIG: libc::c_int = 10;

/// The ends to write to. One serves all children, unless this process changed its user in between.
static HELD: PerProcess<Vec<ClosedOnFork>> = PerProcess::new();
/// What this process is tied to.
static TIED: PerProcess<Option<Tied>> = PerProcess::new();

#[derive(Debug)]
struct Tied {
    line: ClosedOnFork,
    starter: Option<u32>,
}

/// A line that one child is to hold: its end of it.
///
/// | property | |
/// |---|---|
/// | in a forked child | the child may hold it, if its parent does not |
/// | drop | the line is not held; others are as before |
#[derive(Debug)]
pub struct Lifeline {
    end: OwnedFd,
}

impl Lifeline {
    /// A line from the calling process.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn new() -> Result<Self, OsError> {
        let mut held = HELD.lock();
        if let Some(Ok(newest)) = held.last().map(ClosedOnFork::file) {
            // An open file of its own, so that it can have an owner of its own. Refused without /proc, and if the user is
            // another one now: then there is a new line.
            let path = format!("/proc/self/fd/{}", newest.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(end) = open(path, flags, Mode::empty()) {
                return Ok(Self { end });
            }
        }
        loop {
            let before = BeforeOpening::now();
            let (end, other) = pipe(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            match ClosedOnFork::of(other, before) {
                Ok(other) => {
                    held.push(other);
                    return Ok(Self { end });
                }
                // Another thread forks: its child may hold the end of that line, and would keep it from breaking.
                Err(NotTaken::Forked) => {}
                Err(NotTaken::TooMany) => return Err(Errno::MFILE.into()),
                Err(NotTaken::System(error)) => return Err(error),
            }
        }
    }

    /// A line that came from another process.
    #[must_use]
    pub fn of_descriptor(end: OwnedFd) -> Self {
        Self { end }
    }

    /// Ends the calling process by SIGKILL when the line breaks; also when the thread ends that started it, if that is told
    /// to live as long as its process by the id of that, as a second way which an exec does not undo. `false` if one of them
    /// has ended already.
    ///
    /// # Errors
    /// No documented reason is left.
    pub fn hold(self, starter: Option<u32>) -> Result<bool, OsError> {
        // Its copy must not stay in children of this process.
        let line = ClosedOnFork::of(self.end, BeforeOpening::now()).map_err(|_| Errno::MFILE)?;
        let holds = take_hold(&line, starter)?;
        *TIED.lock() = Some(Tied { line, starter });
        if !holds {
            // As the kernel does if it breaks a moment later.
            kill_process(getpid(), Signal::KILL)?;
        }
        Ok(holds)
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

fn take_hold(line: &ClosedOnFork, starter: Option<u32>) -> Result<bool, OsError> {
    let end = line.file().map_err(|_| Errno::CHILD)?;
    fcntl(end, F_SETSIG, libc::SIGKILL)?;
    fcntl(end, libc::F_SETOWN, getpid().as_raw_nonzero().get())?;
    fcntl_setfl(end, OFlags::NONBLOCK | OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned()))?;
    let starter_lives = starter.is_none_or(|starter| die_with(starter).unwrap_or(false));
    // Asked afterwards: an end before is seen here, and a later one by the kernel.
    Ok(starter_lives && !has_no_other_end(end)?)
}

/// Makes what [`Lifeline::hold`] did hold again, after this process has changed its user or group; `false` if it holds no
/// line, as a process that was forked from one which does. If the line has broken meanwhile, this process ends by SIGKILL.
///
/// # Errors
/// No documented reason is left.
pub fn renew() -> Result<bool, OsError> {
    let tied = TIED.lock();
    let Some(Tied { line, starter }) = &*tied else {
        return Ok(false);
    };
    if !take_hold(line, *starter)? {
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(true)
}

/// Closes the ends to write to whose other ends nobody has any more.
pub fn release_lifelines() {
    HELD.lock().retain(|line| line.file().is_ok_and(|end| !has_no_other_end(end).unwrap_or(false)));
}

/// Whether a pipe has no other end: nobody writes into it.
fn has_no_other_end(end: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut files = [PollFd::from_borrowed_fd(end, PollFlags::empty())];
    poll(&mut files, Some(&Timespec::default())).map(|ready| ready > 0)
}

fn fcntl(file: BorrowedFd<'_>, what: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open while it is borrowed; both requests take an int, and touch no memory.
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), what, value) } < 0;
    if failed { Err(last_errno()) } else { Ok(()) }
}
