//! What happens in a manager: its clients, its objects, who holds which lock, and who waits for it.
//!
//! [`Manager::report`](crate::Manager::report) returns a [`Report`], and [`Manager::objects`](crate::Manager::objects) returns
//! all objects. Both only read, and the manager serves others between two pages, so a report is no picture of one moment.

pub use crate::proto::report::{
    ClientOrigin, ClientReport, LockHolder, ObjectReport, ServerReport, WaitFor, WaitReport,
};
pub use crate::proto::{Kind, ObjectId};

/// From this number on, what holds a lock is a task of an async runtime and not a thread: see [`LockHolder::thread`].
pub const TASKS_FROM: u64 = 1 << 62;

/// What happens in a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The server.
    pub server: ServerReport,
    /// The clients, including the one that asked.
    pub clients: Vec<ClientReport>,
    /// The objects of which something is held, or for which calls wait.
    pub busy: Vec<ObjectReport>,
    /// The waiting calls. Those that have waited longest come first.
    pub waits: Vec<WaitReport>,
}
