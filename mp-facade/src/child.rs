//! `Child<R>`: the handle of a process that this process started.

#[cfg(feature = "tokio")]
mod asynchronous;

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

/// The handle of a child process, which will return a value of type `R`.
///
/// | property | |
/// |---|---|
/// | joins | any number of times, from any thread; each returns a copy of the value |
/// | waits on | a pidfd, which [`AsFd`] returns: readable once the child has ended |
/// | signals | through the pidfd: never to another process that got the same id |
/// | drop | neither waits for the child nor ends it; the next start of a process or drop of a handle reaps it |
/// | descriptors | one if the child was forked, otherwise two, until the handle is dropped |
/// | travels in messages | no, since only the parent can wait; you can send a copy of the pidfd as a `Descriptor`, which shows the end |
///
/// # Fork safety
/// A forked child inherits the handle but cannot wait: [`ChildError::NotParent`].
///
/// # Source
/// Python's `multiprocessing.Process`; pidfd_open(2), waitid(2).
pub struct Child<R> {
    /// Only `drop` takes this out.
    running: Option<Arc<Running>>,
    value: PhantomData<fn() -> R>,
    #[cfg(feature = "tokio")]
    watched: mp_sys::asynchronous::Watched,
}

impl<R: DeserializeOwned> Child<R> {
    pub(crate) fn new(running: Arc<Running>) -> Self {
        Self {
            running: Some(running),
            value: PhantomData,
            #[cfg(feature = "tokio")]
            watched: mp_sys::asynchronous::Watched::readable(),
        }
    }

    /// Waits until the child has ended, and returns the value that its closure or worker returned.
    ///
    /// # Errors
    /// [`ExitError::Panicked`] with the message, [`ExitError::Signaled`] with the signal, [`ExitError::Exited`] if it called
    /// `exit`; and the other variants of [`ExitError`] if the value could not be transferred.
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

    /// Returns the value if the child has ended, or `None` if it is still running.
    ///
    /// # Errors
    /// The same as [`join`](Self::join).
    pub fn try_join(&self) -> Result<Option<R>, ExitError> {
        self.join_timeout(Duration::ZERO)
    }

    /// Waits at most `timeout` (monotonic clock; `Duration::MAX` waits for ever). Returns `None` if the child is still
    /// running then.
    ///
    /// # Errors
    /// The same as [`join`](Self::join).
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
            // The child was killed after it had left its value and before it ended. The way it ended counts.
            Ended::Signaled(signal) => Err(ExitError::Signaled(signal)),
            Ended::Exited(code) => {
                lease.outcome().take().unwrap_or_else(|| Err(running.exited(code))).map(Some)
            }
            Ended::Unknown => lease.outcome().take().unwrap_or(Err(ExitError::StatusLost)).map(Some),
        }
    }
}

impl<R> Child<R> {
    /// Returns the child's record for a group, which joins and abandons the child in place of the handle.
    #[cfg(feature = "ipc")]
    pub(crate) fn into_running(mut self) -> Arc<Running> {
        self.running.take().expect("the child is there until the handle is dropped")
    }

    /// Returns the child's record for a scope, which waits for it.
    pub(crate) fn share(&self) -> Option<Arc<Running>> {
        self.running.clone()
    }

    /// Returns the process itself.
    #[cfg(all(feature = "shm", feature = "ipc"))]
    pub(crate) fn handle(&self) -> &Handle {
        self.process()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the child is there until the handle is dropped")
    }

    fn process(&self) -> &Handle {
        &self.running().process
    }

    /// Returns the child's process id. Ids are reused after a join, so signal through this handle, not through the id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().id()
    }

    /// Returns the child's name. The default is `Process-` and its id.
    #[must_use]
    pub fn name(&self) -> String {
        self.running().name()
    }

    /// Returns how it was started.
    #[must_use]
    pub fn method(&self) -> Method {
        self.running().about.method
    }

    /// Returns whether the child is still running. A child that has ended is not alive, even before it is joined.
    ///
    /// # Errors
    /// [`ChildError::NotParent`] in a forked child that inherited the handle.
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        Ok(self.process().wait(Deadline::after(Duration::ZERO))?.is_none())
    }

    /// Sends SIGTERM to the child, which asks it to end. Returns `false` if it has already ended.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses, for example for another user's process.
    pub fn terminate(&self) -> Result<bool, ChildError> {
        self.process().signal(SIGTERM)
    }

    /// Ends the child by SIGKILL, at whatever instruction it is. Returns `false` if it has already ended.
    ///
    /// Other processes get the locks and permits that it held, and an error where its data may be half changed.
    ///
    /// # Errors
    /// [`ChildError::System`] if the kernel refuses, for example for another user's process.
    pub fn kill(&self) -> Result<bool, ChildError> {
        self.process().signal(SIGKILL)
    }
}

impl<R> AsFd for Child<R> {
    /// Returns the child's pidfd, which becomes readable once the child has ended. Python's `Process.sentinel`.
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
