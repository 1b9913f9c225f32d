//! Forks that write down what a process has in memory, while the process goes on and changes it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{FileType, Mode, OFlags, fstat};

use super::{ChildProcess, ForkError, fork_process, refuse_what_is_unsafe};
use crate::descriptors::open;

/// Forks as [`fork`](super::fork) does, also if this process has an event loop. The child gives up all sockets at once, so the
/// connections of this process end when this process closes them, and not when the child has ended.
///
/// `body` must not use the event loop, nor drop any descriptor of the parent: the numbers of the sockets stand for /dev/null. It
/// may read memory, and open and write files. If /proc is not mounted, the child keeps the sockets.
///
/// # Errors
/// [`ForkError`]; `body` has not run anywhere.
pub fn fork_to_write(body: impl FnOnce() -> i32) -> Result<ChildProcess, ForkError> {
    refuse_what_is_unsafe()?;
    let run = || {
        give_up_sockets();
        body()
    };
    fork_process(run, 0)
}

/// Replaces each socket above the standard descriptors by /dev/null. A number that was closed instead might be that of the next
/// file, and whatever logs to a socket would then write into that file.
fn give_up_sockets() {
    let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else { return };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let numbers: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // SAFETY: the number is not -1, and fstat(2) fails if it is not open.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let is_socket =
            fstat(file).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket);
        if is_socket {
            // SAFETY: the number stays open, so whoever owns it can still close it. This process never uses it as a socket.
            unsafe { libc::dup3(null.as_raw_fd(), number, libc::O_CLOEXEC) };
        }
    }
}
