//! Operations of what threads and processes meet at: locks, semaphores, conditions, events, barriers.

use serde::{Deserialize, Serialize};

use crate::proto::ObjectId;

/// Of a lock or a reentrant lock, which belong to a thread of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockOp {
    /// Takes the lock.
    Acquire {
        /// After this many nanoseconds the lock passes on though its holder lives; 0 is never.
        lease: u64,
    },
    /// Gives the lock back that was granted with this token.
    Release {
        /// What the grant said.
        token: u64,
    },
    /// Whether somebody holds it.
    IsLocked,
}

/// Of a semaphore. A permit that was acquired belongs to the connection, until it is released or forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SemaphoreOp {
    /// Takes a permit.
    Acquire,
    /// Gives a permit of this connection back.
    Release,
    /// A permit of this connection belongs to nobody from now on.
    Forget,
    /// Adds permits.
    Add(u64),
    /// The number of free permits.
    Available,
}

/// Of a condition variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConditionOp {
    /// Gives a lock back that the caller holds, waits for a notification, and takes the lock again, however the wait ended.
    Wait {
        /// A lock or a reentrant lock.
        lock: ObjectId,
        /// What its grant said.
        token: u64,
    },
    /// Wakes this many of those who wait longest, and says how many there were.
    Notify(u64),
    /// The number of those who wait.
    Waiting,
}

/// Of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventOp {
    /// Waits until it is set.
    Wait,
    /// Sets it: all who wait go on.
    Set,
    /// Clears it.
    Clear,
    /// Whether it is set.
    IsSet,
}

/// Of a barrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BarrierOp {
    /// Waits until all parties wait. The last to come is answered with [`Reply::Acts`](crate::proto::Reply::Acts) if it acts, and
    /// everybody else with [`Reply::Count`](crate::proto::Reply::Count): the order in which it came.
    Wait {
        /// The caller has an action to run before the others go on, if it is the last to come.
        acts: bool,
    },
    /// The action has run: the others go on.
    EndRound {
        /// What the answer to [`Wait`](Self::Wait) said.
        round: u64,
    },
    /// Registers a place in advance, which belongs to the connection from round to round.
    Register,
    /// Takes a registration of this connection back.
    Unregister,
    /// Breaks it.
    Abort,
    /// Mends it; whoever waits is told that it broke.
    Reset,
    /// The number of parties.
    Parties,
    /// The number of those who wait.
    Waiting,
    /// Whether it is broken.
    IsBroken,
}
