//! The handle of a process that the fork server has started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{Report, Server, receive};
use crate::child::{ChildError, Ended, poll_readable, send_signal};
use crate::crash;
use crate::deadline::Deadline;
use crate::fork::Epoch;
use crate::robust::Patience;
use crate::socket::{Endpoint, SLICE};

/// The longest that the server may take to report how a child ended, once the child has ended.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// A process that the fork server has started. The server reaps it, and reports how it ended. Dropping the handle does
/// nothing to it.
#[derive(Debug)]
pub struct ServedProcess {
    pid: u32,
    pidfd: OwnedFd,
    report: Endpoint,
    server: Arc<Server>,
    /// Held by the one thread that takes the report out.
    taking: Mutex<()>,
    asker: Epoch,
    ended: OnceLock<Ended>,
    has_dumped_core: AtomicBool,
}

impl ServedProcess {
    pub(super) fn new(pid: u32, pidfd: OwnedFd, report: Endpoint, server: Arc<Server>) -> Option<Self> {
        let (taking, asker, ended) = (Mutex::new(()), Epoch::current(), OnceLock::new());
        let has_dumped_core = AtomicBool::new(false);
        (pid > 0).then_some(Self { pid, pidfd, report, server, taking, asker, ended, has_dumped_core })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits until the process has ended; returns `None` if it still runs at `deadline`. The server then has at most a
    /// second to report how it ended; after that, the end counts as unknown. If the server was killed and this process
    /// adopts orphans, this process reaps it.
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
        // For a child that ends soon, the server's report wakes this thread only once, whereas the child's own end
        // would wake it a first time.
        if !poll_readable(self.report.as_fd(), deadline.min(Deadline::after(SLICE)))?
            && !poll_readable(self.pidfd.as_fd(), deadline)?
        {
            return Ok(None);
        }
        crash::point();
        if let Told::Ended(ended) = self.take_report(Patience::None) {
            crash::point();
            return Ok(Some(ended));
        }
        // The server was killed, which does not mean that the child has ended, or it is slow.
        if !poll_readable(self.pidfd.as_fd(), deadline)? {
            return Ok(None);
        }
        crash::point();
        let told = self.take_report(Patience::Until(Deadline::after(STATUS_MAX)));
        crash::point();
        let ended = match told {
            Told::Ended(ended) => ended,
            Told::NoMore => self.reap_adopted().unwrap_or(Ended::Unknown),
            Told::Nothing => Ended::Unknown,
        };
        Ok(Some(*self.ended.get_or_init(|| ended)))
    }

    /// Returns what the server reported, now or to another thread.
    fn take_report(&self, patience: Patience) -> Told {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = self.ended.get() {
            return Told::Ended(*ended);
        }
        match receive(&self.report, patience) {
            Some(Ok((Report::Ended(ended), _))) => Told::Ended(*self.ended.get_or_init(|| ended)),
            Some(Ok((Report::Dumped(signal), _))) => {
                self.has_dumped_core.store(true, Ordering::Relaxed);
                Told::Ended(*self.ended.get_or_init(|| Ended::Signaled(signal)))
            }
            Some(Err(())) => Told::NoMore,
            _ => Told::Nothing,
        }
    }

    /// Reaps the process, which has ended, if it has become a child of this one: its server was killed, and this is
    /// process 1 or a subreaper. No other process would reap it.
    fn reap_adopted(&self) -> Option<Ended> {
        // The kernel moves the server's children to other parents before it reports the server's end.
        if !self.server.ends().ok()? {
            return None;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.as_fd()), options).ok().flatten().map(Ended::from)
    }

    /// Sends a signal by number; returns `false` if the process has already ended.
    ///
    /// # Errors
    /// [`ChildError::System`] for an invalid signal number.
    pub fn signal(&self, signal: i32) -> Result<bool, ChildError> {
        send_signal(self.as_fd(), self.is_known_to_have_ended(), signal)
    }

    /// Whether the kernel wrote a core of the process. `false` until a wait has returned how it ended.
    #[must_use]
    pub fn has_dumped_core(&self) -> bool {
        self.has_dumped_core.load(Ordering::Relaxed)
    }

    /// Whether the process is known to have ended, without asking the kernel.
    #[must_use]
    pub fn is_known_to_have_ended(&self) -> bool {
        self.ended.get().is_some()
    }
}

/// What the server has reported about a process.
enum Told {
    Ended(Ended),
    /// Nothing yet.
    Nothing,
    /// Nothing, and the server is ending.
    NoMore,
}

impl AsFd for ServedProcess {
    /// The process's pidfd: readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
