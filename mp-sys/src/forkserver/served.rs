//! The handle of a process that the fork server has started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{Report, receive};
use crate::child::{ChildError, Ended, poll_readable, send_signal};
use crate::crash;
use crate::deadline::Deadline;
use crate::fork::Epoch;
use crate::robust::Patience;
use crate::socket::{Endpoint, SLICE};

/// How long the server may take to say how a child ended, once it has.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// A process that the fork server has started: the server reaps it, and says how it ended. Dropping the handle does nothing
/// to it.
#[derive(Debug)]
pub struct ServedProcess {
    pid: u32,
    pidfd: OwnedFd,
    report: Endpoint,
    /// One thread at a time takes the report out.
    taking: Mutex<()>,
    asker: Epoch,
    ended: OnceLock<Ended>,
}

impl ServedProcess {
    pub(super) fn new(pid: u32, pidfd: OwnedFd, report: Endpoint) -> Option<Self> {
        let (taking, asker, ended) = (Mutex::new(()), Epoch::current(), OnceLock::new());
        (pid > 0).then_some(Self { pid, pidfd, report, taking, asker, ended })
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
        // A child that ends soon: its server's word wakes this thread once, and its own end would wake it a first time.
        if !poll_readable(self.report.as_fd(), deadline.min(Deadline::after(SLICE)))?
            && !poll_readable(self.pidfd.as_fd(), deadline)?
        {
            return Ok(None);
        }
        crash::point();
        if let Some(ended) = self.take_report(Patience::None) {
            crash::point();
            return Ok(Some(ended));
        }
        // The server was killed, which does not mean that the child has ended; or it is slow.
        if !poll_readable(self.pidfd.as_fd(), deadline)? {
            return Ok(None);
        }
        crash::point();
        let told = self.take_report(Patience::Until(Deadline::after(STATUS_MAX)));
        crash::point();
        Ok(Some(told.unwrap_or_else(|| *self.ended.get_or_init(|| Ended::Unknown))))
    }

    /// What the server said, now or to another thread.
    fn take_report(&self, patience: Patience) -> Option<Ended> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = self.ended.get() {
            return Some(*ended);
        }
        match receive(&self.report, patience) {
            Some(Ok((Report::Ended(ended), _))) => Some(*self.ended.get_or_init(|| ended)),
            _ => None,
        }
    }

    /// Sends a signal by number; `false` if the process has ended already.
    ///
    /// # Errors
    /// [`ChildError::System`], for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<bool, ChildError> {
        send_signal(self.as_fd(), self.is_known_to_have_ended(), signal)
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
