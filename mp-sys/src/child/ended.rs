//! How a process ended, as reported by waitid(2) and waitpid(2).

use rustix::process::{WaitIdStatus, WaitStatus};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Unknown, because other code reaped it (SIGCHLD is ignored, or a `wait` for any child).
    Unknown,
}

impl Ended {
    fn of(exit_status: Option<i32>, terminating_signal: Option<i32>) -> Self {
        match (exit_status, terminating_signal) {
            (Some(code), _) => Self::Exited(code),
            (_, Some(signal)) => Self::Signaled(signal),
            _ => Self::Unknown,
        }
    }
}

impl From<WaitIdStatus> for Ended {
    fn from(status: WaitIdStatus) -> Self {
        Self::of(status.exit_status(), status.terminating_signal())
    }
}

impl From<WaitStatus> for Ended {
    fn from(status: WaitStatus) -> Self {
        Self::of(status.exit_status(), status.terminating_signal())
    }
}

/// Whether the kernel wrote a core of a process that ended in this way: the bit that wait(2) calls `WCOREDUMP`.
pub(crate) fn has_dumped_core(status: WaitStatus) -> bool {
    status.terminating_signal().is_some() && status.as_raw() & 0x80 != 0
}
