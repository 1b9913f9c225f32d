//! What can be asked of an object: one enum a kind of object, of which each variant is atomic.

mod data;
mod queues;
mod sync;

use serde::{Deserialize, Serialize};

pub use self::data::{ArrayOp, DictOp, ListOp, NamespaceOp, Number, Part, Scan, ValueOp};
pub use self::queues::{JoinableQueueOp, QueueOp};
pub use self::sync::{BarrierOp, ConditionOp, EventOp, LockOp, SemaphoreOp};
use crate::proto::ObjectId;

/// One operation on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Op<P> {
    /// Of the manager itself.
    Manager(ManagerOp<P>),
    /// Of a list.
    List(ListOp<P>),
    /// Of a dict.
    Dict(DictOp<P>),
    /// Of a namespace.
    Namespace(NamespaceOp<P>),
    /// Of a lock or a reentrant lock.
    Lock(LockOp),
    /// Of a semaphore, bounded or not.
    Semaphore(SemaphoreOp),
    /// Of a condition variable.
    Condition(ConditionOp),
    /// Of an event.
    Event(EventOp),
    /// Of a queue.
    Queue(QueueOp<P>),
    /// Of a queue of tasks.
    JoinableQueue(JoinableQueueOp<P>),
    /// Of a barrier.
    Barrier(BarrierOp),
    /// Of a value.
    Value(ValueOp<P>),
    /// Of an array.
    Array(ArrayOp<P>),
}

/// What a new object is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Spec<P> {
    /// An empty list.
    List,
    /// An empty dict.
    Dict,
    /// No attributes.
    Namespace,
    /// A free lock.
    Lock,
    /// A free reentrant lock.
    RLock,
    /// This many permits.
    Semaphore(u64),
    /// This many permits, and never more.
    BoundedSemaphore(u64),
    /// Nobody waits.
    Condition,
    /// Not set.
    Event,
    /// Room for this many items; 0 is without limit.
    Queue(u64),
    /// A queue of tasks.
    JoinableQueue {
        /// Room for this many tasks; 0 is without limit.
        maxsize: u64,
        /// After this many deliveries a task has failed.
        max_deliveries: u32,
    },
    /// Of this many parties.
    Barrier(u64),
    /// This value.
    Value(P),
    /// These values, at most [`ARRAY_ELEMENTS_MAX`](crate::limits::ARRAY_ELEMENTS_MAX).
    Array(Vec<P>),
}

/// Of the manager itself: `Op::Manager` goes to [`ObjectId::MANAGER`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ManagerOp<P> {
    /// Makes an object and gives its id, to which the caller has a reference then.
    Create {
        /// What it is.
        spec: Spec<P>,
        /// The fingerprint of its type.
        print: u64,
    },
    /// Gives the object of a name, to which the caller has a reference then; makes it if there is none.
    Open {
        /// Its name.
        name: String,
        /// What it is if it has to be made, and of which kind it must be.
        spec: Spec<P>,
        /// The fingerprint of its type.
        print: u64,
    },
    /// Ends the object of a name: all who have it are told when they use it next.
    Remove {
        /// Its name.
        name: String,
    },
    /// The named objects.
    Names,
    /// Adds references of the caller.
    Attach(Vec<ObjectId>),
    /// Gives references of the caller back.
    Detach {
        /// Of which object, and how many.
        references: Vec<(ObjectId, u64)>,
        /// Whether the objects are to live on for the grace of a transit: someone may be about to attach.
        lingers: bool,
    },
    /// Keeps objects alive for the grace of a transit: their proxies are under way in messages.
    Transit(Vec<ObjectId>),
    /// Ends the wait of a call of the caller that has not been answered yet.
    Cancel {
        /// The number of the call.
        call: u64,
    },
    /// Puts the items back that the answer to a call delivered: nobody took them.
    Reject {
        /// The number of the call.
        call: u64,
    },
    /// What the manager holds.
    Info,
    /// Does nothing.
    Ping,
    /// Ends the manager.
    Shutdown,
}
