//! `fork` as a safe function, and the handle of the child that it makes.
//!
//! A forked child has a copy of one thread only. What other threads were doing (holding the allocator's lock, say) stays
//! half done in it for ever, so [`fork`] refuses while there are other threads; and while the caller holds a lock of this
//! workspace, because two processes would then believe that they hold it; and while the process has an event loop, which
//! the child would share. [`ForkAnyway`] is the override, and it is `unsafe` to make.
//!
//! The child runs a closure and ends by `_exit`: it never returns into the caller's stack frames, and runs no exit
//! handlers of the parent. Everything about a child goes through its pidfd, so a signal can never reach another process
//! that has got its process id.
//!
//! Source: fork(2), pidfd_open(2), waitid(2), _exit(2).

mod abandoned;
mod ended;
mod event_loops;
mod in_place;
mod lifeline;
mod lifetime;
mod output;
mod refused;
mod threads;
mod writing;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_send_signal, waitid};

use self::abandoned::Kept;
pub use self::abandoned::reap_abandoned;
pub use self::ended::Ended;
pub(crate) use self::ended::has_dumped_core;
pub use self::event_loops::EVENT_LOOPS_LOOKED_AT_BEYOND;
pub use self::in_place::write_at;
pub use self::lifeline::{Lifeline, release_lifelines, renew};
pub(crate) use self::lifetime::parent_pid;
pub use self::lifetime::{
    at_exit, die_with, has_children_noted, is_main_thread, note_child, note_start, own_pid, started_by,
};
pub(crate) use self::output::flush_output;
pub use self::refused::ForkError;
pub use self::threads::is_only_thread;
use self::threads::other_threads;
pub use self::writing::fork_to_write;
use crate::OsError;
use crate::crash;
use crate::deadline::Deadline;
use crate::descriptors::{self, eventfd, pidfd_open};
use crate::fork::Epoch;
use crate::identity::has_ended;
use crate::ready;
use crate::robust;

/// How long to sleep before looking again at a child that has ended while another process traces it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The exit code of a child whose closure panicked, as in other Rust programs.
pub const PANIC_EXIT_CODE: i32 = 101;
/// How long `fork` keeps checking for threads that were joined but have not quite ended.
const ENDING_THREADS: Duration = Duration::from_millis(5);

/// Proof that the caller takes responsibility for a fork that [`fork`] would refuse.
#[derive(Debug)]
pub struct ForkAnyway(());

