//! A line from a process to its children, which breaks when the process ends: the kernel then kills the children that
//! hold it.
//!
//! `PR_SET_PDEATHSIG` alone does not keep the promise: the kernel clears it when the child changes its user or group,
//! and sends it when the *thread* that started the child ends. A pidfd of the parent reports the end correctly, but
//! only to a thread that waits for it. The library has no thread of its own in the user's process, and a pidfd sends no
//! signals.
//!
//! A pipe does (`O_ASYNC`). Only the parent holds the writing end, and it writes nothing. Each child has its own open
//! file of the other end, with itself as the owner and SIGKILL as the signal. The kernel sends the signal when the last
//! writing end is closed. That happens when the parent ends in any way, or executes another program. A stopped child is
//! killed as well.
//!
//! The kernel compares users when it sends the signal: those at the moment when the owner was set with those of now. If
//! root of the machine has set the owner, the signal is sent whatever the child becomes. Root of a user namespace has
//! no such privilege here: a child that drops its rights there must call [`renew`] afterwards.
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

/// A request of fcntl(2) on every Linux, which libc leaves out.
const F_SETSIG: libc::c_int = 10;

/// The writing ends. One serves all children, unless this process changed its user in between.
static HELD: PerProcess<Vec<ClosedOnFork>> = PerProcess::new();
/// The line that this process holds.
static TIED: PerProcess<Option<Tied>> = PerProcess::new();

#[derive(Debug)]
struct Tied {
    line: ClosedOnFork,
    starter: Option<u32>,
}

/// One child's end of a line, for the child to hold.
///
/// | property | |
/// |---|---|
/// | in a forked child | the child may hold it if its parent does not |
/// | drop | this line is not held; other lines are unaffected |
#[derive(Debug)]
pub struct Lifeline {
    end: OwnedFd,
}

impl Lifeline {
    /// Makes a line from the calling process.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn new() -> Result<Self, OsError> {
        let mut held = HELD.lock();
        if let Some(Ok(newest)) = held.last().map(ClosedOnFork::file) {
            // A separate open file, so that it can have its own owner. The kernel refuses it without /proc, and if the
            // user has changed since. Then a new line is made.
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
                // Another thread is forking: its child may hold the end of that line, and would keep it from breaking.
                Err(NotTaken::Forked) => {}
                Err(NotTaken::TooMany) => return Err(Errno::MFILE.into()),
                Err(NotTaken::System(error)) => return Err(error),
            }
        }
    }

    /// Takes a line that came from another process.
    #[must_use]
    pub fn of_descriptor(end: OwnedFd) -> Self {
        Self { end }
    }

    /// Makes the kernel end the calling process by SIGKILL when the line breaks. `starter` is the id of the process
    /// that started this one, if the thread that did so lives as long as its process. The end of that thread then kills
    /// this process as well: a second way, which an exec does not undo. Returns `false` if one of them has already
    /// ended.
    ///
    /// # Errors
    /// None that is documented.
    pub fn hold(self, starter: Option<u32>) -> Result<bool, OsError> {
        // Children of this process must not keep a copy of it.
        let line = ClosedOnFork::of(self.end, BeforeOpening::now()).map_err(|_| Errno::MFILE)?;
        let holds = take_hold(&line, starter)?;
        *TIED.lock() = Some(Tied { line, starter });
        if !holds {
            // The kernel does the same if the line breaks a moment later.
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
    // Checked afterwards: an earlier end is seen here, and the kernel sees a later one.
    Ok(starter_lives && !has_no_other_end(end)?)
}

/// Repeats what [`Lifeline::hold`] did, after this process has changed its user or group. Returns `false` if it holds
/// no line, as in a process that was forked from one that holds a line. If the line has broken meanwhile, this process
/// ends by SIGKILL.
///
/// # Errors
/// None that is documented.
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

/// Closes the writing ends whose other ends no process has any more.
pub fn release_lifelines() {
    HELD.lock().retain(|line| line.file().is_ok_and(|end| !has_no_other_end(end).unwrap_or(false)));
}

/// Whether a pipe has no other end, so that nobody can write into it.
fn has_no_other_end(end: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut files = [PollFd::from_borrowed_fd(end, PollFlags::empty())];
    poll(&mut files, Some(&Timespec::default())).map(|ready| ready > 0)
}

fn fcntl(file: BorrowedFd<'_>, what: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open while it is borrowed; both requests take an int, and touch no memory.
    let failed = unsafe { libc::fcntl(file.as_raw_fd(), what, value) } < 0;
    if failed { Err(last_errno()) } else { Ok(()) }
}
