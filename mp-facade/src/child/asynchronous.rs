//! Waiting for a child in tasks of a tokio runtime.

use std::os::fd::AsFd;

use mp_sys::asynchronous::Attempt;
use mp_sys::deadline::Deadline;
use serde::de::DeserializeOwned;

use super::Child;
use crate::exit::ExitError;

impl<R: DeserializeOwned> Child<R> {
    /// Waits until the child has ended, lets other tasks of the runtime run, and returns the value that the child's closure
    /// or worker returned. Works like [`join`](Self::join).
    ///
    /// A child that is stopped has not ended.
    ///
    /// # Errors
    /// [`ExitError::Runtime`] if the task has to wait, and this is no tokio runtime with I/O and timers; otherwise the same
    /// as [`join`](Self::join).
    ///
    /// # Cancellation
    /// The future can be dropped at any time. Then the child runs on, and can be joined again.
    ///
    /// # Examples
    /// ```standalone_crate
    /// let child = mp::fork(|| 6 * 7)?; // before the runtime starts
    /// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// assert_eq!(runtime.block_on(child.join_async())?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn join_async(&self) -> Result<R, ExitError> {
        let attempt = || match self.try_join() {
            Ok(None) => Attempt::Later,
            Ok(Some(value)) => Attempt::Done(Ok(value)),
            Err(error) => Attempt::Done(Err(error)),
        };
        self.watched.attempt(self.as_fd(), attempt).await?
    }
}

impl<R> Child<R> {
    /// Waits until the child has ended, in whatever way, and lets other tasks of the runtime run.
    /// [`join`](Self::join) then returns at once.
    ///
    /// # Errors
    /// [`ExitError::Runtime`], as for [`join_async`](Self::join_async); [`ExitError::Child`] in a forked child that inherited
    /// the handle.
    ///
    /// # Cancellation
    /// The future can be dropped at any time.
    pub async fn wait_async(&self) -> Result<(), ExitError> {
        let attempt = || match self.process().wait(Deadline::after(std::time::Duration::ZERO)) {
            Ok(None) => Attempt::Later,
            Ok(Some(_)) => Attempt::Done(Ok(())),
            Err(error) => Attempt::Done(Err(error.into())),
        };
        self.watched.attempt(self.as_fd(), attempt).await?
    }
}
