//! What is answered.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::TRANSACTION_OPS_MAX;
use crate::proto::{Kind, ObjectId, Payload};

/// The answer to an operation that worked. Which variant belongs to which operation stands there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reply<P> {
    /// It is done.
    Done,
    /// Yes or no; of a compare and exchange: it was done.
    Bool(bool),
    /// A count or an index.
    Count(u64),
    /// The number of items, and of changes so far.
    Len {
        /// Items.
        len: u64,
        /// Changes.
        version: u64,
    },
    /// What a search found in the part of a list that it looked at.
    Scanned {
        /// An index or a count, if there is one.
        found: Option<u64>,
        /// Where to go on; `None`: nothing is left to be looked at.
        next: Option<u64>,
        /// The number of changes so far.
        version: u64,
    },
    /// A value.
    Value(P),
    /// A value, if there is one.
    Option(Option<P>),
    /// The value that was there instead of the expected one.
    Found(Option<P>),
    /// A number before something was added to it.
    Before(P),
    /// Values; and the number of changes so far, or the place of the last one; of failed tasks, the number behind the last.
    Values {
        /// The values.
        values: Vec<P>,
        /// Changes, or the place of the last one.
        version: u64,
    },
    /// An entry, if there is one.
    Entry(Option<(P, P)>),
    /// Entries, and the place of the last one.
    Entries {
        /// The entries.
        entries: Vec<(P, P)>,
        /// The place of the last one.
        place: u64,
    },
    /// An object, and whether it was made by this call.
    Object {
        /// Its id.
        id: ObjectId,
        /// Whether it is new.
        created: bool,
    },
    /// A lock was taken.
    Granted {
        /// Greater than that of every earlier grant of this lock.
        token: u64,
        /// The holder before died, or its lease ended.
        owner_died: bool,
        /// The wait for a notification ended by its timeout.
        timed_out: bool,
    },
    /// A task.
    Leased {
        /// Names the lease.
        lease: u64,
        /// How often the task was delivered, this time included.
        deliveries: u32,
        /// The task.
        task: P,
    },
    /// Names.
    Names(Vec<String>),
    /// What the manager holds.
    Info(Info),
    /// All parties of a barrier have come. The caller was the last of them, runs its action, and ends the round then.
    Acts {
        /// The order in which the caller came.
        index: u64,
        /// The round to end.
        round: u64,
    },
    /// The answers to the operations of a transaction, of which none is a transaction.
    #[serde(deserialize_with = "not_nested")]
    Transaction(Vec<Self>),
}

thread_local! {
    /// Whether the thread decodes the answers to a transaction.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Decodes the answers to a transaction. They are not nested: what a peer nests deeply would use up the stack. And they are
/// no more than there can be: each takes more memory than the byte that a peer needs for it.
fn not_nested<'de, D, P>(deserializer: D) -> Result<Vec<Reply<P>>, D::Error>
where
    D: Deserializer<'de>,
    P: Deserialize<'de>,
{
    if INSIDE.replace(true) {
        return Err(D::Error::custom("a transaction inside of a transaction"));
    }
    let replies = deserializer.deserialize_seq(Replies(PhantomData));
    INSIDE.set(false);
    replies
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
    /// The bytes of its long values, which are shared with the objects.
    pub(crate) fn long_values(&self) -> Vec<Bytes> {
        let mut long = Vec::new();
        self.each_value(&mut |value| long.extend(value.long_bytes().cloned()));
        long
    }

    /// Visits every value of it.
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
    /// Objects that live.
    pub objects: u64,
    /// Connections.
    pub clients: u64,
    /// Calls that wait.
    pub waiters: u64,
    /// Locks, permits and leases that are held.
    pub held: u64,
    /// Bytes of memory that the values take, about.
    pub bytes: u64,
}

/// Why an operation was not done. The object is as it was, if the variant does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no such object: it was removed, or its last reference went.
    #[error("the object no longer exists")]
    UnknownObject,
    /// The object is of another kind.
    #[error("the object is a {found}")]
    WrongKind {
        /// What it is.
        found: Kind,
    },
    /// The object or attribute has another type.
    #[error("the object has another type")]
    WrongType,
    /// No object has this name.
    #[error("no object has this name")]
    UnknownName,
    /// The name is empty or too long.
    #[error("a name has 1 to {limit} bytes")]
    BadName {
        /// The most bytes.
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
    /// Nothing equals this value, or there is no attribute of this name.
    #[error("there is no such item")]
    NotFound,
    /// The key that was to be claimed has a value.
    #[error("the key has a value already")]
    Exists,
    /// The object changed since the caller looked.
    #[error("the object changed in between")]
    Changed,
    /// What is stored is no number of this type.
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
    /// What was waited for did not happen before the timeout.
    #[error("the call timed out")]
    TimedOut,
    /// The caller ended the wait.
    #[error("the wait was cancelled")]
    Cancelled,
    /// The thread holds this lock already: waiting would never end.
    #[error("the calling thread holds this lock already")]
    Deadlock,
    /// The caller does not hold it, or no more: its lease ended.
    #[error("the caller does not hold this lock, permit or task")]
    NotOwned,
    /// More was given back than taken.
    #[error("more permits were returned than were taken")]
    OverReleased,
    /// The queue is closed.
    #[error("the queue is closed")]
    Closed,
    /// The barrier is broken.
    #[error("the barrier is broken")]
    Broken,
    /// A number of items, permits or parties outside of what the object allows.
    #[error("the number is not between {least} and {most}")]
    OutOfRange {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A value, or an answer, is longer than a frame may be.
    #[error("the value is longer than {limit} bytes")]
    TooLarge {
        /// The most bytes.
        limit: u64,
    },
    /// The manager has no room for it: its memory limit is reached.
    #[error("the manager has reached its memory limit")]
    NoSpace,
    /// The caller has too many of something at the same time.
    #[error("the operation is limited to {limit}")]
    TooMany {
        /// The most.
        limit: u64,
    },
    /// A transaction consists of operations that do not wait.
    #[error("this operation cannot be part of a transaction")]
    NotInTransaction,
    /// The caller has no key that fits, or may not do this.
    #[error("the server refused this client")]
    Unauthorised,
    /// The frame is no operation.
    #[error("the operation is malformed")]
    Malformed,
    /// This engine cannot do it.
    #[error("this backend does not support the operation")]
    Unsupported,
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
    fn the_answers_of_a_transaction_at_the_limit_and_one_above() {
        for (count, is_read) in [(TRANSACTION_OPS_MAX, true), (TRANSACTION_OPS_MAX + 1, false)] {
            let replies = Reply::<Payload>::Transaction(vec![Reply::Done; count]);
            let encoded = postcard::to_allocvec(&replies).unwrap();
            assert_eq!(postcard::from_bytes::<Reply<Payload>>(&encoded).is_ok(), is_read);
        }
    }
}
