//! The whole protocol of a manager: the operations ([`Op`]) and the answers ([`Reply`], [`Fault`]).
//!
//! The interface between proxies and an engine is the operation. A proxy turns a call into one `Op`, and the engine
//! that runs it (the server process, a state machine in the same process, or another one) returns one `Reply`. Values
//! are opaque: their bytes, and the ids of the objects whose proxies are inside. So the server needs none of its users'
//! types, and two values are equal if their encoded bytes are.
//!
//! Operations are generic over how a value is held: [`Raw`] borrows it from a frame or a caller's buffer, and
//! [`Payload`] owns it. The wire format is that of `postcard`, within
//! [frames](crate::wire::frame). Each variant of an enum has a number that never changes, in a table of `numbers`. The
//! number does not depend on the order of declaration.

mod call;
mod fault;
#[cfg(test)]
mod golden;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a server receives transactions"))]
pub(crate) mod limited;
mod numbered;
mod numbers;
mod op;
mod reply;
pub mod report;
mod table;
mod value;
pub mod version;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use self::call::LentCall;
pub use self::call::{Answer, Call, Step, Wait};
pub use self::fault::{Disinherited, Fault};
pub(crate) use self::numbered::Travels;
pub use self::op::{
    ArrayOp, BarrierOp, ConditionOp, DictOp, EventOp, JoinableQueueOp, ListOp, LockOp, ManagerOp,
    NamespaceOp, Number, Op, Part, QueueOp, Scan, SemaphoreOp, Spec, ValueOp,
};
pub use self::reply::{Info, Reply};
pub use self::table::Table;
pub use self::value::{INLINE_BYTES_MAX, Payload, Raw};
pub use crate::account::Room;

/// The number of an object in one manager. It is never reused while the manager lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// The manager itself, which makes all other objects.
    pub const MANAGER: Self = Self(0);
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:x}", self.0)
    }
}

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The manager itself.
    Manager,
    /// A sequence.
    List,
    /// A map in insertion order.
    Dict,
    /// Attributes by name.
    Namespace,
    /// A lock.
    Lock,
    /// A lock that its holder can take again.
    RLock,
    /// Permits.
    Semaphore,
    /// Permits that never exceed their initial number.
    BoundedSemaphore,
    /// A condition variable.
    Condition,
    /// A flag that processes can wait for.
    Event,
    /// A first-in, first-out queue.
    Queue,
    /// A queue of tasks.
    JoinableQueue,
    /// A meeting point.
    Barrier,
    /// A single value.
    Value,
    /// A fixed number of values, by index.
    Array,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