impl ForkAnyway {
    /// Takes the responsibility.
    ///
    /// # Safety
    /// - Until it ends or execs, the child calls nothing that takes a lock which another thread of the parent may have
    ///   held: of the allocator only what the C library repairs, no stdio, no logging, no thread-locals of libraries.
    /// - The child does not use data that a guard held by the parent lends.
    /// - The child does not use, and does not drop, what belongs to an event loop of the parent: the loop, its sockets and timers.
    #[must_use]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

/// Runs `body` in a new process, which ends with the exit code that `body` returns.
///
/// # Errors
/// [`ForkError`]; `body` has not run anywhere.
pub fn fork(body: impl FnOnce() -> i32) -> Result<ChildProcess, ForkError> {
    refuse_what_is_unsafe()?;
    if let Some(descriptor) = event_loops::find() {
        return Err(ForkError::EventLoop { descriptor });
    }
    fork_process(body, 0)
}

fn refuse_what_is_unsafe() -> Result<(), ForkError> {
    let held = robust::held_count();
    if held > 0 {
        return Err(ForkError::GuardHeld(held));
    }
    let others = other_threads(Deadline::after(ENDING_THREADS))?;
    if others > 0 {
        return Err(ForkError::OtherThreads(others));
    }
    Ok(())
}

/// Forks as [`fork`] does, whatever threads run and whatever the caller holds.
///
/// # Errors
/// [`ForkError`], except `OtherThreads`, `GuardHeld` and `EventLoop`.
pub fn fork_anyway(responsible: ForkAnyway, body: impl FnOnce() -> i32) -> Result<ChildProcess, ForkError> {
    let ForkAnyway(()) = responsible;
    fork_process(body, other_threads(Deadline::after(Duration::ZERO))?)
}

/// Forks as [`fork`] does, for a process that reaps all its children itself and writes nothing to stdout. Returns only
/// the id, which stays the child's until it is reaped.
pub(crate) fn fork_unhandled(body: impl FnOnce() -> i32) -> Result<Pid, ForkError> {
    refuse_what_is_unsafe()?;
    let child = duplicate(body, 0, None)?;
    Pid::from_raw(child).ok_or_else(|| Errno::SRCH.into())
}

/// Forks; the caller has made sure that the child can run `body`.
fn fork_process(body: impl FnOnce() -> i32, others: usize) -> Result<ChildProcess, ForkError> {
    reap_abandoned();
    flush_output();
    // This descriptor is of the kind that the child's handle needs: if none is free, the call fails before there is a
    // child.
    let reserved = reserve_descriptor()?;
    crash::point();
    Ok(adopt(duplicate(body, others, Some(reserved))?)?)
}

/// Forks, and closes `reserved` in both processes. Returns the id of the child in the parent.
// A child runs other steps as well: see `in_place`.
#[unsafe(link_section = "mp_fork")]
#[inline(never)]
fn duplicate(body: impl FnOnce() -> i32, others: usize, reserved: Option<OwnedFd>) -> Result<i32, ForkError> {
    // SAFETY: there is no other thread and no held guard, or a `ForkAnyway` vouches for the child's side; the parent's
    // side has no conditions.
    let forked = unsafe { libc::fork() };
    match forked {
        0 => {
            crash::begin_forked();
            crash::point();
            reserved.into_iter().for_each(in_place::close);
            run_child(body, others == 0)
        }
        -1 => Err(last_errno().into()),
        child => {
            crash::has_forked();
            crash::point();
            drop(reserved);
            Ok(child)
        }
    }
}

/// Reserves a descriptor: a copy of stdin, which costs a tenth of a pidfd, or a pidfd if stdin is closed.
fn reserve_descriptor() -> Result<OwnedFd, Errno> {
    match descriptors::duplicate(std::io::stdin()) {
        Err(Errno::BADF) => pidfd_open(getpid(), PidfdFlags::empty()),
        outcome => outcome,
    }
}

/// Runs in the parent: takes hold of the child before anything else can go wrong.
pub(crate) fn adopt(child: i32) -> Result<ChildProcess, Errno> {
    let pid = Pid::from_raw(child).ok_or(Errno::SRCH)?;
    let adopted = |pidfd, ended| {
        let (parent, has_dumped_core) = (Epoch::current(), AtomicBool::new(false));
        ChildProcess { pid, pidfd: Some(pidfd), parent, ended, has_dumped_core }
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(adopted(pidfd, OnceLock::new())),
        // The child has ended, and SIGCHLD is ignored, so the kernel did not keep it. A readable descriptor takes the
        // place of its pidfd.
        Err(Errno::SRCH) => Ok(adopted(eventfd(1, EventfdFlags::CLOEXEC)?, OnceLock::from(Ended::Unknown))),
        Err(error) => {
            // Another thread took the reserved descriptor. The child is not reaped yet, so its id is still its own.
            let killed = rustix::process::kill_process(pid, Signal::KILL);
            let reaped = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            tracing::debug!(?killed, ?reaped, "a child that could not get a handle was ended");
            Err(error)
        }
    }
}

/// Runs in the child. Never returns into the parent's frames.
///
/// The output is flushed, unless the parent had other threads: one of them may have held stdout's lock for ever.
// A child runs other steps as well: see `in_place`.
#[unsafe(link_section = "mp_fork")]
#[inline(never)]
#[expect(clippy::mem_forget, reason = "dropping the payload of a panic may panic, and then again")]
pub(crate) fn run_child(body: impl FnOnce() -> i32, may_flush: bool) -> ! {
    let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        PANIC_EXIT_CODE
    });
    crash::point();
    let flushed = !may_flush || catch_unwind(flush_output).map_err(std::mem::forget).is_ok();
    let code = if flushed { code } else { PANIC_EXIT_CODE };
    crash::point();
    // SAFETY: _exit(2) ends the process and has no conditions.
    unsafe { libc::_exit(code) }
}

fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Why a child could not be waited for or signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The handle was inherited: only the process that forked a child can wait for it.
    #[error("only the process that started a child can wait for it")]
    NotParent,
    /// The kernel returned another error.
    #[error("the kernel refused: {0}")]
    System(#[source] OsError),
}

impl From<Errno> for ChildError {
    fn from(errno: Errno) -> Self {
        Self::System(errno.into())
    }
}

