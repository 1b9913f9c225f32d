//! Counts the threads of a process, for callers that must be the only thread.
//!
//! unshare(2) shows whether there are other threads, because it refuses to separate a thread from a group with more
//! than one: it is one call, exact, and works without a /proc. Only /proc shows how many there are.

use std::time::Duration;

use rustix::io::Errno;

use super::{ForkError, last_errno};
use crate::deadline::Deadline;

/// The number of threads of this process besides the caller.
///
/// A joined thread may exist for a moment longer, because its end wakes the joiner before it leaves the group. So while
/// there are others, this checks again until `deadline`.
pub(super) fn other_threads(deadline: Deadline) -> Result<usize, ForkError> {
    loop {
        let others = count_others()?;
        if others == 0 || deadline.has_passed() {
            return Ok(others);
        }
        std::thread::yield_now();
    }
}

/// Whether the caller is the only thread of this process. `false` if that cannot be found out.
#[must_use]
pub fn is_only_thread() -> bool {
    other_threads(Deadline::after(Duration::ZERO)).is_ok_and(|others| others == 0)
}

fn count_others() -> Result<usize, ForkError> {
    // SAFETY: the flag has no effect except the error: either there is nothing to separate, or the call is refused.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(0);
    }
    let refused = last_errno();
    let in_proc = count_in_proc().map(|threads| threads.saturating_sub(1));
    if refused == Errno::INVAL {
        // There are others, whatever /proc shows.
        return Ok(in_proc.unwrap_or(1).max(1));
    }
    // A sandbox does not permit unshare(2).
    in_proc.map_err(|error| ForkError::ThreadsUnknown(error.into()))
}

fn count_in_proc() -> Result<usize, std::io::Error> {
    const TASKS: &str = "/proc/self/task";
    // A folder has two links plus one for each folder inside it, if the file system counts them.
    let links = usize::try_from(rustix::fs::stat(TASKS)?.st_nlink).unwrap_or(usize::MAX);
    if links > 2 {
        return Ok(links.saturating_sub(2));
    }
    Ok(std::fs::read_dir(TASKS)?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_looking_agree() {
        std::thread::scope(|scope| {
            let (end, until) = std::sync::mpsc::channel::<()>();
            std::thread::Builder::new().spawn_scoped(scope, move || until.recv().unwrap_err()).unwrap();
            // libtest's own threads come and go meanwhile.
            assert!(count_others().unwrap() >= 1);
            assert!(count_in_proc().unwrap() >= 2);
            drop(end);
        });
    }
}
