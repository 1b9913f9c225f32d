//! [`Task`]: what a process works on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use mp_sys::fork::Epoch;
use mp_sys::line::{Count, Short};
use serde::de::DeserializeOwned;

use crate::queue::GetError;
use crate::queue::core::{Core, Leased};
use crate::queue::item;

/// A task on lease from a [`JoinableQueue`](crate::JoinableQueue): dropped without [`done`](Self::done), it goes back and
/// is handed out again.
///
/// # Fork safety
/// The task is its process's. What a forked child inherits it can read; `done`, `requeue` and drop do nothing there.
///
/// # Crash
/// If its process dies, the task goes to somebody else.
#[must_use = "a task that is dropped goes back to the queue"]
pub struct Task<T> {
    /// Taken out by `done` only.
    value: Option<T>,
    lease: Lease,
}

#[derive(Debug)]
struct Lease {
    core: Arc<Core>,
    leased: Leased,
    got_in: Epoch,
    /// Whether it was finished or given back.
    is_over: bool,
}

impl Lease {
    fn end(&mut self, end: impl FnOnce(&Core, &Leased)) {
        // In a forked child, the task is its parent's.
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
    /// Says that the task is done, and gives its value.
    ///
    /// # Panics
    /// Never: a task has its value until then.
    #[doc(alias = "task_done")]
    pub fn done(mut self) -> T {
        self.lease.end(Core::finish);
        self.value.take().expect("only `done` takes the value, and it takes the task along")
    }

    /// Gives the task back, to be handed out again. Dropping it does the same.
    pub fn requeue(mut self) {
        self.lease.end(Core::give_back);
    }

    /// How often it was handed out, this time included: 1 for a task that nobody had before.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.lease.leased.deliveries
    }
}

impl<T: DeserializeOwned> Task<T> {
    /// A task that nobody can decode is put aside.
    pub(super) fn decode(core: Arc<Core>, mut leased: Leased) -> Result<Self, GetError> {
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
        self.value.as_ref().expect("only `done` takes the value, and it takes the task along")
    }
}

/// A task that was put aside. Made by [`JoinableQueue::failed`](crate::JoinableQueue::failed).
#[derive(Clone, PartialEq, Eq)]
pub struct FailedTask {
    /// The encoded task.
    pub bytes: Vec<u8>,
    /// How often it was handed out.
    pub deliveries: u32,
}

impl FailedTask {
    /// The task, if it is a value of this type.
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
