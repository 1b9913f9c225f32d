//! Waiting for several things at once.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::ready;

use crate::error::OsError;

thread_local! {
    /// What this thread has learnt about whether looking again pays.
    static BUDGET: Budget = const { Budget::new() };
}

/// Waits at most `timeout` until at least one of `sources` is ready, and gives the indices of all that are, in order; none
/// if the time is over (monotonic clock; `Duration::MAX` waits for ever).
///
/// A source is whatever has a descriptor. Connections and receivers are ready when there is a message or the end of the
/// stream, listeners when there is something to accept, children when they have ended, files and sockets when they can be
/// read. Another thread or process may be faster: use the `try_` methods on what is ready.
///
/// # Errors
/// `EINVAL` for more sources than the process may have descriptors.
///
/// # Fork safety
/// A forked child may wait on what it inherited.
///
/// # Source
/// Python's `multiprocessing.connection.wait`; poll(2).
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use std::time::Duration;
///
/// let (quiet, from_quiet) = mp::pipe::<u32>()?;
/// let (busy, from_busy) = mp::pipe::<String>()?;
/// assert!(mp::wait(&[&from_quiet, &from_busy], Duration::ZERO)?.is_empty());
/// busy.send(&"here".to_owned())?;
/// assert_eq!(mp::wait(&[&from_quiet, &from_busy], Duration::MAX)?, [1]);
/// drop(quiet); // the end is something to receive
/// assert_eq!(mp::wait(&[&from_quiet, &from_busy], Duration::MAX)?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(sources: &[&dyn AsFd], timeout: Duration) -> Result<Vec<usize>, OsError> {
    let files: Vec<BorrowedFd<'_>> = sources.iter().map(|source| source.as_fd()).collect();
    BUDGET.with(|budget| ready::readable(&files, budget, Deadline::after(timeout)))
}
