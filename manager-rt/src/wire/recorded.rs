//! [`Recorded`]: operations that wait to be sent, in the form in which they travel.
//!
//! Each operation is encoded once, when it is recorded, in the frame that a server reads. Light operations on one object that follow one
//! another are in one frame. Only the numbers in the heads
//! are missing, since they depend on the connection: they are entered when the frames are sent. A backend that is not a
//! connection decodes the frames again, which copies no value.

use std::fmt;

use mp_sys::line::Count;

use crate::proto::limited;
use crate::proto::version::OLDEST;
use crate::proto::{Call, Fault, LentCall, ObjectId, Op, Raw, Step, Travels, Wait};
use crate::wire::decode::whole;
use crate::wire::encode;
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head};
use crate::wire::kept;
use crate::wire::together::{Open, Together, Whose};
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
    /// The frame at the end, if it takes more calls.
    open: Option<Open>,
    /// Whether a frame contains several calls.
    has_joined: bool,
}

impl Recorded {
    /// Starts without operations, for a thread.
    pub(crate) fn by(thread: u64) -> Self {
        let (undos, refused) = (Vec::new(), Vec::new());
        let frames = kept::buffer();
        let (open, has_joined) = (None, false);
        Self { thread, frames, first: 0, count: 0, undos, refused, since: OLDEST, open, has_joined }
    }

    /// Adds an operation that does not wait. It is encoded at once.
    pub(crate) fn add(&mut self, object: ObjectId, op: &Op<Raw<'_>>) {
        let place = self.count;
        self.count = place.saturating_add(1);
        let number = u64::try_from(place).unwrap_or(u64::MAX).wrapping_add(self.first);
        if op.is_light() {
            let whose = Whose { object, thread: self.thread };
            self.open = Open::add(self.open, &mut self.frames, (whose, number), op);
            if self.open.is_some() {
                self.has_joined = true;
                self.since = self.since.max(op.since());
                return;
            }
        }
        self.open = None;
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
        let mut sent = self.sent().into_iter();
        let mut refused = self.refused.iter().peekable();
        let next = |place| match refused.next_if(|(at, _)| *at == place) {
            Some((_, fault)) => Err(*fault),
            None => sent.next().unwrap_or(Err(Fault::Malformed)),
        };
        (0..self.count).map(next).collect()
    }

    /// Returns the operations in the frames.
    fn sent(&self) -> Vec<Result<Step<Raw<'_>>, Fault>> {
        let (mut frames, mut sent) = (&*self.frames, Vec::with_capacity(self.count));
        while let Some((head, body)) = next_frame(&mut frames) {
            if let FrameKind::Calls(count) = head.kind {
                let mut together = Together::of(body);
                sent.extend((0..count).map(|_| {
                    let together = together.as_mut().ok_or(Fault::Malformed)?;
                    Ok(Step { object: together.whose.object, op: together.next(usize::MAX)? })
                }));
            } else {
                let call = limited::within(usize::MAX, body, whole::<Call<Raw<'_>>>);
                sent.push(call.map(|Call { object, op, .. }| Step { object, op }));
            }
        }
        sent
    }

    /// Puts each call into a frame of its own, for a server that knows no others.
    pub(crate) fn separate(&mut self) {
        if !std::mem::take(&mut self.has_joined) {
            return;
        }
        self.open = None;
        let (mut frames, mut separate) = (&*self.frames, Vec::with_capacity(self.frames.len()));
        while let Some((head, body)) = next_frame(&mut frames) {
            let FrameKind::Calls(count) = head.kind else {
                separate.extend_from_slice(&head.to_bytes());
                separate.extend_from_slice(body);
                continue;
            };
            let Some(mut together) = Together::of(body) else { continue };
            for call in (head.call..).take(usize::from(count)) {
                let Whose { object, thread } = together.whose;
                let Ok(op) = together.next(usize::MAX) else { break };
                let whole = LentCall { object, thread, wait: Wait::No, op: &op };
                // It fits, since it was part of a frame.
                let _fits = encode::without_numbers(&mut separate, call, &whole);
            }
        }
        self.frames = separate;
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
        (self.open, self.has_joined) = (None, false);
    }
}

