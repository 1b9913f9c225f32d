//! [`Recorded`]: operations that wait to be sent, in the form in which they travel.
//!
//! Each operation is encoded once, when it is recorded, as the frame that a server reads. Only the numbers in the heads
//! are missing, since they depend on the connection: they are entered when the frames are sent. A backend that is not a
//! connection decodes the frames again, which copies no value.

use std::fmt;

use mp_sys::line::Count;

use crate::proto::limited;
use crate::proto::version::OLDEST;
use crate::proto::{Call, Fault, LentCall, ObjectId, Op, Raw, Step, Travels, Wait};
use crate::wire::decode::whole;
use crate::wire::encode;
use crate::wire::frame::{HEAD_BYTES, Head};
use crate::wire::kept;
use crate::wire::undo::Undo;

/// The bytes of frames that are sent together. A server reads twice as much in one turn.
const PORTION_BYTES: usize = 32 << 10;

/// Operations of one thread that wait to be sent: those of a pipeline, or a portion of them.
pub struct Recorded {
    thread: u64,
    /// Frames, each with the place of its operation as the number of its call, plus `first`.
    frames: Vec<u8>,
    /// What was added to the numbers of all calls.
    first: u64,
    /// The number of operations.
    count: usize,
    /// The operations whose answers bring more than references.
    undos: Vec<(usize, Undo)>,
    /// The operations that are too long for a frame.
    refused: Vec<(usize, Fault)>,
    /// The version of the protocol that introduced the newest number in the frames.
    since: u16,
}

impl Recorded {
    /// Starts without operations, for a thread.
    pub(crate) fn by(thread: u64) -> Self {
        let (undos, refused) = (Vec::new(), Vec::new());
        let frames = kept::buffer();
        Self { thread, frames, first: 0, count: 0, undos, refused, since: OLDEST }
    }

    /// Adds an operation that does not wait. It is encoded at once.
    pub(crate) fn add(&mut self, object: ObjectId, op: &Op<Raw<'_>>) {
        let place = self.count;
        self.count = place.saturating_add(1);
        let number = u64::try_from(place).unwrap_or(u64::MAX).wrapping_add(self.first);
        let call = LentCall { object, thread: self.thread, wait: Wait::No, op };
        if let Err(fault) = encode::without_numbers(&mut self.frames, number, &call) {
            self.refused.push((place, fault));
            return;
        }
        self.since = self.since.max(op.since());
        match Undo::of(object, op) {
            Undo::Nothing => {}
            undo => self.undos.push((place, undo)),
        }
    }

    /// Returns the number of operations.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Returns `true` if there is no operation.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the operations in order, or why one cannot be run: a server would refuse it for the same reason. The
    /// values are borrowed.
    #[must_use]
    pub fn steps(&self) -> Vec<Result<Step<Raw<'_>>, Fault>> {
        let (mut frames, mut refused) = (&*self.frames, self.refused.iter().peekable());
        let mut next = |place| {
            if let Some((_, fault)) = refused.next_if(|(at, _)| *at == place) {
                return Err(*fault);
            }
            let body = next_body(&mut frames).ok_or(Fault::Malformed)?;
            let Call { object, op, .. } = limited::within(usize::MAX, body, whole::<Call<Raw<'_>>>)?;
            Ok(Step { object, op })
        };
        (0..self.count).map(&mut next).collect()
    }

    /// Returns `true` if there is enough to be worth sending.
    pub(crate) const fn is_portion(&self) -> bool {
        self.frames.len() >= PORTION_BYTES
    }

    /// Returns `true` if the answer to an operation brings more than references.
    pub(crate) const fn takes_something(&self) -> bool {
        !self.undos.is_empty()
    }

    pub(crate) const fn thread(&self) -> u64 {
        self.thread
    }

    /// Returns the version of the protocol that introduced the newest number in the operations.
    pub(crate) const fn since(&self) -> u16 {
        self.since
    }

