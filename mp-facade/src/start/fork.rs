//! `fork`: a child that begins as a copy of its parent.

use mp_sys::child::{self, ChildProcess, ForkAnyway, ForkError, PANIC_EXIT_CODE};
use mp_sys::crash;

use crate::child::Child;
use crate::handle::Handle;
use crate::outcome::Lease;
use crate::process::{Birth, Method};
use crate::running::{Running, reap_abandoned};
use crate::start::return_value::ReturnValue;
use crate::start::whole;

/// Runs `body` in a new process that begins as a copy of this one, and returns its handle.
///
/// The child gets a copy of everything that this process has: variables, open descriptors, memory. Only kernel objects and
/// the types that use them are shared: a [`Value`](crate::Value) made before the fork is the same value in both processes,
/// but a `Vec` is not. `body` may borrow local variables. What it captures by value is dropped in both processes.
///
/// stdout is flushed before the fork and at the end of `body`. Then the child ends by `_exit`, without running exit handlers.
/// Threads that it started and did not join end with it, as at the end of `main`.
///
/// # Errors
/// [`ForkError::OtherThreads`] while other threads run, and [`ForkError::GuardHeld`] while the caller holds a guard: both
/// would leave locks in the child that nobody can release. [`ForkError::EventLoop`] while the process has an event loop that
/// the child would share, for example that of a tokio runtime with one thread. [`ForkError::OutOfProcesses`],
/// [`ForkError::OutOfMemory`], [`ForkError::OutOfDescriptors`] at the system's limits. `body` has not run then.
///
/// # Fork safety
/// A child may fork in turn. It cannot join its siblings.
///
/// # Crash
/// If the child is killed, [`Child::join`] returns the signal, and other processes get the locks that the child held. If this
/// process is killed, the child goes on.
///
/// # Source
/// Python's `multiprocessing.Process` with the start method "fork"; fork(2).
///
/// # Examples
/// ```standalone_crate
/// let words = vec!["shared", "by", "copy"];
/// let child = mp::fork(|| words.concat().len())?;
/// assert_eq!(child.join()?, 12);
///
/// let child = mp::fork(|| -> () { panic!("no more paper") })?;
/// assert_eq!(child.join().unwrap_err().to_string(), "the child panicked: no more paper");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Process")]
pub fn fork<R, F>(body: F) -> Result<Child<R>, ForkError>
where
    F: FnOnce() -> R,
    R: ReturnValue,
{
    start_as(Birth::by(Method::Fork), |run| child::fork(run), body)
}

/// Like [`fork`], but even while other threads run, the caller holds guards or the process has an event loop. The caller
/// takes the responsibility with [`ForkAnyway::new`], which is unsafe to call.
///
/// # Errors
/// The same as [`fork`], but never `OtherThreads`, `GuardHeld` and `EventLoop`.
pub fn fork_anyway<R, F>(responsible: ForkAnyway, body: F) -> Result<Child<R>, ForkError>
where
    F: FnOnce() -> R,
    R: ReturnValue,
{
    start_as(Birth::by(Method::Fork), |run| child::fork_anyway(responsible, run), body)
}

pub(crate) fn start_as<R, F>(
    mut birth: Birth,
    fork: impl FnOnce(&mut dyn FnMut() -> i32) -> Result<ChildProcess, ForkError>,
    body: F,
) -> Result<Child<R>, ForkError>
where
    F: FnOnce() -> R,
    R: ReturnValue,
{
    reap_abandoned();
    let lease = Lease::new()?;
    crash::point();
    let mut body = Some(body);
    let process = fork(&mut || match body.take() {
        // Serializing and dropping the value also runs the user's code.
        Some(body) if whole::enter_forked(&mut birth) => whole::run(lease.outcome(), || {
            lease.outcome().leave_value(&body());
            0
        }),
        _ => PANIC_EXIT_CODE,
    })?;
    crash::point();
    Ok(Child::new(Running::add(Handle::Own(process), lease, None, birth.about)))
}
