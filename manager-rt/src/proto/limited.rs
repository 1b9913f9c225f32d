//! Decoding within limits, which are checked before any memory is allocated.
//!
//! One byte of a frame may announce a million items, and two bytes may be an item that takes 32 bytes once it is
//! decoded. So each sequence of the protocol has a limit of its own, and all sequences of one frame share a [room].
//! Both are checked when a sequence begins, by its announced length, which also cannot exceed the bytes of the frame.
//!
//! `serde` offers no way to pass a limit to the decoding of a field, and the text of its errors is lost in `postcard`. So
//! the room and the reason of a refusal belong to the thread. Outside of [`within`] there is no room limit: a client
//! decodes what its server sends.
//!
//! [room]: within

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::account::Full;
use crate::count::count_of;
use crate::limits::{
    ENTRIES_AT_ONCE_MAX, FILE_PATH_BYTES_MAX, NAME_BYTES_MAX, ORDER_ITEMS_MAX, REFERENCES_AT_ONCE_MAX,
    TRANSACTION_OPS_MAX, VALUES_AT_ONCE_MAX,
};
use crate::proto::{self, Fault};

/// What is left for the sequences of the current frame.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// The most bytes that decoded items may take.
    bytes: usize,
    /// How many that were for the whole frame.
    most: usize,
    /// The most items, since each takes at least one byte of the frame.
    items: usize,
}

const NO_LIMIT: Room = Room { bytes: usize::MAX, most: usize::MAX, items: usize::MAX };

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(NO_LIMIT) };
    /// Why the current frame is refused.
    static REFUSAL: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Decodes a body whose sequences may take this many bytes together once they are decoded.
///
/// # Errors
/// [`Fault::TooMany`] or [`Fault::BadName`] for a sequence or a name above its own limit, [`Fault::NoRoom`] for more
/// than the room, [`Fault::UnknownOperation`] for an unknown number, and otherwise [`Fault::Malformed`].
pub(crate) fn within<'a, T>(
    bytes: usize,
    body: &'a [u8],
    decode: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Result<T, Fault> {
    // A frame that was decoded without a limit may have left its reason here.
    REFUSAL.set(None);
    ROOM.set(Room { bytes, most: bytes, items: body.len() });
    let decoded = decode(body);
    ROOM.set(NO_LIMIT);
    decoded.ok_or_else(|| REFUSAL.take().unwrap_or(Fault::Malformed))
}

/// Takes room for a sequence, or notes why there is none.
fn take(items: usize, most: usize, item_bytes: usize) -> Result<(), Fault> {
    let room = ROOM.get();
    let bytes = items.saturating_mul(item_bytes);
    let refusal = if items > room.items {
        Fault::Malformed
    } else if items > most {
        Fault::TooMany { limit: count_of(most) }
    } else if bytes > room.bytes {
        Full { room: proto::Room::Decoded, limit: room.most, asked: bytes }.into()
    } else {
        // Without a limit, nothing is counted.
        let left = if room.bytes == usize::MAX { room.bytes } else { room.bytes.saturating_sub(bytes) };
        ROOM.set(Room { bytes: left, ..room });
        return Ok(());
    };
    Err(refuse(refusal))
}

/// Notes why the frame is refused, unless there is an earlier reason.
pub(super) fn refuse(fault: Fault) -> Fault {
    REFUSAL.set(REFUSAL.get().or(Some(fault)));
    fault
}

/// Decodes a sequence of at most `MOST` items.
struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // `postcard` knows the length of each sequence.
        let len = seq.size_hint().ok_or_else(|| A::Error::custom("a sequence without a length"))?;
        take(len, MOST, size_of::<T>()).map_err(A::Error::custom)?;
        let mut items = Vec::new();
        // A client has no room limit, so it does not rely on the announced length.
        if ROOM.get().bytes != usize::MAX {
            items.try_reserve_exact(len).map_err(A::Error::custom)?;
        }
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// Makes a type that decodes a sequence with a limit.
macro_rules! limited {
    ($(#[$doc:meta])* $name:ident: $most:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<T>(pub(crate) Vec<T>);

        impl<'de, T: Deserialize<'de>> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_seq(Items::<T, { $most }>(PhantomData)).map(Self)
            }
        }
    };
}