    /// Returns the operations whose answers bring more than references, by their places.
    pub(crate) fn undos(&self) -> &[(usize, Undo)] {
        &self.undos
    }

    /// Returns the operations that are not sent, by their places.
    pub(crate) fn refused(&self) -> &[(usize, Fault)] {
        &self.refused
    }

    /// Returns the frames. The calls have the numbers from `first` on, and say that `read` answers were read.
    pub(crate) fn numbered(&mut self, first: u64, read: u64) -> &[u8] {
        encode::number(&mut self.frames, first.wrapping_sub(self.first), read);
        self.first = first;
        &self.frames
    }

    /// Forgets all operations.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.undos.clear();
        self.refused.clear();
        (self.first, self.count) = (0, 0);
    }
}

/// Removes the first frame, and returns its body.
fn next_body<'a>(frames: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = frames.split_first_chunk::<HEAD_BYTES>()?;
    let len = usize::try_from(Head::of(head)?.body_len).ok()?;
    let (body, rest) = rest.split_at_checked(len)?;
    *frames = rest;
    Some(body)
}

impl Drop for Recorded {
    fn drop(&mut self) {
        kept::keep(std::mem::take(&mut self.frames));
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorded({})", Count(self.count, "step"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ENTRIES_AT_ONCE_MAX, FRAME_BYTES_MAX};
    use crate::proto::{DictOp, Number, QueueOp};
    use crate::wire::frame::FrameKind;

    fn insert<'v>(key: &'v [u8], value: &'v [u8]) -> Op<Raw<'v>> {
        Op::Dict(DictOp::Insert(Raw::plain(key), Raw::plain(value)))
    }

    #[test]
    fn operations_come_back_in_order_and_those_that_no_server_runs_with_the_reason() {
        let mut recorded = Recorded::by(300);
        let long = vec![0; FRAME_BYTES_MAX];
        let many = vec![(Raw::plain(b"key"), Number::U8(1)); ENTRIES_AT_ONCE_MAX + 1];
        let get = Op::Queue(QueueOp::Get);
        recorded.add(ObjectId(1), &insert(b"key", b"value"));
        recorded.add(ObjectId(2), &insert(b"key", &long));
        recorded.add(ObjectId(3), &Op::Dict(DictOp::FetchAddMany(many)));
        recorded.add(ObjectId(4), &get);
        let expected = [
            Ok(Step { object: ObjectId(1), op: insert(b"key", b"value") }),
            Err(Fault::TooLarge { limit: FRAME_BYTES_MAX as u64 }),
            Err(Fault::TooMany { limit: ENTRIES_AT_ONCE_MAX as u64 }),
            Ok(Step { object: ObjectId(4), op: get }),
        ];
        assert_eq!(recorded.steps(), expected);
        assert_eq!((recorded.len(), recorded.undos()), (4, &[(3, Undo::Items)][..]));
        recorded.clear();
        assert!(recorded.is_empty() && recorded.steps().is_empty());
    }

    #[test]
    fn frames_are_those_of_single_calls() {
        let mut recorded = Recorded::by(300);
        let ops = [insert(b"a", b"1"), insert(b"b", b"2")];
        ops.iter().for_each(|op| recorded.add(ObjectId(9), op));
        // A second connection numbers them again.
        for (first, read) in [(500, 3), (7, 4)] {
            let mut expected = Vec::new();
            for (call, op) in (first..).zip(&ops) {
                let call_of = Call { object: ObjectId(9), thread: 300, wait: Wait::No, op: op.clone() };
                encode::frame(&mut expected, FrameKind::Call, (call, read), &call_of).unwrap();
            }
            let mut frames = recorded.numbered(first, read).to_vec();
            // They name the CPU, which may have changed.
            let second = frames.len() / 2;
            for place in [5, second + 5] {
                (frames[place], expected[place]) = (0, 0);
            }
            assert_eq!(frames, expected);
        }
    }
}