/// A process that this one forked. Dropping the handle neither waits for it nor ends it.
pub struct ChildProcess {
    pid: Pid,
    /// Taken out only in `drop`.
    pidfd: Option<OwnedFd>,
    parent: Epoch,
    ended: OnceLock<Ended>,
    has_dumped_core: AtomicBool,
}

impl ChildProcess {
    /// The child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the child has ended, and reaps it; returns `None` if it still runs at `deadline`.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child that inherited the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<Option<Ended>, ChildError> {
        if let Some(ended) = self.ended.get() {
            return Ok(Some(*ended));
        }
        if !self.parent.is_current() {
            return Err(ChildError::NotParent);
        }
        if !deadline.is_never() && !poll_readable(self.as_fd(), deadline)? {
            return Ok(None);
        }
        // First the status, then the reaping, so that each of several waiting threads gets the status.
        let mut options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        options.set(WaitIdOptions::NOHANG, !deadline.is_never());
        let ended = loop {
            match waitid(WaitId::PidFd(self.as_fd()), options) {
                Ok(Some(status)) => {
                    self.has_dumped_core.store(status.dumped(), Ordering::Relaxed);
                    break status.into();
                }
                // A tracer holds the child: its descriptor is readable, but it has no status until the tracer lets it
                // go.
                Ok(None) if deadline.has_passed() => return Ok(None),
                Ok(None) => _ = ready::sleep(&mut [], deadline.min(Deadline::after(LOOK_AGAIN)))?,
                Err(Errno::INTR) => {}
                // The child was reaped: by another thread, which recorded the status before, or by other code.
                Err(Errno::CHILD) => break Ended::Unknown,
                Err(other) => return Err(other.into()),
            }
        };
        let ended = *self.ended.get_or_init(|| ended);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // This fails if another thread was faster.
        let _reaped = waitid(WaitId::PidFd(self.as_fd()), options);
        Ok(Some(ended))
    }

    /// Whether the kernel wrote a core of the child. `false` until [`wait`](Self::wait) has returned how it ended.
    #[must_use]
    pub fn has_dumped_core(&self) -> bool {
        self.has_dumped_core.load(Ordering::Relaxed)
    }

    /// Whether the child is stopped, by SIGSTOP or Ctrl-Z. It does not see a child that a debugger holds.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::PidFd(self.as_fd()), options), Ok(Some(_)))
    }

    /// Whether the child was stopped and continued since the last call. It does not see what a debugger does.
    #[must_use]
    pub fn was_continued(&self) -> bool {
        let options = WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::PidFd(self.as_fd()), options), Ok(Some(_)))
    }

    /// Sends a signal by number; returns `false` if the child has already ended.
    ///
    /// # Errors
    /// [`ChildError::System`] for an invalid signal number.
    pub fn signal(&self, signal: i32) -> Result<bool, ChildError> {
        send_signal(self.as_fd(), self.is_known_to_have_ended(), signal)
    }
}

/// Sends a signal by number through a pidfd; returns `false` if the process has already ended.
pub(crate) fn send_signal(
    pidfd: BorrowedFd<'_>,
    is_known_to_have_ended: bool,
    signal: i32,
) -> Result<bool, ChildError> {
    let signal = Signal::from_named_raw(signal).ok_or(Errno::INVAL)?;
    // A process that has ended and was not waited for accepts signals without an error.
    if is_known_to_have_ended || has_ended(pidfd) {
        return Ok(false);
    }
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

impl fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildProcess")
            .field("pid", &self.id())
            .field("ended", &self.ended.get())
            .finish_non_exhaustive()
    }
}

impl AsFd for ChildProcess {
    /// The child's pidfd: readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_ref().expect("the pidfd is there until the handle is dropped").as_fd()
    }
}

/// Waits until a descriptor is readable; returns `false` at the deadline.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>, deadline: Deadline) -> Result<bool, Errno> {
    Ok(ready::sleep(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], deadline)? > 0)
}

impl ChildProcess {
    /// Drops the handle, and keeps `kept` until the child has ended.
    pub fn abandon_with(mut self, kept: impl Send + 'static) {
        self.give_up(Some(Box::new(kept)));
    }

    /// Whether the child is known to have ended, without asking the kernel.
    #[must_use]
    pub fn is_known_to_have_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    fn give_up(&mut self, kept: Option<Kept>) {
        if self.is_known_to_have_ended() || !self.parent.is_current() {
            return;
        }
        if let Some(pidfd) = self.pidfd.take() {
            abandoned::add(pidfd, kept);
        }
        reap_abandoned();
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.give_up(None);
    }
}
