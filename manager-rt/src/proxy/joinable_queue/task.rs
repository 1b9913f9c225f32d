//! [`Task`]: a task on lease.

use std::fmt;
use std::ops::Deref;

use mp_sys::fork::Epoch;
use mp_sys::line::Short;
use serde::de::DeserializeOwned;

use crate::error::ObjectError;
use crate::proto::frame::Wait;
use crate::proto::{JoinableQueueOp, Op, Payload};
use crate::proxy::{Handle, codec, read};

/// A task of a [`JoinableQueue`](crate::JoinableQueue), on lease. Dropping it undone gives it back.
///
/// It belongs to the process, and may be sent to and finished by any of its threads.
#[must_use = "a task that is dropped goes back to its queue"]
pub struct Task<T> {
    lease: Lease,
    deliveries: u32,
    task: T,
}

/// The right to finish a task. Dropping it gives the task back.
pub(crate) struct Lease {
    handle: Handle,
    number: u64,
    taken_in: Epoch,
    is_held: bool,
}

impl<T: DeserializeOwned> Task<T> {
    pub(super) fn decode(
        handle: &Handle,
        number: u64,
        deliveries: u32,
        payload: &Payload,
    ) -> Result<Self, ObjectError> {
        let lease = Lease { handle: handle.clone(), number, taken_in: Epoch::current(), is_held: true };
        Ok(Self { lease, deliveries, task: codec::take(handle.backend(), payload)? })
    }
}

impl<T> Task<T> {
    /// Says that the task is done, and gives it.
    ///
    /// # Errors
    /// [`Fault::NotOwned`](crate::proto::Fault::NotOwned) if the connection that got it has ended, or it was finished by a
    /// transaction already; [`ObjectError`]. The task is given back then, if it is still
    /// this process's.
    #[doc(alias = "task_done")]
    pub fn done(mut self) -> Result<T, ObjectError> {
        self.lease.finish(|lease| JoinableQueueOp::Done { lease })?;
        Ok(self.task)
    }

    /// Gives the task back, to be handed out again before all others.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub fn requeue(mut self) -> Result<(), ObjectError> {
        self.lease.finish(|lease| JoinableQueueOp::Requeue { lease })
    }

    pub(crate) fn into_parts(self) -> (Lease, T) {
        (self.lease, self.task)
    }

    /// How often the task was handed out, this time included.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }
}

impl Lease {
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The task was finished by other means.
    pub(crate) fn end(mut self) {
        self.is_held = false;
    }

    fn finish(
        &mut self,
        op: impl Fn(u64) -> JoinableQueueOp<crate::proto::Raw<'static>>,
    ) -> Result<(), ObjectError> {
        // A forked child has only a copy.
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
        if let Err(error) = self.handle.call(Op::JoinableQueue(op), Wait::No) {
            tracing::warn!(queue = %self.handle.id(), %error, "a task was not given back");
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
