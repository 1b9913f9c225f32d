//! The reasons why a fork is refused.

use rustix::io::Errno;

use crate::OsError;

/// Why there is no child. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// Other threads run in this process: a child would inherit what they hold, without the threads that release it.
    ///
    /// `spawn` and the fork server start processes beside threads. To fork, do so before threads are started. Inside `#[test]`
    /// there is always a second thread: declare the test binary with `harness = false`, and call `fork` from its `main`.
    #[error(
        "fork with {0} other thread(s) running: use `spawn` or the fork server, which start processes beside threads, or \
         fork before starting threads (a #[test] always has one: use `harness = false`)"
    )]
    OtherThreads(usize),
    /// The process has an event loop, for example that of a tokio runtime with one thread. A child would share the loop and
    /// take events away from the parent.
    ///
    /// `spawn` and the fork server start processes beside it. To fork, do so before the loop is made.
    #[error(
        "fork with an event loop open (epoll, descriptor {descriptor}), which the child would share: use `spawn` or the \
         fork server, or fork before the runtime or loop is made"
    )]
    EventLoop {
        /// The number of its descriptor.
        descriptor: i32,
    },
    /// The library cannot find out whether other threads run: a sandbox forbids unshare(2), and there is no /proc.
    #[error("the threads of this process cannot be counted (neither unshare(2) nor /proc): {0}")]
    ThreadsUnknown(#[source] OsError),
    /// The calling thread holds locks of this library: drop the guards first.
    #[error("fork while the calling thread holds {0} lock(s): drop the guards first")]
    GuardHeld(usize),
    /// The limit of processes is reached (`RLIMIT_NPROC`, pid limit of the control group or the system).
    #[error("the limit of processes is reached")]
    OutOfProcesses,
    /// There is no memory for another process.
    #[error("no memory for another process")]
    OutOfMemory,
    /// There is no free descriptor for the child's handle.
    #[error("no free file descriptor for the child's handle")]
    OutOfDescriptors,
    /// The handles for the child cannot be listed, because encoding one of the values failed.
    #[error("one of the handles could not be encoded")]
    Handles,
    /// The limit of this process for the length of a file (`RLIMIT_FSIZE`) is below the shortest result of a child.
    #[error("the limit of {limit} bytes for files (RLIMIT_FSIZE) leaves no room for the result of a child")]
    FileSizeLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The kernel returned another error.
    #[error("the kernel refused to fork: {0}")]
    System(#[source] OsError),
}

impl From<Errno> for ForkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::OutOfProcesses,
            Errno::NOMEM => Self::OutOfMemory,
            Errno::MFILE | Errno::NFILE => Self::OutOfDescriptors,
            other => Self::System(other.into()),
        }
    }
}
