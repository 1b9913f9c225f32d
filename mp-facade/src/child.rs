//! `Child<R>`: the handle of a process that was started here.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::child::{ChildError, Ended};
use mp_sys::deadline::Deadline;
use serde::de::DeserializeOwned;

use crate::exit::ExitError;
use crate::handle::Handle;
use crate::process::Method;
use crate::running::Running;
use crate::signal::{SIGKILL, SIGTERM};

/// A process that was started here, and the value of type `R` that it will leave.
///
/// | property | |
/// |---|---|
/// | joins | any number of times, from any thread; each gives a copy of the value |
/// | waits on | a pidfd, which [`AsFd`] gives: readable once the child has ended |
/// | signals | through the pidfd: never to a stranger that got the process id |
/// | drop | neither waits for the child nor ends it; it is reaped at the next start of a process or drop of a handle |
/// | descriptors | one if it was forked, else two, until it is dropped |
/// | travels | no, since only the parent can wait; a copy of its descriptor does, as a `Descriptor`, and tells of the end |
///
/// # Fork safety
/// A forked child inherits the handle but cannot wait: [`ChildError::NotParent`].
///
/// # Source
/// Python's `multiprocessing.Process`; pidfd_open(2), waitid(2).
pub struct Child<R> {
    /// Taken out in `drop` only.
    running: Option<Arc<Running>>,
    value: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Child<R> {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        Self { running: Some(running), value: PhantomData }
    }

    /// Waits until the child has ended, and gives the value that its closure or worker returned.
    ///
    /// # Errors
    /// [`ExitError::Panicked`] with the message, [`ExitError::Signaled`] with the signal, [`ExitError::Exited`] if it
    /// called `exit`; and what can happen to the value on its way.
    ///
    /// # Examples
    /// ```standalone_crate
    /// let child = mp::fork(|| loop { std::thread::park() })?;
    /// child.kill()?;
    /// assert_eq!(child.join(), Err::<(), _>(mp::ExitError::Signaled(9)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "exitcode")]
    #[doc(alias = "waitpid")]
    pub fn join(&self) -> Result<R, ExitError> {
        loop {
            if let Some(value) = self.join_until(Deadline::NEVER)? {
                return Ok(value);
            }
        }
    }

    /// Gives the value if the child has ended, `None` if it still runs.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn try_join(&self) -> Result<Option<R>, ExitError> {
        self.join_timeout(Duration::ZERO)
    }

    /// Waits at most `timeout` (monotonic clock; `Duration::MAX` waits for ever); `None` if the child still runs then.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, ExitError> {
        self.join_until(Deadline::after(timeout))
    }

    fn join_until(&self, deadline: Deadline) -> Result<Option<R>, ExitError> {
        let running = self.running();
        let Running { process, lease, .. } = running;
        let Some(ended) = process.wait(deadline)? else {
            return Ok(None);
        };
        running.note_known();
        match ended {
            // Killed after it left its value, but before it ended: what counts is how it ended.
            Ended::Signaled(signal) => Err(ExitError::Signaled(signal)),
            Ended::Exited(code) => {
                lease.outcome().take().unwrap_or_else(|| Err(running.exited(code))).map(Some)
            }
            Ended::Unknown => lease.outcome().take().unwrap_or(Err(ExitError::StatusLost)).map(Some),
        }
    }
}

impl<R> Child<R> {
    /// For a scope, which waits for it.
    pub(crate) fn share(&self) -> Option<Arc<Running>> {
        self.running.clone()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the child is there until the handle is dropped")
    }

    fn process(&self) -> &Handle {
        &self.running().process
    }

    /// The child's process id. Ids are reused after a join: signal through this handle, not through the id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// The child's name: the one that it was given, or `Process-` and its id.
    #[must_use]
    pub fn name(&self) -> String {
        self.running().name()
    }

    /// How it was started.
    #[must_use]
    pub fn method(&self) -> Method {
        self.running().about.method
    }

    /// Whether the child still runs. A child that ended but was not joined is not alive.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child that inherited the handle.
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        Ok(self.process().wait(Deadline::after(Duration::ZERO))?.is_none())
    }

    /// Asks the child to end, by SIGTERM; `false` if it has ended already.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses, for example for another user's process.
    pub fn terminate(&self) -> Result<bool, ChildError> {
        self.process().signal(SIGTERM)
    }

    /// Ends the child by SIGKILL, at whatever instruction it is; `false` if it has ended already.
    ///
    /// What it held in shared memory is passed on, and whoever must know is told.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses, for example for another user's process.
    pub fn kill(&self) -> Result<bool, ChildError> {
        self.process().signal(SIGKILL)
    }
}

impl<R> AsFd for Child<R> {
    /// The child's pidfd: readable once the child has ended. Python's `Process.sentinel`.
    #[doc(alias = "sentinel")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process().as_fd()
    }
}

impl<R> Drop for Child<R> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abandon();
        }
    }
}

impl<R> fmt::Debug for Child<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.running().show("Child", f)
    }
}
