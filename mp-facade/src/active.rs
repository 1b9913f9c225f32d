//! A child that still ran, without the value that it will leave.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::child::ChildError;
use mp_sys::deadline::Deadline;

use crate::process::Method;
use crate::running::Running;
use crate::signal::{SIGKILL, SIGTERM};

/// A child of this process, as [`active_children`](crate::active_children) lists it.
///
/// It can be signalled and waited for; its value is the business of its [`Child`](crate::Child).
///
/// # Fork safety
/// A forked child that inherits it may signal, and cannot wait: [`ChildError::NotParent`].
#[derive(Clone)]
pub struct ActiveChild {
    running: Arc<Running>,
}

impl ActiveChild {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        Self { running }
    }

    /// The child's process id.
    #[must_use]
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.running.process.id()
    }

    /// Its name: the one that it was given, or `Process-` and its id.
    #[must_use]
    pub fn name(&self) -> String {
        self.running.name()
    }

    /// Whether it is asked to end at the end of this process, rather than waited for.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.running.about.daemon
    }

    /// Whether the kernel ends it with this process, so that it is not waited for then.
    #[must_use]
    pub fn dies_with_parent(&self) -> bool {
        self.running.about.dies_with_parent
    }

    /// How it was started.
    #[must_use]
    pub fn method(&self) -> Method {
        self.running.about.method
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child.
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        Ok(!self.wait_timeout(Duration::ZERO)?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child.
    pub fn wait(&self) -> Result<(), ChildError> {
        self.running.process.wait(Deadline::NEVER).map(drop)
    }

    /// Waits at most `timeout` (monotonic clock; `Duration::MAX` waits for ever); `false` if it still runs then.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ChildError> {
        self.wait_until(Deadline::after(timeout))
    }

    pub(crate) fn wait_until(&self, deadline: Deadline) -> Result<bool, ChildError> {
        Ok(self.running.process.wait(deadline)?.is_some())
    }

    /// Asks it to end, by SIGTERM; `false` if it has ended already.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses.
    pub fn terminate(&self) -> Result<bool, ChildError> {
        self.running.process.signal(SIGTERM)
    }

    /// Ends it by SIGKILL; `false` if it has ended already.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses.
    pub fn kill(&self) -> Result<bool, ChildError> {
        self.running.process.signal(SIGKILL)
    }
}

impl AsFd for ActiveChild {
    /// The child's pidfd: readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.running.process.as_fd()
    }
}

impl fmt::Debug for ActiveChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.running.show("ActiveChild", f)
    }
}
