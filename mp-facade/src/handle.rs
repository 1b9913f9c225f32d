//! A process behind a pidfd, whether this process or the fork server reaps it.

use std::os::fd::{AsFd, BorrowedFd};

use mp_sys::child::{ChildError, ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::forkserver::ServedProcess;

/// A process that this one has started.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A child, which this process reaps.
    Own(ChildProcess),
    /// A child of the fork server, which says how it ended.
    Served(ServedProcess),
}

impl Handle {
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Own(process) => process.id(),
            Self::Served(process) => process.id(),
        }
    }

    pub(crate) fn wait(&self, deadline: Deadline) -> Result<Option<Ended>, ChildError> {
        match self {
            Self::Own(process) => process.wait(deadline),
            Self::Served(process) => process.wait(deadline),
        }
    }

    pub(crate) fn signal(&self, signal: i32) -> Result<bool, ChildError> {
        match self {
            Self::Own(process) => process.signal(signal),
            Self::Served(process) => process.signal(signal),
        }
    }

    /// Whether the kernel wrote a core, once it is known how the process ended.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn has_dumped_core(&self) -> bool {
        match self {
            Self::Own(process) => process.has_dumped_core(),
            Self::Served(process) => process.has_dumped_core(),
        }
    }

    /// Whether it is stopped. Of a child of the fork server, only the server could say so.
    #[cfg(feature = "ipc")]
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self, Self::Own(process) if process.is_stopped())
    }

    /// Whether it was stopped and continued since the last call. Of a child of the fork server, only the server could say so.
    #[cfg(feature = "ipc")]
    pub(crate) fn was_continued(&self) -> bool {
        matches!(self, Self::Own(process) if process.was_continued())
    }

    pub(crate) fn is_known_to_have_ended(&self) -> bool {
        match self {
            Self::Own(process) => process.is_known_to_have_ended(),
            Self::Served(process) => process.is_known_to_have_ended(),
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(process) => process.as_fd(),
            Self::Served(process) => process.as_fd(),
        }
    }
}