limited! {
    /// Values that are added or replaced.
    Values: VALUES_AT_ONCE_MAX
}
limited! {
    /// Entries of a dict.
    Entries: ENTRIES_AT_ONCE_MAX
}
limited! {
    /// The elements of a new array.
    Elements: VALUES_AT_ONCE_MAX
}
limited! {
    /// An order of items.
    Order: ORDER_ITEMS_MAX
}
limited! {
    /// Objects whose references are added or released.
    References: REFERENCES_AT_ONCE_MAX
}
limited! {
    /// The operations of a transaction.
    Steps: TRANSACTION_OPS_MAX
}
limited! {
    /// Items of a queue. Only the room limits them.
    Many: usize::MAX
}

/// A name.
pub(crate) struct Name(pub(crate) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name: &'de str = Deserialize::deserialize(deserializer)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(D::Error::custom(refuse(Fault::BadName { limit: count_of(NAME_BYTES_MAX) })));
        }
        take(1, usize::MAX, name.len()).map_err(D::Error::custom)?;
        Ok(Self(name.to_owned()))
    }
}

/// The path of a file.
pub(crate) struct FilePath(pub(crate) String);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path: &'de str = Deserialize::deserialize(deserializer)?;
        if path.len() > FILE_PATH_BYTES_MAX {
            return Err(D::Error::custom(refuse(Fault::BadName { limit: count_of(FILE_PATH_BYTES_MAX) })));
        }
        take(1, usize::MAX, path.len()).map_err(D::Error::custom)?;
        Ok(Self(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Call, ManagerOp, ObjectId, Op, QueueOp, Raw, Wait};
    use crate::wire::decode::whole;

    /// The room that no test uses up.
    const ROOMY: usize = 1 << 30;

    fn call(op: Op<Raw<'_>>) -> Vec<u8> {
        postcard::to_allocvec(&Call { object: ObjectId(1), thread: 1, wait: Wait::No, op }).unwrap()
    }

    fn decode(room: usize, body: &[u8]) -> Result<Call<Raw<'_>>, Fault> {
        within(room, body, whole)
    }

    #[test]
    fn the_room_of_a_frame_is_used_up_and_not_one_byte_more() {
        let body = call(Op::Queue(QueueOp::PutMany(vec![Raw::default(); 100])));
        let room = 100 * size_of::<Raw<'_>>();
        assert!(decode(room, &body).is_ok());
        let (limit, asked) = (count_of(room - 1), count_of(room));
        let full = Fault::NoRoom { room: proto::Room::Decoded, limit, asked };
        assert_eq!(decode(room - 1, &body), Err(full));
        assert!(decode(room, &body).is_ok(), "a refusal is forgotten");
    }

    #[test]
    fn references_are_counted_before_they_are_decoded() {
        for (count, expected) in [(REFERENCES_AT_ONCE_MAX, true), (REFERENCES_AT_ONCE_MAX + 1, false)] {
            let body = call(Op::Manager(ManagerOp::Transit(vec![ObjectId(1); count])));
            let limit = count_of(REFERENCES_AT_ONCE_MAX);
            let decoded = decode(ROOMY, &body);
            assert_eq!(decoded.is_ok(), expected);
            assert!(expected || decoded == Err(Fault::TooMany { limit }));
        }
    }

    #[test]
    fn a_name_is_measured_before_it_is_copied() {
        for (len, expected) in [(NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)] {
            let body = call(Op::Manager(ManagerOp::Remove { name: "n".repeat(len) }));
            let limit = count_of(NAME_BYTES_MAX);
            let decoded = decode(ROOMY, &body);
            assert_eq!(decoded.is_ok(), expected);
            assert!(expected || decoded == Err(Fault::BadName { limit }));
        }
    }

    #[test]
    fn an_announced_length_beyond_the_frame_allocates_nothing() {
        let mut body = call(Op::Queue(QueueOp::PutMany(Vec::new())));
        body.pop();
        body.extend(postcard::to_allocvec(&(1_u64 << 40)).unwrap());
        assert_eq!(decode(usize::MAX - 1, &body), Err(Fault::Malformed));
    }

    #[test]
    fn a_client_has_no_room_limit() {
        let body = call(Op::Queue(QueueOp::PutMany(vec![Raw::default(); 100])));
        assert!(whole::<Call<Raw<'_>>>(&body).is_some());
        assert_eq!(ROOM.get().bytes, usize::MAX);
    }
}
