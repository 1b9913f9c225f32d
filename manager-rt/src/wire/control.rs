//! [`Control`]: what a client sends about its own calls.
//!
//! It is not an operation, since only a stream has calls whose answers are given up. So a backend need not know it. In the
//! stream, it is encoded as a call of the manager itself, with a number that no operation of the manager has.

use serde::{Serialize, Serializer};

use crate::proto::{ObjectId, Wait};
#[cfg(feature = "server")]
use crate::wire::decode::whole;

/// The number of the operations of the manager itself, among those of all objects.
const MANAGER: u32 = 0;
const CANCEL: u32 = 7;
const REJECT: u32 = 8;
const PING: u32 = 10;
const TAKEN: u32 = 21;

/// What a client sends about its own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Ends a call that its client has given up: it no longer waits, and what it was granted with an unread answer is
    /// taken back.
    Cancel {
        /// The number of the call.
        call: u64,
    },
    /// Takes back what the unread answer to a call granted, because no thread took it: items and tasks return to their
    /// queues, locks and permits are free again.
    Reject {
        /// The number of the call.
        call: u64,
    },
    /// Asks for an answer, and for nothing else.
    Ping,
    /// Says that the answers to these calls were read, although earlier ones may not count as read yet. The calls are at most
    /// [`TAKEN_CALLS_MAX`](crate::limits::TAKEN_CALLS_MAX).
    Taken {
        /// The number of the first call.
        first: u64,
        /// The number of the last call.
        last: u64,
    },
}

impl Control {
    /// Returns the body of a frame in which a thread sends this.
    #[must_use]
    pub const fn sent_by(self, thread: u64) -> Sent {
        Sent { thread, control: self }
    }

    /// Decodes the body of a frame, or returns `None` if it contains something else.
    #[cfg(feature = "server")]
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        let (head, rest) = postcard::take_from_bytes::<(ObjectId, u64, Wait, u32, u32)>(body).ok()?;
        match head {
            (_, _, _, MANAGER, CANCEL) => whole(rest).map(|call| Self::Cancel { call }),
            (_, _, _, MANAGER, REJECT) => whole(rest).map(|call| Self::Reject { call }),
            (_, _, _, MANAGER, PING) => rest.is_empty().then_some(Self::Ping),
            (_, _, _, MANAGER, TAKEN) => whole(rest).map(|(first, last)| Self::Taken { first, last }),
            _ => None,
        }
    }
}

/// The body of a frame that contains a [`Control`].
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    thread: u64,
    control: Control,
}

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let head = (ObjectId::MANAGER, self.thread, Wait::No, MANAGER);
        match self.control {
            Control::Cancel { call } => (head, CANCEL, call).serialize(to),
            Control::Reject { call } => (head, REJECT, call).serialize(to),
            Control::Ping => (head, PING).serialize(to),
            Control::Taken { first, last } => (head, TAKEN, first, last).serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Call, ManagerOp, Op, Raw};

    fn bytes_of(body: &impl Serialize) -> Vec<u8> {
        postcard::to_allocvec(body).unwrap()
    }

    /// Clients of earlier builds send these bytes.
    #[test]
    fn the_bytes_are_those_of_a_call_of_the_manager() {
        let cases = [
            (Control::Cancel { call: 500 }, &[7, 0xf4, 3][..]),
            (Control::Reject { call: 500 }, &[8, 0xf4, 3]),
            (Control::Ping, &[10]),
            (Control::Taken { first: 500, last: 501 }, &[21, 0xf4, 3, 0xf5, 3]),
        ];
        for (control, end) in cases {
            let bytes = bytes_of(&control.sent_by(300));
            assert_eq!(bytes, [&[0, 0xac, 2, 0, 0][..], end].concat());
            assert_eq!(Control::of(&bytes), Some(control));
            assert_eq!(Control::of(&[&bytes[..], &[0]].concat()), None, "no byte may follow");
            assert_eq!(Control::of(&bytes[..bytes.len() - 1]), None);
            assert_eq!(whole::<Call<Raw<'_>>>(&bytes), None, "no engine gets it");
        }
    }

    #[test]
    fn operations_of_the_manager_have_other_numbers() {
        let op = Op::<Raw<'_>>::Manager(ManagerOp::Names);
        let call = Call { object: ObjectId::MANAGER, thread: 300, wait: Wait::No, op };
        let bytes = bytes_of(&call);
        assert_eq!(bytes, [0, 0xac, 2, 0, 0, 3]);
        assert_eq!(Control::of(&bytes), None);
    }
}
