//! How to undo a change: one enum for each kind of object, with what the change replaced.

use crate::proto::Payload;
use crate::state::contents::{Attribute, Failure, Lease};
use crate::state::items::Items;
use crate::state::step::ClientId;
use crate::state::table::Table;

/// How to undo one change of an object.
#[derive(Debug)]
pub(super) enum Undo {
    /// The previous value.
    Value(Payload),
    /// Whether an event was set.
    Event(bool),
    /// The previous items of a queue.
    Queue(QueueUndo),
    /// The previous tasks of a queue of tasks.
    JoinableQueue(TaskUndo),
    /// The previous elements of an array.
    Array(ArrayUndo),
    /// The previous entries of a dict.
    Dict(DictUndo),
    /// The previous items of a list.
    List(ListUndo),
    /// The previous attributes of a namespace.
    Namespace(NamespaceUndo),
}

/// How to undo one change of an array.
#[derive(Debug)]
pub(super) enum ArrayUndo {
    /// The previous element at this index.
    Replaced(usize, Payload),
    /// The previous elements from this index on.
    Written(usize, Vec<Payload>),
}

/// How to undo one change of a dict.
#[derive(Debug)]
pub(super) enum DictUndo {
    /// The key had no value.
    Inserted(Payload),
    /// The previous value of a key.
    Replaced(Payload, Payload),
    /// An entry that was removed from this place.
    Removed(u64, Payload, Payload),
    /// The previous entries.
    Cleared(Box<Table<Payload, Payload>>),
}

/// How to undo one change of a list.
#[derive(Debug)]
pub(super) enum ListUndo {
    /// This many items were appended.
    Pushed(usize),
    /// An item was inserted before this index.
    Inserted(usize),
    /// The previous item at this index.
    Replaced(usize, Payload),
    /// An item was removed from this index.
    Removed(usize, Payload),
    /// These two items were swapped.
    Swapped(usize, usize),
    /// The order was reversed.
    Reversed,
    /// The previous items.
    Cleared(Box<Items>),
    /// The same items in their previous order.
    Reordered(Box<Items>),
}

/// How to undo one change of a namespace.
#[derive(Debug)]
pub(super) enum NamespaceUndo {
    /// No attribute had this name.
    Inserted(Payload),
    /// The previous attribute.
    Replaced(Payload, Attribute),
    /// An attribute that was removed from this place.
    Removed(u64, Payload, Attribute),
}

/// How to undo one change of a queue.
#[derive(Debug)]
pub(super) enum QueueUndo {
    /// This many items were added.
    Put(usize),
    /// These items leave with the answer to a call.
    Took {
        /// The client that called.
        client: ClientId,
        /// The number of the call.
        call: u64,
        /// The items in their order.
        items: Vec<Payload>,
    },
}

/// How to undo one change of a queue of tasks.
#[derive(Debug)]
pub(super) enum TaskUndo {
    /// This many tasks were added.
    Put(usize),
    /// A client got the first task.
    Leased {
        /// The client.
        client: ClientId,
        /// The number of the call.
        call: u64,
        /// The number of the lease.
        lease: u64,
    },
    /// A task was done.
    Done {
        /// The client that had it.
        client: ClientId,
        /// The number of the lease.
        lease: u64,
        /// What was leased.
        task: Lease,
    },
    /// A task was requeued.
    Requeued {
        /// The client that had it.
        client: ClientId,
        /// The number of the lease.
        lease: u64,
        /// Set if the task had been delivered too often.
        failure: Option<Failure>,
    },
    /// Failed tasks leave with the answer to a call.
    TookFailed {
        /// The client that called.
        client: ClientId,
        /// The number of the call.
        call: u64,
        /// The tasks and their numbers.
        tasks: Vec<(u64, Payload)>,
    },
}
