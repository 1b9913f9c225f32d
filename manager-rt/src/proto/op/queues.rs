//! Operations of queues, and of queues of tasks.

use serde::{Deserialize, Serialize};

/// Of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QueueOp<P> {
    /// Adds an item, once there is room.
    Put(P),
    /// Adds items in one step, once there is room for all.
    PutMany(Vec<P>),
    /// Takes the oldest item, once there is one.
    Get,
    /// Takes the oldest items, at least one and at most as many as this and as fit in one answer, once there is one. 0 is
    /// out of range.
    GetMany(u64),
    /// The number of items.
    Len,
    /// The most items; 0 is without limit.
    Capacity,
    /// No further item may be added.
    Close,
    /// Whether it is closed.
    IsClosed,
}

/// Of a queue of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinableQueueOp<P> {
    /// Adds a task, once there is room.
    Put(P),
    /// Adds tasks in one step, once there is room for all.
    PutMany(Vec<P>),
    /// Leases the oldest task, once there is one. On a closed queue it waits as long as a task is leased, which may come back.
    Get,
    /// The task of a lease is done.
    Done {
        /// What the delivery said.
        lease: u64,
    },
    /// Somebody else is to do the task of a lease.
    Requeue {
        /// What the delivery said.
        lease: u64,
    },
    /// Waits until every task is done or has failed.
    Join,
    /// The number of tasks that wait.
    Len,
    /// The most tasks; 0 is without limit.
    Capacity,
    /// The number of tasks that wait or are leased.
    Unfinished,
    /// Tasks that failed, as many as fit in one answer, and the number to go on with. They are numbered from 0 as they fail,
    /// and keep their number when others are taken or dropped.
    Failed {
        /// The first number.
        at: u64,
        /// Whether they are taken away.
        take: bool,
    },
    /// No further task may be added.
    Close,
    /// Whether it is closed.
    IsClosed,
}
