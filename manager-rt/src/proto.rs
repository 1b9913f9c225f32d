//! The whole protocol of a manager: what can be asked ([`Op`]), what is answered ([`Reply`], [`Fault`]), and how both lie
//! in frames.
//!
//! The seam between the proxies and an engine is the operation: a proxy turns a call into one `Op`, and whatever runs it
//! (the server process, a state machine in the same process, another engine) gives one `Reply`. Values are opaque: their
//! bytes, and the ids of the objects whose proxies are inside. So the server needs no types of its users; two values are
//! equal if their encoded bytes are.
//!
//! Operations are generic over how a value is held: [`Raw`] borrows it from a frame or a caller's buffer, [`Payload`] owns
//! it. The wire form is that of `postcard`, within the frames of [`frame`].

pub mod frame;
mod op;
mod reply;
mod value;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::op::{
    ArrayOp, BarrierOp, ConditionOp, DictOp, EventOp, JoinableQueueOp, ListOp, LockOp, ManagerOp,
    NamespaceOp, Number, Op, Part, QueueOp, Scan, SemaphoreOp, Spec, ValueOp,
};
pub use self::reply::{Fault, Info, Reply};
pub use self::value::{INLINE_BYTES_MAX, Payload, Raw};

/// Names an object of one manager. Never used again, as long as the manager lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// The manager itself, which makes the others.
    pub const MANAGER: Self = Self(0);
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}", self.0)
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// The manager itself.
    Manager,
    /// A sequence.
    List,
    /// A map in the order of insertion.
    Dict,
    /// Attributes by name.
    Namespace,
    /// A lock.
    Lock,
    /// A lock that its holder may take again.
    RLock,
    /// Permits.
    Semaphore,
    /// Permits, of which no more can be given back than were taken.
    BoundedSemaphore,
    /// A condition variable.
    Condition,
    /// A flag that can be waited for.
    Event,
    /// First in, first out.
    Queue,
    /// A queue of tasks.
    JoinableQueue,
    /// A meeting point.
    Barrier,
    /// One value.
    Value,
    /// Values by index, of a fixed number.
    Array,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
