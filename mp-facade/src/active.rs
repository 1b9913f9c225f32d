//! `ActiveChild`: the handle of a child without its value.

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
/// You can signal it and wait for it. Only its [`Child`](crate::Child) returns its value.
///
/// # Fork safety
/// A forked child that inherits it can signal, but cannot wait: that returns [`ChildError::NotParent`].
#[derive(Clone)]
pub struct ActiveChild {
    running: Arc<Running>,
}

impl ActiveChild {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        Self { running }
    }

    /// Returns the child's process id.
    #[must_use]
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.running.process.id()
    }

    /// Returns its name. The default is `Process-` and its id.
    #[must_use]
    pub fn name(&self) -> String {
        self.running.name()
    }

    /// Returns whether it is a daemon, which this process asks to end when the process itself ends.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.running.about.daemon
    }

    /// Returns whether the kernel ends it with this process, which then does not wait for it.
    #[must_use]
    pub fn dies_with_parent(&self) -> bool {
        self.running.about.dies_with_parent
    }

    /// Returns how it was started.
    #[must_use]
    pub fn method(&self) -> Method {
        self.running.about.method
    }

    /// Returns whether it is still running.
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

    /// Waits at most `timeout` (monotonic clock; `Duration::MAX` waits for ever). Returns `false` if it is still running
    /// then.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ChildError> {
        self.wait_until(Deadline::after(timeout))
    }

    pub(crate) fn wait_until(&self, deadline: Deadline) -> Result<bool, ChildError> {
        Ok(self.running.process.wait(deadline)?.is_some())
    }

    /// Sends SIGTERM to it, which asks it to end. Returns `false` if it has already ended.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses.
    pub fn terminate(&self) -> Result<bool, ChildError> {
        self.running.process.signal(SIGTERM)
    }

    /// Ends it by SIGKILL. Returns `false` if it has already ended.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses.
    pub fn kill(&self) -> Result<bool, ChildError> {
        self.running.process.signal(SIGKILL)
    }
}

impl AsFd for ActiveChild {
    /// Returns the child's pidfd, which becomes readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.running.process.as_fd()
    }
}

impl fmt::Debug for ActiveChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.running.show("ActiveChild", f)
    }
}
