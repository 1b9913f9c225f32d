//! [`Task`]: a task that a process works on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use mp_sys::fork::Epoch;
use mp_sys::line::{Count, Short};
use serde::de::DeserializeOwned;

use crate::queue::GetError;
use crate::queue::core::{Core, Leased};
use crate::queue::item;
use crate::queue::travel::Shared;

/// A task on lease from a [`JoinableQueue`](crate::JoinableQueue). If it is dropped without [`done`](Self::done), it
/// returns to the queue and is handed out again.
///
/// # Fork safety
/// A task belongs to the process that got it. A forked child can read an inherited task, but `done`, `requeue` and drop do
/// nothing there.
///
/// # Crash
/// If its process dies, another worker gets the task.
#[must_use = "a task that is dropped goes back to the queue"]
pub struct Task<T> {
    /// Only `done` takes it out.
    value: Option<T>,
    lease: Lease,
}

#[derive(Debug)]
struct Lease {
    core: Arc<Shared>,
    leased: Leased,
    got_in: Epoch,
    /// Whether the task was finished or returned.
    is_over: bool,
}

impl Lease {
    fn end(&mut self, end: impl FnOnce(&Core, &Leased)) {
        // In a forked child, the task belongs to the parent.
        if !self.is_over && self.got_in.is_current() {
            end(&self.core, &self.leased);
        }
        self.is_over = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end(Core::give_back);
    }
}

impl<T> Task<T> {
    /// Marks the task as done, and returns its value.
    ///
    /// # Panics
    /// Never: only this method takes the value out.
    #[doc(alias = "task_done")]
    pub fn done(mut self) -> T {
        self.lease.end(Core::finish);
        self.value.take().expect("only `done` takes the value, and it consumes the task")
    }

    /// Returns the task to the queue, which hands it out again. Dropping the task does the same.
    pub fn requeue(mut self) {
        self.lease.end(Core::give_back);
    }

    /// Returns how often the task was handed out, including this time: 1 for a task that is handed out for the first time.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.lease.leased.deliveries
    }
}

impl<T: DeserializeOwned> Task<T> {
    /// Decodes a task. One that cannot be decoded is put aside.
    pub(in crate::queue) fn decode(core: Arc<Shared>, mut leased: Leased) -> Result<Self, GetError> {
        let bytes = std::mem::take(&mut leased.bytes);
        let mut lease = Lease { core, leased, got_in: Epoch::current(), is_over: false };
        match item::decoded(&bytes) {
            Ok(value) => Ok(Self { value: Some(value), lease }),
            Err(error) => {
                lease.end(Core::fail);
                Err(error)
            }
        }
    }
}

impl<T> Deref for Task<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only `done` takes the value, and it consumes the task")
    }
}

/// A task that was put aside. Returned by [`JoinableQueue::failed`](crate::JoinableQueue::failed).
#[derive(Clone, PartialEq, Eq)]
pub struct FailedTask {
    /// The encoded task.
    pub bytes: Vec<u8>,
    /// How often the task was handed out.
    pub deliveries: u32,
}

impl FailedTask {
    /// Decodes the task, if it is a value of this type.
    ///
    /// # Errors
    /// [`GetError::Decode`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, GetError> {
        item::decoded(&self.bytes)
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "Task({}, delivery {})", Short(value), self.deliveries()),
            None => f.write_str("Task(done)"),
        }
    }
}

impl fmt::Debug for FailedTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailedTask({}, delivery {})", Count(self.bytes.len(), "byte"), self.deliveries)
    }
}
