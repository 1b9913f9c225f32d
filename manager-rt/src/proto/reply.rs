//! The answers to operations.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::account::Full;
use crate::limits::TRANSACTION_OPS_MAX;
#[cfg(feature = "server")]
use crate::proto::Travels;
use crate::proto::version::NEWEST;
use crate::proto::{Kind, ObjectId, Payload, Table};

/// The answer to an operation that succeeded. The documentation of each operation names its variant.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reply<P> {
    /// The operation is done.
    Done,
    /// Yes or no. For a compare-and-exchange: it was done.
    Bool(bool),
    /// A count or an index.
    Count(u64),
    /// The number of items, and of changes so far.
    Len {
        /// The number of items.
        len: u64,
        /// The number of changes.
        version: u64,
    },
    /// The result of a search in the part of a list that it looked at.
    Scanned {
        /// An index or a count, if there is one.
        found: Option<u64>,
        /// The index at which to continue, or `None` if nothing is left to search.
        next: Option<u64>,
        /// The number of changes so far.
        version: u64,
    },
    /// A value.
    Value(P),
    /// A value, if there is one.
    Option(Option<P>),
    /// The current value, which was not the expected one.
    Found(Option<P>),
    /// A number before an addition.
    Before(P),
    /// Several values. They come with the number of changes so far, the place of the last value, or, for failed tasks,
    /// the number after the last.
    Values {
        /// The values.
        values: Vec<P>,
        /// The number of changes, or the place of the last value.
        version: u64,
    },
    /// An entry, if there is one.
    Entry(Option<(P, P)>),
    /// Several entries, and the place of the last one.
    Entries {
        /// The entries.
        entries: Vec<(P, P)>,
        /// The place of the last one.
        place: u64,
    },
    /// An object, and whether this call made it.
    Object {
        /// The object's id.
        id: ObjectId,
        /// Whether the object is new.
        created: bool,
    },
    /// A granted lock.
    Granted {
        /// The token, which is greater than that of every earlier grant of this lock.
        token: u64,
        /// Whether the previous holder died or lost its lease.
        owner_died: bool,
        /// Whether the wait for a notification timed out.
        timed_out: bool,
    },
    /// A delivered task.
    Leased {
        /// The number of the lease.
        lease: u64,
        /// How often the task was delivered, including this time.
        deliveries: u32,
        /// The task.
        task: P,
    },
    /// Names.
    Names(Vec<String>),
    /// What the manager holds.
    Info(Info),
    /// All parties of a barrier have arrived. The caller was the last: it runs its action, and then ends the round.
    Acts {
        /// The position in which the caller arrived.
        index: u64,
        /// The round to end.
        round: u64,
    },
    /// The answers to the operations of a transaction. None of them is itself a transaction.
    Transaction(Vec<Self>),
}

thread_local! {
    /// Whether this thread is decoding the answers to a transaction.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The answers to a transaction, while they are decoded. They must not be nested, since a peer could use up the stack
/// with deep nesting. Their number is limited, since each answer takes more memory here than the byte that a peer spends
/// on it.
pub(super) struct Flat<P>(pub(super) Vec<Reply<P>>);

impl<'de, P: Deserialize<'de>> Deserialize<'de> for Flat<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if INSIDE.replace(true) {
            return Err(D::Error::custom("a transaction inside a transaction"));
        }
        let replies = deserializer.deserialize_seq(Replies(PhantomData));
        INSIDE.set(false);
        replies.map(Self)
    }
}

struct Replies<P>(PhantomData<P>);

impl<'de, P: Deserialize<'de>> Visitor<'de> for Replies<P> {
    type Value = Vec<Reply<P>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {TRANSACTION_OPS_MAX} answers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut replies = Vec::new();
        while let Some(reply) = seq.next_element()? {
            if replies.len() >= TRANSACTION_OPS_MAX {
                return Err(A::Error::invalid_length(replies.len(), &self));
            }
            replies.push(reply);
        }
        Ok(replies)
    }
}

