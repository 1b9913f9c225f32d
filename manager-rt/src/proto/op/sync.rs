//! The operations of objects that synchronise: locks, semaphores, conditions, events, barriers.

use crate::proto::ObjectId;

/// The operations of a lock or a reentrant lock. A held lock belongs to a thread of a connection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LockOp {
    /// Takes the lock.
    Acquire {
        /// The lease in nanoseconds, after which the lock passes on even if its holder lives; 0 for none.
        lease: u64,
    },
    /// Releases the lock that was granted with this token.
    Release {
        /// The token, as the grant named it.
        token: u64,
    },
    /// Returns whether the lock is held.
    IsLocked,
}

/// The operations of a semaphore. An acquired permit belongs to the connection until it is released or forgotten.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SemaphoreOp {
    /// Takes a permit.
    Acquire,
    /// Releases a permit of this connection.
    Release,
    /// Gives up the ownership of a permit of this connection: from now on, it has no owner.
    Forget,
    /// Adds permits.
    Add(u64),
    /// Returns the number of free permits.
    Available,
    /// Takes a permit. The grant names a token that only permits of this connection have.
    Take,
    /// Releases a permit that was granted with this token. Over another connection, it is `Fault::NotOwned`.
    Return {
        /// The token, as the grant named it.
        token: u64,
    },
    /// Gives up the ownership of a permit that was granted with this token: from now on, it has no owner.
    Disown {
        /// The token, as the grant named it.
        token: u64,
    },
}

/// The operations of a condition variable.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ConditionOp {
    /// Releases a lock that the caller holds, waits for a notification, and takes the lock again, however the wait
    /// ended.
    Wait {
        /// A lock or a reentrant lock.
        lock: ObjectId,
        /// The token, as the grant named it.
        token: u64,
    },
    /// Wakes this many of the longest waiters, and returns how many it woke.
    Notify(u64),
    /// Returns the number of waiters.
    Waiting,
}

/// The operations of an event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventOp {
    /// Waits until the event is set.
    Wait,
    /// Sets the event, and releases all waiters.
    Set,
    /// Clears the event.
    Clear,
    /// Returns whether the event is set.
    IsSet,
}

/// The operations of a barrier.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BarrierOp {
    /// Waits until all parties wait. If the last party has an action, it is answered with
    /// [`Reply::Acts`](crate::proto::Reply::Acts). All others are answered with
    /// [`Reply::Count`](crate::proto::Reply::Count): the position in which they arrived.
    Wait {
        /// Whether the caller has an action to run before the others go on, in case it arrives last.
        acts: bool,
    },
    /// Ends a round after its action has run, so that the others go on.
    EndRound {
        /// The round, as the answer to [`Wait`](Self::Wait) named it.
        round: u64,
    },
    /// Registers a place in advance. It belongs to the connection from round to round.
    Register,
    /// Takes back a registration of this connection.
    Unregister,
    /// Breaks the barrier.
    Abort,
    /// Repairs the barrier. All current waiters get [`Fault::Broken`](crate::proto::Fault::Broken).
    Reset,
    /// Returns the number of parties.
    Parties,
    /// Returns the number of waiters.
    Waiting,
    /// Returns whether the barrier is broken.
    IsBroken,
    /// Registers a place in advance. The grant names a token that only places of this connection have.
    Enrol,
    /// Takes back a registration that was granted with this token. Over another connection, it is `Fault::NotOwned`.
    Withdraw {
        /// The token, as the grant named it.
        token: u64,
    },
}