/// Removes and returns the first frame.
fn next_frame<'a>(frames: &mut &'a [u8]) -> Option<(Head, &'a [u8])> {
    let (head, rest) = frames.split_first_chunk::<HEAD_BYTES>()?;
    let head = Head::of(head)?;
    let (body, rest) = rest.split_at_checked(usize::try_from(head.body_len).ok()?)?;
    *frames = rest;
    Some((head, body))
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
    use crate::limits::{CALLS_TOGETHER_BYTES_MAX, CALLS_TOGETHER_MAX, ENTRIES_AT_ONCE_MAX, FRAME_BYTES_MAX};
    use crate::proto::{DictOp, Number, QueueOp};

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

    /// Returns the frames without the CPU, which may change.
    fn frames(recorded: &mut Recorded, first: u64, read: u64) -> Vec<(Head, Vec<u8>)> {
        let mut rest = recorded.numbered(first, read);
        let mut frames = Vec::new();
        while let Some((head, body)) = next_frame(&mut rest) {
            frames.push((Head { cpu: 0, ..head }, body.to_vec()));
        }
        assert!(rest.is_empty());
        frames
    }

    #[test]
    fn light_operations_on_one_object_share_a_frame_and_have_a_number_each() {
        let mut recorded = Recorded::by(300);
        let light = [insert(b"a", b"1"), insert(b"b", b"2"), Op::Dict(DictOp::Get(Raw::plain(b"a")))];
        let heavy = Op::Dict(DictOp::Clear);
        light.iter().for_each(|op| recorded.add(ObjectId(9), op));
        recorded.add(ObjectId(8), &light[0]);
        recorded.add(ObjectId(9), &light[2]);
        recorded.add(ObjectId(9), &heavy);
        recorded.add(ObjectId(9), &light[0]);
        let expected = |first, read| {
            let together = |call, object, ops: &[Op<Raw<'_>>]| {
                let whose = Whose { object: ObjectId(object), thread: 300 };
                let ops = ops.iter().map(|op| postcard::to_allocvec(op).unwrap());
                let body = [postcard::to_allocvec(&whose).unwrap()].into_iter().chain(ops.clone());
                let body = body.collect::<Vec<_>>().concat();
                let kind = FrameKind::Calls(u16::try_from(ops.len()).unwrap());
                let body_len = u32::try_from(body.len()).unwrap();
                (Head { body_len, kind, cpu: 0, call, read }, body)
            };
            let call = Call { object: ObjectId(9), thread: 300, wait: Wait::No, op: heavy.clone() };
            let body = postcard::to_allocvec(&call).unwrap();
            let body_len = u32::try_from(body.len()).unwrap();
            let single = Head { body_len, kind: FrameKind::Call, cpu: 0, call: first + 5, read };
            [
                together(first, 9, &light),
                together(first + 3, 8, &light[..1]),
                together(first + 4, 9, &light[2..]),
                (single, body),
                together(first + 6, 9, &light[..1]),
            ]
        };
        // A second connection numbers them again.
        for (first, read) in [(500, 3), (7, 4)] {
            assert_eq!(frames(&mut recorded, first, read), expected(first, read));
        }
        let ops = recorded.steps().into_iter().map(|step| step.unwrap().op).collect::<Vec<_>>();
        let [a, b, c] = light;
        assert_eq!(ops, [a.clone(), b, c.clone(), a.clone(), c, heavy, a]);
    }

    #[test]
    fn a_server_that_knows_no_frames_with_several_calls_gets_the_same_calls() {
        let mut recorded = Recorded::by(300);
        let ops = [insert(b"a", b"1"), insert(b"b", b"2"), Op::Dict(DictOp::Clear), insert(b"c", b"3")];
        ops.iter().for_each(|op| recorded.add(ObjectId(9), op));
        for (first, read) in [(500, 3), (7, 4)] {
            // The second time, there is nothing left to separate.
            recorded.separate();
            let mut expected = Vec::new();
            for (call, op) in (first..).zip(&ops) {
                let op = op.clone();
                let call_of = Call { object: ObjectId(9), thread: 300, wait: Wait::No, op };
                let body = postcard::to_allocvec(&call_of).unwrap();
                let body_len = u32::try_from(body.len()).unwrap();
                expected.push((Head { body_len, kind: FrameKind::Call, cpu: 0, call, read }, body));
            }
            assert_eq!(frames(&mut recorded, first, read), expected);
        }
        let steps: Vec<_> = recorded.steps().into_iter().map(|step| step.unwrap().op).collect();
        assert_eq!(steps, ops);
    }

    #[test]
    fn a_frame_has_calls_up_to_the_limit_and_not_one_more() {
        let mut recorded = Recorded::by(1);
        let most = CALLS_TOGETHER_MAX;
        (0..=most).for_each(|_| recorded.add(ObjectId(9), &Op::Dict(DictOp::Len)));
        let kinds: Vec<_> = frames(&mut recorded, 0, 0).into_iter().map(|(head, _)| head.kind).collect();
        assert_eq!(kinds, [FrameKind::Calls(most), FrameKind::Calls(1)]);
    }

    #[test]
    fn a_long_call_has_a_frame_of_its_own_and_one_byte_less_shares_one() {
        // The object, the thread, two numbers of the operation, the lengths of the key, of the value and of no ids twice.
        let envelope = 1 + 1 + 2 + (1 + 1 + 1) + (2 + 1);
        for (more, is_single) in [(0, false), (1, true)] {
            let mut recorded = Recorded::by(1);
            let value = vec![7; CALLS_TOGETHER_BYTES_MAX - envelope + more];
            recorded.add(ObjectId(9), &insert(b"k", &value));
            recorded.add(ObjectId(9), &insert(b"k", b""));
            let frames = frames(&mut recorded, 0, 0);
            let kinds: Vec<_> = frames.iter().map(|(head, _)| head.kind).collect();
            let first = if is_single { FrameKind::Call } else { FrameKind::Calls(1) };
            assert_eq!(kinds, [first, FrameKind::Calls(1)]);
            assert!(is_single || frames[0].1.len() == CALLS_TOGETHER_BYTES_MAX);
        }
    }
}