impl Reply<Payload> {
    /// Returns the bytes of its long values, which are shared with the objects.
    #[cfg(feature = "server")]
    pub(crate) fn long_values(&self) -> Vec<bytes::Bytes> {
        let mut long = Vec::new();
        self.each_value(&mut |value| long.extend(value.long_bytes().cloned()));
        long
    }

    /// Returns the approximate memory that the answer takes until it is written, in bytes. Long values are shared with
    /// the objects.
    #[cfg(feature = "server")]
    pub(crate) fn memory(&self) -> usize {
        let mut bytes = size_of::<Self>();
        let mut add = |more: usize| bytes = bytes.saturating_add(more).saturating_add(size_of::<Payload>());
        self.each_value(&mut |value| {
            add(if value.long_bytes().is_some() { 0 } else { value.raw().bytes.len() });
        });
        match self {
            Self::Names(names) => names.iter().for_each(|name| add(name.len())),
            Self::Transaction(replies) => replies.iter().for_each(|reply| add(reply.memory())),
            _ => {}
        }
        bytes
    }

    /// Calls `visit` for every value in the answer.
    pub(crate) fn each_value(&self, visit: &mut impl FnMut(&Payload)) {
        match self {
            Self::Value(value) | Self::Before(value) | Self::Leased { task: value, .. } => visit(value),
            Self::Option(value) | Self::Found(value) => value.iter().for_each(visit),
            Self::Values { values, .. } => values.iter().for_each(visit),
            Self::Entry(entry) => entry.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Entries { entries, .. } => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
            Self::Transaction(replies) => replies.iter().for_each(|reply| reply.each_value(visit)),
            _ => {}
        }
    }
}

/// What a manager holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Info {
    /// The number of objects.
    pub objects: u64,
    /// The number of connections.
    pub clients: u64,
    /// The number of waiting calls.
    pub waiters: u64,
    /// The number of held locks, permits and leases.
    pub held: u64,
    /// The memory that everything takes, in bytes: values, objects, clients, waiting calls, references, answers that were
    /// not read.
    pub bytes: u64,
}

/// Writes the methods that set one number each.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub const fn $name(mut self, $name: u64) -> Self {
                self.$name = $name;
                self
            }
        )+
    };
}

impl Info {
    /// Makes the information of a manager that holds nothing. Backends set what they know.
    #[must_use]
    pub const fn new() -> Self {
        Self { objects: 0, clients: 0, waiters: 0, held: 0, bytes: 0 }
    }

    numbers! {
        /// Sets the number of objects.
        objects,
        /// Sets the number of connections.
        clients,
        /// Sets the number of waiting calls.
        waiters,
        /// Sets the number of held locks, permits and leases.
        held,
        /// Sets the memory of the values, in bytes.
        bytes,
    }
}

