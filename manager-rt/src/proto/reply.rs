//! The answers to operations.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::TRANSACTION_OPS_MAX;
#[cfg(feature = "server")]
use crate::proto::report::memory_of;
use crate::proto::report::{ClientReport, ObjectReport, ServerReport, WaitReport};
use crate::proto::{ObjectId, Payload};

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
    /// A granted lock that has a lease. The lease began with the grant, and the caller does not know when that was: the
    /// answer may have been on its way for long. But it knows when it sent the call, which was earlier by at least
    /// `waited`.
    GrantedLease {
        /// As in [`Granted`](Self::Granted).
        token: u64,
        /// As in [`Granted`](Self::Granted).
        owner_died: bool,
        /// As in [`Granted`](Self::Granted).
        timed_out: bool,
        /// How long the call waited at the manager, in nanoseconds.
        waited: u64,
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
    /// What the manager knows about its server.
    Server(Box<ServerReport>),
    /// A page of clients.
    Clients {
        /// The clients.
        clients: Vec<ClientReport>,
        /// The place at which the next page begins, if there is one.
        next: Option<u64>,
    },
    /// A page of objects.
    Objects {
        /// The objects.
        objects: Vec<ObjectReport>,
        /// The place at which the next page begins, if there is one.
        next: Option<u64>,
    },
    /// A page of waiting calls.
    Waits {
        /// The calls.
        waits: Vec<WaitReport>,
        /// The number after which the next page begins, if there is one.
        next: Option<u64>,
    },
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
            Self::Server(server) => add(server.memory()),
            Self::Clients { clients, .. } => add(memory_of(clients)),
            Self::Objects { objects, .. } => add(memory_of(objects)),
            Self::Waits { waits, .. } => add(memory_of(waits)),
            _ => {}
        }
        bytes
    }

    /// Returns the same answer in the form of older versions, if it has one.
    #[cfg(feature = "server")]
    pub(crate) const fn known_to(&self, version: u16) -> Option<Self> {
        match *self {
            Self::GrantedLease { token, owner_died, timed_out, .. } if version < 5 => {
                Some(Self::Granted { token, owner_died, timed_out })
            }
            _ => None,
        }
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
