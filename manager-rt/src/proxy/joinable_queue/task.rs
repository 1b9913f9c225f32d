//! [`Task`]: a task that a process holds on lease.

use std::fmt;
use std::ops::Deref;

use mp_sys::fork::Epoch;
use mp_sys::line::Short;
use serde::de::DeserializeOwned;

use crate::error::ObjectError;
use crate::proto::{JoinableQueueOp, Op, Payload, Wait};
use crate::proxy::{Handle, codec, read};

/// A task of a [`JoinableQueue`](crate::JoinableQueue) on lease. Dropping it undone returns it to the queue.
///
/// It belongs to the process: any of its threads may receive and finish it.
#[must_use = "a task that is dropped returns to its queue"]
pub struct Task<T> {
    lease: Lease,
    deliveries: u32,
    task: T,
}

/// The right to finish a task. Dropping it returns the task to the queue.
pub(crate) struct Lease {
    handle: Handle,
    number: u64,
    taken_in: Epoch,
    is_held: bool,
    /// Whether a task of a runtime took it. Then its drop does not wait for the server.
    #[cfg(feature = "tokio")]
    is_of_task: bool,
}

impl<T: DeserializeOwned> Task<T> {
    /// Decodes a task. If that fails, the task returns to the queue.
    pub(crate) fn decode(lease: Lease, deliveries: u32, payload: &Payload) -> Result<Self, ObjectError> {
        let task = codec::take(lease.handle.backend(), payload)?;
        Ok(Self { lease, deliveries, task })
    }
}

impl<T> Task<T> {
    /// Reports the task as done, and returns its content.
    ///
    /// # Errors
    /// [`Fault::NotOwned`](crate::proto::Fault::NotOwned) if the connection that got the task has ended, or a
    /// transaction already finished it; [`ObjectError`]. After an error, the task returns to the queue if this process
    /// still holds it.
    #[doc(alias = "task_done")]
    pub fn done(mut self) -> Result<T, ObjectError> {
        self.lease.finish(|lease| JoinableQueueOp::Done { lease })?;
        Ok(self.task)
    }

    /// Returns the task to the queue, to be handed out again before all others.
    ///
    /// # Errors
    /// As for [`done`](Self::done).
    pub fn requeue(mut self) -> Result<(), ObjectError> {
        self.lease.finish(|lease| JoinableQueueOp::Requeue { lease })
    }

    pub(crate) fn into_parts(self) -> (Lease, T) {
        (self.lease, self.task)
    }

    /// Returns how often the task was handed out, including this time.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }
}

impl Lease {
    pub(super) fn new(handle: &Handle, number: u64) -> Self {
        Self {
            handle: handle.clone(),
            number,
            taken_in: Epoch::current(),
            is_held: true,
            #[cfg(feature = "tokio")]
            is_of_task: false,
        }
    }

    /// Wraps a lease that a task of a runtime has taken.
    #[cfg(feature = "tokio")]
    pub(crate) fn of_task(handle: &Handle, number: u64) -> Self {
        let mut lease = Self::new(handle, number);
        lease.is_of_task = true;
        lease
    }

    /// Returns `true` if the lease was taken in another process, of which this one has only a copy.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_copy(&self) -> bool {
        !self.taken_in.is_current()
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Drops the lease of a task that was finished by other means.
    pub(crate) fn end(mut self) {
        self.is_held = false;
    }

    fn finish(
        &mut self,
        op: impl Fn(u64) -> JoinableQueueOp<crate::proto::Raw<'static>>,
    ) -> Result<(), ObjectError> {
        // A forked child has only a copy of the task.
        if self.taken_in.is_current() {
            self.handle.ask(Op::JoinableQueue(op(self.number)), read::done)?;
        }
        self.is_held = false;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_held || !self.taken_in.is_current() {
            return;
        }
        let op = JoinableQueueOp::Requeue { lease: self.number };
        #[cfg(feature = "tokio")]
        if self.is_of_task {
            self.handle.post(Op::JoinableQueue(op));
            return;
        }
        if let Err(error) = self.handle.call(Op::JoinableQueue(op), Wait::No) {
            tracing::warn!(queue = %self.handle.id(), %error, "a task was not returned to its queue");
        }
    }
}

impl<T> Deref for Task<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.task
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({}, delivery {})", Short(&self.task), self.deliveries)
    }
}
