//! What happens in a manager: its clients, its objects, who holds which lock, who waits for it, and which waits never end.
//!
//! [`Manager::report`](crate::Manager::report) returns a [`Report`], and [`Manager::objects`](crate::Manager::objects) returns
//! all objects. Both only read, and the manager serves others between two pages. So a report is no picture of one moment, but
//! a [`Deadlock`] in it is certain: all its waits lasted from one look to the next.

mod cycles;

use std::fmt;
use std::time::Duration;

pub(crate) use self::cycles::{confirmed, cycles};
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
    /// The waits that end only if a process or a person ends them.
    pub deadlocks: Vec<Deadlock>,
}

/// Calls that wait for each other in a circle: each waits for a lock that the thread of the next one holds, and the last waits
/// for the first.
///
/// Locks that tasks of an async runtime hold are not part of any. Their guards may move to other tasks, and a task may wait for several
/// things at the same time, so the manager does not know which task waits for which.
///
/// # Source
/// `SHOW ENGINE INNODB STATUS` of MySQL, "LATEST DETECTED DEADLOCK".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlock {
    /// The waits. The one with the smallest number comes first.
    pub waits: Vec<WaitReport>,
}

impl Deadlock {
    /// Returns when the circle ends by itself: with the first of the waits that has a time limit, or of the locks that have a
    /// lease. Returns `None` if it lasts for ever.
    #[must_use]
    pub fn ends_in(&self) -> Option<Duration> {
        let lease = |wait: &WaitReport| wait.holder.as_ref()?.lease_left;
        self.waits.iter().flat_map(|wait| [wait.time_left, lease(wait)]).flatten().min()
    }
}

impl fmt::Display for Deadlock {
    /// Writes who waits for what, in one line: `thread 1 of client 2 waits for Lock "a", held by thread 1 of client 3, which …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, wait) in self.waits.iter().enumerate() {
            let WaitReport { client, thread, kind, object, name, holder, .. } = wait;
            if place == 0 {
                write!(f, "thread {thread} of client {client} waits for {kind} ")?;
            } else {
                write!(f, ", which waits for {kind} ")?;
            }
            match name {
                Some(name) => write!(f, "{name:?}")?,
                None => write!(f, "{object}")?,
            }
            if let Some(LockHolder { client, thread, .. }) = holder {
                write!(f, ", held by thread {thread} of client {client}")?;
            }
        }
        Ok(())
    }
}
