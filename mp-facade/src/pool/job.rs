//! One item that was handed to a pool.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use serde::de::DeserializeOwned;

use crate::pool::chunk::Chunk;
use crate::pool::encoding::encode;
use crate::pool::error::{PoolError, TaskError};
use crate::pool::{Pool, gather};
use crate::start::arguments::Arguments;
use crate::start::return_value::ReturnValue;

/// The handle of one item that was [submitted](crate::Pool::submit) to a pool.
///
/// If it is dropped, the item is still done, and its result is dropped.
///
/// # Source
/// Python's `multiprocessing.pool.AsyncResult` and `concurrent.futures.Future`.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
///
/// let pool = mp::Pool::builder().workers(1).start(|n: u64| n + 1)?;
/// let mut job = pool.submit(1)?;
/// let result = loop {
///     if let Some(result) = job.wait_timeout(Duration::from_secs(1))? {
///         break result;
///     }
/// };
/// assert_eq!(result, 2);
/// # Ok::<(), mp::PoolError>(())
/// ```
#[doc(alias = "Future")]
#[doc(alias = "AsyncResult")]
pub struct Job<'p, A, R> {
    pool: &'p Pool<A, R>,
    job: u64,
    is_taken: bool,
}

impl<'p, A: DeserializeOwned, R: ReturnValue> Job<'p, A, R> {
    pub(super) fn new(pool: &'p Pool<A, R>, item: &impl Arguments<A>) -> Result<Self, PoolError> {
        let mut chunk = Chunk::empty(0, 0);
        let encoded = chunk.push(|bytes| encode(item, bytes).map_err(TaskError::Argument));
        encoded.map_err(|error| PoolError::Task { index: 0, error })?;
        let job = pool.inner.borrow_mut().inboxes.open();
        chunk.job = job;
        let this = Self { pool, job, is_taken: false };
        // Borrowed after `this` was made, so that an error ends the borrow before `this` closes its inbox.
        let mut inner = pool.inner.borrow_mut();
        inner.engine()?.submit(chunk);
        // An idle worker can begin at once.
        inner.drive(Deadline::after(Duration::ZERO))?;
        drop(inner);
        Ok(this)
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// [`PoolError::Task`] with the item's error; the error that ended the pool.
    pub fn wait(mut self) -> Result<R, PoolError> {
        match self.wait_until(Deadline::NEVER)? {
            Some(value) => Ok(value),
            None => Err(PoolError::Task { index: 0, error: TaskError::Taken }),
        }
    }

    /// Waits at most `timeout` (monotonic clock; `Duration::MAX` waits for ever) for the result. Returns `None` if there is
    /// none then, or if it was already taken.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<R>, PoolError> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&mut self, deadline: Deadline) -> Result<Option<R>, PoolError> {
        let mut inner = self.pool.inner.borrow_mut();
        loop {
            if let Some(arrived) = inner.inboxes.take(self.job, 0) {
                self.is_taken = true;
                // Decoding is the caller's code: it may use the pool.
                drop(inner);
                let value = gather::decoded(arrived.as_deref().map_err(Clone::clone));
                return value.map(Some).map_err(|error| PoolError::Task { index: 0, error });
            }
            if self.is_taken {
                return Ok(None);
            }
            let is_over = deadline.has_passed();
            inner.drive(deadline)?;
            if is_over && !inner.inboxes.has(self.job, 0) {
                return Ok(None);
            }
        }
    }

    /// Returns whether the result is there.
    ///
    /// # Errors
    /// The error that ended the pool.
    pub fn is_done(&self) -> Result<bool, PoolError> {
        let mut inner = self.pool.inner.borrow_mut();
        if !inner.inboxes.has(self.job, 0) {
            inner.drive(Deadline::after(Duration::ZERO))?;
        }
        Ok(inner.inboxes.has(self.job, 0))
    }

    /// Cancels the job if no worker has begun with it. Returns `false` if one has; then the handle is as before, but the item is
    /// not tried again if that worker's process ends.
    ///
    /// # Errors
    /// The error that ended the pool.
    pub fn cancel(&mut self) -> Result<bool, PoolError> {
        let mut inner = self.pool.inner.borrow_mut();
        let cancelled = !inner.engine()?.cancel(self.job).is_empty();
        if cancelled {
            inner.inboxes.put(self.job, 0, Err(TaskError::Cancelled));
        }
        Ok(cancelled)
    }
}

impl<A, R> AsFd for Job<'_, A, R> {
    /// The descriptor of the pool, for [`wait`](crate::wait()) or an event loop: readable when the pool has something to do. Then
    /// [`is_done`](Self::is_done) says whether this job is done.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pool.as_fd()
    }
}

impl<A, R> Drop for Job<'_, A, R> {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.pool.inner.try_borrow_mut() {
            inner.inboxes.close(self.job);
        }
    }
}

impl<A, R> fmt::Debug for Job<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({})", self.job)
    }
}
