//! What a program and its keeper send each other: small frames over local sockets, each with a number, and with the bytes of items behind it.
//!
//! A thread has a socket to itself while it calls, so calls that wait do not delay others. A keeper that answers something else than it was
//! asked is given up.

use serde::{Deserialize, Serialize};

use super::NotReached;
use super::definition::Definition;
use crate::backend::CallError;
use crate::proto::Fault;

/// The length of what stands before a frame, in bytes: the lengths of the head and of the items.
pub(super) const LENGTHS_BYTES: usize = 8;
/// The longest head of a frame, in bytes: it contains names, and the lengths of items.
pub(super) const HEAD_BYTES_MAX: usize = 256 << 10;

/// How long a call may wait, in nanoseconds: 0 for not at all, and the most for ever.
pub(super) type Nanos = u64;

/// What a program asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// To connect.
    Connect,
    /// To find or make a queue.
    Define(Definition),
    /// The definition of a queue.
    Find { id: u64 },
    /// To remove a queue.
    Remove { id: u64 },
    /// To put the items that follow, which have these lengths.
    Put { queue: String, has_limit: bool, wait: Nanos, lens: Vec<u64> },
    /// At most so many items, or a task.
    Get { queue: String, max: Option<u64>, wait: Nanos },
    /// Nothing: what the previous answer contained was read.
    Taken,
    /// To end the lease of a task.
    Settle { lease: u64, is_done: bool },
    /// The number of items.
    Len { queue: String },
    /// The failed tasks, and whether they are taken.
    Failed { queue: String, take: bool },
    /// So many bytes of each failed task.
    FailedHeads { queue: String, bytes: u64 },
    /// The number of calls that wait.
    Waiting,
}

/// What a keeper answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Count(u64),
    /// The definition of a queue, and whether it is new.
    Defined(Definition, bool),
    /// The items that follow have these lengths. If there are more, they are in the next frame.
    Items {
        lens: Vec<u64>,
        has_more: bool,
    },
    /// The task that follows, with its lease.
    Task {
        lease: u64,
        deliveries: u32,
    },
    Refused(Refusal),
}

/// A numbered question or answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    pub(super) body: T,
}

/// Why a keeper did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// There is no item.
    Empty,
    /// There is no room, or RabbitMQ takes nothing at present.
    Full,
    /// The queue does not exist.
    Unknown,
    /// The lease has ended.
    NotOwned,
    /// The process has too many tasks and waiting calls.
    TooMany,
    /// The item is too long for the server.
    TooLong,
    /// The user may not do this.
    Forbidden,
    /// RabbitMQ cannot be reached, so nothing was done.
    Gone,
    /// It may or may not have been done.
    Unsure,
    /// RabbitMQ answered in a way that no version does that is known.
    Protocol,
    /// RabbitMQ was not reached.
    NotReached(NotReached),
}

/// The most tasks that a process holds, and calls of it that wait, together: RabbitMQ has as many channels for a connection.
pub(super) const CHANNELS_MAX: u64 = 2_000;

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Empty => Fault::Empty.into(),
            Refusal::Full => Fault::Full.into(),
            Refusal::Unknown => Fault::UnknownObject.into(),
            Refusal::NotOwned => Fault::NotOwned.into(),
            Refusal::TooMany => Fault::TooMany { limit: CHANNELS_MAX }.into(),
            Refusal::TooLong => {
                Fault::TooLarge { limit: crate::count::count_of(super::ITEM_BYTES_MAX) }.into()
            }
            Refusal::Forbidden => Self::Unauthorised,
            Refusal::Gone | Refusal::NotReached(_) => Self::ServerGone,
            Refusal::Unsure => Self::OutcomeUnknown,
            Refusal::Protocol => Self::Protocol,
        }
    }
}

/// Returns the lengths that stand before a frame.
pub(super) fn lengths(head: usize, items: usize) -> Option<[u8; LENGTHS_BYTES]> {
    let (head, items) = (u32::try_from(head).ok()?, u32::try_from(items).ok()?);
    Some((u64::from(head) | (u64::from(items) << 32)).to_le_bytes())
}

/// Returns the lengths of the head and of the items, unless one is longer than any side sends.
pub(super) fn lengths_of(bytes: [u8; LENGTHS_BYTES]) -> Option<(usize, usize)> {
    let both = u64::from_le_bytes(bytes);
    let head = usize::try_from(both & u64::from(u32::MAX)).ok()?;
    let items = usize::try_from(both >> 32).ok()?;
    (head <= HEAD_BYTES_MAX && items <= crate::limits::FRAME_BYTES_MAX).then_some((head, items))
}

/// Returns the items that lie one behind the other.
///
/// # Errors
/// [`Refusal::Protocol`] if they do not have these lengths.
pub(super) fn items_in<'i>(mut items: &'i [u8], lens: &[u64]) -> Result<Vec<&'i [u8]>, Refusal> {
    let mut found = Vec::with_capacity(lens.len());
    for len in lens {
        let len = usize::try_from(*len).map_err(|_| Refusal::Protocol)?;
        let (item, rest) = items.split_at_checked(len).ok_or(Refusal::Protocol)?;
        found.push(item);
        items = rest;
    }
    if items.is_empty() { Ok(found) } else { Err(Refusal::Protocol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_other_lengths_are_refused() {
        assert_eq!(items_in(b"abc", &[1, 0, 2]), Ok(vec![&b"a"[..], b"", b"bc"]));
        assert_eq!(items_in(b"", &[]), Ok(Vec::new()));
        for lens in [&[1, 1][..], &[4], &[u64::MAX], &[]] {
            assert_eq!(items_in(b"abc", lens), Err(Refusal::Protocol));
        }
    }

    #[test]
    fn lengths_at_the_limits_and_one_above() {
        let (head, items) = (HEAD_BYTES_MAX, crate::limits::FRAME_BYTES_MAX);
        for (pair, expected) in [
            ((head, items), Some((head, items))),
            ((0, 0), Some((0, 0))),
            ((head + 1, 0), None),
            ((0, items + 1), None),
        ] {
            assert_eq!(lengths_of(lengths(pair.0, pair.1).unwrap()), expected);
        }
        assert_eq!(lengths(0, usize::MAX), None);
    }
}
