//! How many threads a process has, for those who must be alone.
//!
//! Whether there are others is asked of unshare(2), which refuses to part a thread from its group if that has more: one
//! call, exact, and right without a /proc. How many there are stands in /proc only.

use std::time::Duration;

use rustix::io::Errno;

use super::{ForkError, last_errno};
use crate::deadline::Deadline;

/// Threads of this process besides the caller.
///
/// A thread that was joined may be there for a moment longer: its end wakes the joiner before it leaves the group. So more
/// than none is looked at again until `deadline`.
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
    // SAFETY: the flag has no effect but the error: either there is nothing to part, or the call is refused.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(0);
    }
    let refused = last_errno();
    let in_proc = count_in_proc().map(|threads| threads.saturating_sub(1));
    if refused == Errno::INVAL {
        // There are others, whatever /proc says.
        return Ok(in_proc.unwrap_or(1).max(1));
    }
    // A sandbox permits no unshare(2).
    in_proc.map_err(|error| ForkError::ThreadsUnknown(error.into()))
}

fn count_in_proc() -> Result<usize, std::io::Error> {
    const TASKS: &str = "/proc/self/task";
    // A folder has two links and one for each folder inside, where the file system counts them.
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
