//! The operations of objects: one enum for each kind of object. Each variant is atomic.

mod data;
mod queues;
mod sync;

pub use self::data::{ArrayOp, DictOp, ListOp, NamespaceOp, Number, Part, Scan, ValueOp};
pub use self::queues::{JoinableQueueOp, QueueOp};
pub use self::sync::{BarrierOp, ConditionOp, EventOp, LockOp, SemaphoreOp};
use crate::proto::{Kind, ObjectId};

/// One operation on one object.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op<P> {
    /// An operation of the manager itself.
    Manager(ManagerOp<P>),
    /// An operation of a list.
    List(ListOp<P>),
    /// An operation of a dict.
    Dict(DictOp<P>),
    /// An operation of a namespace.
    Namespace(NamespaceOp<P>),
    /// An operation of a lock or a reentrant lock.
    Lock(LockOp),
    /// An operation of a semaphore, bounded or not.
    Semaphore(SemaphoreOp),
    /// An operation of a condition variable.
    Condition(ConditionOp),
    /// An operation of an event.
    Event(EventOp),
    /// An operation of a queue.
    Queue(QueueOp<P>),
    /// An operation of a queue of tasks.
    JoinableQueue(JoinableQueueOp<P>),
    /// An operation of a barrier.
    Barrier(BarrierOp),
    /// An operation of a value.
    Value(ValueOp<P>),
    /// An operation of an array.
    Array(ArrayOp<P>),
}

impl<P> Op<P> {
    /// Returns `true` if it never waits, changes or reads one place of one container, and needs only the object itself. Such
    /// operations may travel in one frame: see [`FrameKind::Calls`](crate::wire::frame::FrameKind::Calls).
    #[must_use]
    pub const fn is_light(&self) -> bool {
        match self {
            Self::Dict(op) => !matches!(
                op,
                DictOp::PopItem
                    | DictOp::Extend(_)
                    | DictOp::Clear
                    | DictOp::FetchAddMany(_)
                    | DictOp::Page { .. }
            ),
            Self::List(op) => matches!(
                op,
                ListOp::Push(_)
                    | ListOp::Get(_)
                    | ListOp::Set(..)
                    | ListOp::Store(..)
                    | ListOp::Len
                    | ListOp::CompareExchange { .. }
            ),
            Self::Array(op) => !matches!(op, ArrayOp::Read { .. } | ArrayOp::Write { .. }),
            Self::Value(_) => true,
            _ => false,
        }
    }
}

/// The kind and the initial state of a new object.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Spec<P> {
    /// An empty list.
    List,
    /// An empty dict.
    Dict,
    /// A namespace without attributes.
    Namespace,
    /// A free lock.
    Lock,
    /// A free reentrant lock.
    RLock,
    /// A semaphore with this many permits.
    Semaphore(u64),
    /// A semaphore with this many permits, and never more.
    BoundedSemaphore(u64),
    /// A condition variable without waiters.
    Condition,
    /// An event that is not set.
    Event,
    /// A queue with room for this many items; 0 for no limit.
    Queue(u64),
    /// A queue of tasks.
    JoinableQueue {
        /// The room for tasks; 0 for no limit.
        maxsize: u64,
        /// A task fails after this many deliveries.
        max_deliveries: u32,
    },
    /// A barrier for this many parties.
    Barrier(u64),
    /// A value.
    Value(P),
    /// An array of these values, at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    Array(Vec<P>),
    /// An array of the items of a list, at most [`ARRAY_ELEMENTS_MAX`](crate::limits::ARRAY_ELEMENTS_MAX). They leave the
    /// list, which must not be reversed. If an array with the name exists already, the list stays as it is.
    ArrayOf(ObjectId),
}

impl<P> Spec<P> {
    /// Returns the kind of the object that this makes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::List => Kind::List,
            Self::Dict => Kind::Dict,
            Self::Namespace => Kind::Namespace,
            Self::Lock => Kind::Lock,
            Self::RLock => Kind::RLock,
            Self::Semaphore(_) => Kind::Semaphore,
            Self::BoundedSemaphore(_) => Kind::BoundedSemaphore,
            Self::Condition => Kind::Condition,
            Self::Event => Kind::Event,
            Self::Queue(_) => Kind::Queue,
            Self::JoinableQueue { .. } => Kind::JoinableQueue,
            Self::Barrier(_) => Kind::Barrier,
            Self::Value(_) => Kind::Value,
            Self::Array(_) | Self::ArrayOf(_) => Kind::Array,
        }
    }
}

/// The operations of the manager itself: `Op::Manager` goes to [`ObjectId::MANAGER`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ManagerOp<P> {
    /// Makes an object and returns its id. The caller then has a reference to it.
    Create {
        /// The kind and the initial state.
        spec: Spec<P>,
        /// The fingerprint of the object's type.
        print: u64,
    },
    /// Finds the object with a name, or makes it. The caller then has a reference to it.
    Open {
        /// The name.
        name: String,
        /// The required kind, and the initial state if the object has to be made.
        spec: Spec<P>,
        /// The fingerprint of the object's type.
        print: u64,
    },
    /// Ends the object with a name. Every later use of its proxies fails.
    Remove {
        /// The name.
        name: String,
    },
    /// Returns all names, if one answer has room for them.
    Names,
    /// Adds references of the caller.
    Attach(Vec<ObjectId>),
    /// Releases references of the caller.
    Detach {
        /// The objects, with the number of references of each.
        references: Vec<(ObjectId, u64)>,
        /// Whether the objects live on for the grace of a transit, because another process may be about to attach.
        lingers: bool,
    },
    /// Keeps objects alive for the grace of a transit, while their proxies travel in messages.
    Transit(Vec<ObjectId>),
    /// Returns what the manager holds.
    Info,
    /// Ends the manager.
    Shutdown,
    /// Returns the names after this one, in order, as many as fit into a page. No names are left if the page is empty.
    NamesAfter {
        /// The last name of the previous page, or an empty one.
        name: String,
    },
    /// Keeps all objects to which the caller has references alive for the processes that hold a socket. They are about to
    /// inherit it, by a fork of the caller's process.
    Bequeath {
        /// The secret number that comes over the socket.
        bequest: u128,
    },
    /// Returns what the manager knows about its server.
    Server,
    /// Returns a page of clients, from a place on. The first place is 0, and each answer says where the next page begins.
    Clients {
        /// The place.
        from: u64,
    },
    /// Returns a page of objects, from a place on, as [`Clients`](Self::Clients) does.
    Objects {
        /// The place.
        from: u64,
        /// Whether only objects are returned of which something is held, or for which calls wait.
        is_busy: bool,
    },
    /// Returns the object with a name, as a page of one.
    Object {
        /// The name.
        name: String,
    },
    /// Returns a page of waiting calls, those after a number, in the order in which they began to wait.
    Waits {
        /// The number of the last wait of the previous page, or 0.
        after: u64,
    },
    /// Ends the earlier connections that named the same session, if there are any: their client has connected again, and may know
    /// before the server that they are broken. If a later connection has named it, this one is ended.
    Succeed {
        /// A secret number of the client.
        session: u128,
        /// The number of this connection, which grows with each connection of the session.
        serial: u64,
    },
    /// Writes the objects that have names, and those inside them, to a file of the server's host. Only for clients on this
    /// host.
    Snapshot {
        /// The absolute path of the file.
        path: String,
    },
}