/// Why an operation was not done. Unless a variant says otherwise, the object is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The object does not exist: it was removed, or its last reference was released.
    #[error("the object no longer exists")]
    UnknownObject,
    /// The object is of another kind.
    #[error("the object is a {found}")]
    WrongKind {
        /// The object's kind.
        found: Kind,
    },
    /// The object or attribute has another type.
    #[error("the object has another type")]
    WrongType,
    /// No object has this name.
    #[error("no object has this name")]
    UnknownName,
    /// The name is empty or too long.
    #[error("a name must have 1 to {limit} bytes")]
    BadName {
        /// The longest name, in bytes.
        limit: u64,
    },
    /// There is no item at this index.
    #[error("there is no item at index {index}: the length is {len}")]
    Index {
        /// The index.
        index: u64,
        /// The number of items.
        len: u64,
    },
    /// No item equals this value, or no attribute has this name.
    #[error("there is no such item")]
    NotFound,
    /// The key to claim already has a value.
    #[error("the key already has a value")]
    Exists,
    /// The object changed since the caller read it.
    #[error("the object changed during the operation")]
    Changed,
    /// The stored value is not a number of this type.
    #[error("the stored value is not a number of this type")]
    NoNumber,
    /// There is nothing to take now.
    #[error("the list or queue is empty")]
    Empty,
    /// There is no room now.
    #[error("the queue is full")]
    Full,
    /// The lock or permit is not free now.
    #[error("another holder has the lock or permit")]
    WouldBlock,
    /// The awaited event did not happen before the timeout.
    #[error("the call timed out")]
    TimedOut,
    /// The caller cancelled the wait.
    #[error("the wait was cancelled")]
    Cancelled,
    /// The calling thread already holds this lock, so waiting would never end.
    #[error("the calling thread already holds this lock")]
    Deadlock,
    /// The caller does not hold it, or its lease has ended.
    #[error("the caller does not hold this lock, permit or task")]
    NotOwned,
    /// More permits were returned than were taken.
    #[error("more permits were returned than were taken")]
    OverReleased,
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
    /// The barrier is broken.
    #[error("the barrier is broken")]
    Broken,
    /// The number of items, permits or parties is outside the allowed range.
    #[error("the number is not between {least} and {most}")]
    OutOfRange {
        /// The least allowed number.
        least: u64,
        /// The greatest allowed number.
        most: u64,
    },
    /// A value or an answer is longer than a frame may be.
    #[error("the value is longer than {limit} bytes")]
    TooLarge {
        /// The longest value, in bytes.
        limit: u64,
    },
    /// The manager has reached its memory limit.
    #[error("the manager has reached its memory limit")]
    NoSpace,
    /// The caller has too many of something at the same time.
    #[error("the operation is limited to {limit}")]
    TooMany {
        /// The greatest allowed number.
        limit: u64,
    },
    /// A transaction may contain only operations that do not wait.
    #[error("this operation cannot be part of a transaction")]
    NotInTransaction,
    /// The caller has the wrong key, or is not allowed to do this.
    #[error("the server refused this client")]
    Unauthorised,
    /// The frame does not contain a valid operation.
    #[error("the operation is malformed")]
    Malformed,
    /// This engine does not support the operation.
    #[error("this backend does not support the operation")]
    Unsupported,
    /// The operation, or the transaction as a whole, would keep all other clients waiting for too long.
    #[error("the operation is too much work for one step: the limit is {limit} units of about 10 ns")]
    TooMuchWork {
        /// The limit, in units of about 10 ns.
        limit: u64,
    },
    /// The server is too old for this operation, or for something in it.
    #[error(
        "the server does not know number {number} of {table}: it knows versions of the protocol up to {version}, and this \
         build up to {NEWEST}"
    )]
    UnknownOperation {
        /// The table in which the server looked.
        table: Table,
        /// The number that is not in it.
        number: u32,
        /// The newest version that the server knows.
        version: u16,
    },
}

impl Fault {
    /// Returns the fault, or the nearest one that a client of this version of the protocol knows.
    #[cfg(feature = "server")]
    pub(crate) fn known_to(self, version: u16) -> Self {
        match self {
            fault if fault.since() <= version => fault,
            Self::UnknownOperation { .. } => Self::Malformed,
            _ => Self::Unsupported,
        }
    }
}

impl From<Full> for Fault {
    fn from(_: Full) -> Self {
        Self::NoSpace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_not_nested() {
        let flat = Reply::<Payload>::Transaction(vec![Reply::Done, Reply::Count(1)]);
        let encoded = postcard::to_allocvec(&flat).unwrap();
        for _ in 0..2 {
            assert_eq!(postcard::from_bytes::<Reply<Payload>>(&encoded).unwrap(), flat);
            let nested = postcard::to_allocvec(&Reply::Transaction(vec![flat.clone()])).unwrap();
            assert!(postcard::from_bytes::<Reply<Payload>>(&nested).is_err());
        }
        let deep: Vec<u8> = [&encoded[..1], &[1]].concat().repeat(100_000);
        assert!(postcard::from_bytes::<Reply<Payload>>(&deep).is_err());
    }

    #[test]
    fn a_transaction_has_answers_up_to_the_limit_and_not_one_more() {
        for (count, is_read) in [(TRANSACTION_OPS_MAX, true), (TRANSACTION_OPS_MAX + 1, false)] {
            let replies = Reply::<Payload>::Transaction(vec![Reply::Done; count]);
            let encoded = postcard::to_allocvec(&replies).unwrap();
            assert_eq!(postcard::from_bytes::<Reply<Payload>>(&encoded).is_ok(), is_read);
        }
    }
}
