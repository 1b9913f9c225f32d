//! The operations of queues, and of queues of tasks.

/// The operations of a queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum QueueOp<P> {
    /// Adds an item once there is room.
    Put(P),
    /// Adds items in one step once there is room for all.
    PutMany(Vec<P>),
    /// Takes the oldest item once there is one.
    Get,
    /// Takes the oldest items once there is one: at least one, at most this many, and no more than fit in one answer. 0
    /// is out of range.
    GetMany(u64),
    /// Returns the number of items.
    Len,
    /// Returns the most items that the queue may hold; 0 for no limit.
    Capacity,
    /// Closes the queue: no more items can be added.
    Close,
    /// Returns whether the queue is closed.
    IsClosed,
}

/// The operations of a queue of tasks.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JoinableQueueOp<P> {
    /// Adds a task once there is room.
    Put(P),
    /// Adds tasks in one step once there is room for all.
    PutMany(Vec<P>),
    /// Leases the oldest task once there is one. On a closed queue, it waits as long as a task is leased, since that
    /// task may come back.
    Get,
    /// Finishes the task of a lease.
    Done {
        /// The lease, as the delivery named it.
        lease: u64,
    },
    /// Ends a lease, so that the task is delivered again.
    Requeue {
        /// The lease, as the delivery named it.
        lease: u64,
    },
    /// Waits until every task is done or has failed.
    Join,
    /// Returns the number of waiting tasks.
    Len,
    /// Returns the most tasks that may wait; 0 for no limit.
    Capacity,
    /// Returns the number of tasks that wait or are leased.
    Unfinished,
    /// Returns failed tasks, as many as fit in one answer, and the number to continue with. Failed tasks are numbered
    /// from 0, and keep their number when others are taken or dropped.
    Failed {
        /// The first number.
        at: u64,
        /// Whether they are removed.
        take: bool,
    },
    /// Closes the queue: no more tasks can be added.
    Close,
    /// Returns whether the queue is closed.
    IsClosed,
}
