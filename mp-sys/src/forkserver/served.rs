//! The handle of a process that the fork server has started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::{Report, receive};
use crate::child::{ChildError, Ended, poll_readable};
use crate::deadline::Deadline;
use crate::fork::Epoch;
use crate::identity::has_ended;
use crate::robust::Patience;
use crate::socket::Endpoint;

/// How long the server may take to say how a child ended, once it has.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// A process that the fork server has started: the server reaps it, and says how it ended. Dropping the handle does nothing
/// to it.
#[derive(Debug)]
pub struct ServedProcess {
    pid: u32,
    pidfd: OwnedFd,
    /// One thread at a time takes the report out.
    report: Mutex<Endpoint>,
    asker: Epoch,
    ended: OnceLock<Ended>,
}

impl ServedProcess {
    pub(super) fn new(pid: u32, pidfd: OwnedFd, report: Endpoint) -> Option<Self> {
        let report = Mutex::new(report);
        (pid > 0).then(|| Self { pid, pidfd, report, asker: Epoch::current(), ended: OnceLock::new() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits until the process has ended, `None` if it still runs at `deadline`. Then the server says how: it is given a
    /// second at most, else that is not known.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child that inherited the handle.
    pub fn wait(&self, deadline: Deadline) -> Result<Option<Ended>, ChildError> {
        if let Some(ended) = self.ended.get() {
            return Ok(Some(*ended));
        }
        if !self.asker.is_current() {
            return Err(ChildError::NotParent);
        }
        if !poll_readable(self.pidfd.as_fd(), deadline)? {
            return Ok(None);
        }
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = *self.ended.get_or_init(|| {
            match receive(&report, Patience::Until(Deadline::after(STATUS_MAX))) {
                Some(Ok((Report::Ended(ended), _))) => ended,
                // The server was killed, or is stopped.
                _ => Ended::Unknown,
            }
        });
        Ok(Some(ended))
    }

    /// Sends a signal by number; `false` if the process has ended already.
    ///
    /// # Errors
    /// [`ChildError::System`], for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<bool, ChildError> {
        let signal = Signal::from_named_raw(signal).ok_or(Errno::INVAL)?;
        if self.is_known_to_have_ended() || has_ended(self.as_fd()) {
            return Ok(false);
        }
        match pidfd_send_signal(self.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether the process is known to have ended, without asking the kernel.
    #[must_use]
    pub fn is_known_to_have_ended(&self) -> bool {
        self.ended.get().is_some()
    }
}

impl AsFd for ServedProcess {
    /// The process's pidfd: readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
