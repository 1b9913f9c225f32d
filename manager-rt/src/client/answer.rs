//! Decoding answers, and undoing answers that no thread waits for any more.

use bytes::Bytes;
use postcard::take_from_bytes;
use serde::Deserialize;

use self::Unreadable::Malformed;
use crate::proto::{
    Answer, BarrierOp, Fault, JoinableQueueOp, LockOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Table,
    limited,
};
use crate::wire::control::Control;
use crate::wire::decode::whole;
use crate::wire::frame::FrameKind;
pub(super) use crate::wire::undo::Undo;

/// Why received bytes cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They are not an answer.
    Malformed,
    /// They contain a number that this build does not know.
    Unknown {
        /// The table that does not contain it.
        table: Table,
        /// The number.
        number: u32,
    },
}

/// Decodes the body of an answer. Long values keep `frame`, if the body lies in it.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn decode(kind: FrameKind, body: &[u8], frame: &Bytes) -> Result<Answer<Payload>, Unreadable> {
    match kind {
        FrameKind::Fault => whole(body).map(Err).ok_or_else(|| why::<Fault>(body)),
        FrameKind::Reply => {
            let reply = whole::<Reply<Raw<'_>>>(body).ok_or_else(|| why::<Reply<Raw<'_>>>(body))?;
            Ok(Ok(owned(reply, frame)))
        }
        _ => Err(Malformed),
    }
}

/// Removes and returns the first of several answers. Long values keep `frame`, if the body lies in it.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn take_first(answers: &mut &[u8], frame: &Bytes) -> Result<Answer<Payload>, Unreadable> {
    let (answer, rest) = take_from_bytes::<Answer<Raw<'_>>>(answers).map_err(|_| why_first(answers))?;
    *answers = rest;
    Ok(answer.map(|reply| owned(reply, frame)))
}

/// Removes and returns the first of several answers as it would be in a frame of its own: the kind and the body of that.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn split_first<'a>(answers: &mut &'a [u8]) -> Result<(FrameKind, &'a [u8]), Unreadable> {
    let whole = *answers;
    let (answer, rest) = take_from_bytes::<Answer<Raw<'_>>>(whole).map_err(|_| why_first(whole))?;
    *answers = rest;
    let kind = if answer.is_ok() { FrameKind::Reply } else { FrameKind::Fault };
    let first = whole.get(..whole.len().saturating_sub(rest.len())).unwrap_or_default();
    // The number that says which of them it is takes one byte.
    Ok((kind, first.get(1..).unwrap_or_default()))
}

/// Returns why the first of several answers cannot be decoded.
#[cold]
fn why_first(answers: &[u8]) -> Unreadable {
    why_not(answers, |answers| Some(take_from_bytes::<Answer<Raw<'_>>>(answers).ok()?.0))
}

/// Returns why a body cannot be decoded, by decoding it again.
#[cold]
fn why<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Unreadable {
    why_not(body, whole::<T>)
}

fn why_not<'a, T>(body: &'a [u8], decode: impl FnOnce(&'a [u8]) -> Option<T>) -> Unreadable {
    match limited::within(usize::MAX, body, decode) {
        Err(Fault::UnknownOperation { table, number, .. }) => Unreadable::Unknown { table, number },
        _ => Malformed,
    }
}

fn owned(reply: Reply<Raw<'_>>, frame: &Bytes) -> Reply<Payload> {
    let own = |raw| Payload::of(raw, frame);
    let both = |(key, value)| (own(key), own(value));
    match reply {
        Reply::Done => Reply::Done,
        Reply::Bool(answer) => Reply::Bool(answer),
        Reply::Count(count) => Reply::Count(count),
        Reply::Len { len, version } => Reply::Len { len, version },
        Reply::Scanned { found, next, version } => Reply::Scanned { found, next, version },
        Reply::Value(value) => Reply::Value(own(value)),
        Reply::Option(value) => Reply::Option(value.map(own)),
        Reply::Found(value) => Reply::Found(value.map(own)),
        Reply::Before(value) => Reply::Before(own(value)),
        Reply::Values { values, version } => {
            Reply::Values { values: values.into_iter().map(own).collect(), version }
        }
        Reply::Entry(entry) => Reply::Entry(entry.map(both)),
        Reply::Entries { entries, place } => {
            Reply::Entries { entries: entries.into_iter().map(both).collect(), place }
        }
        Reply::Object { id, created } => Reply::Object { id, created },
        Reply::Granted { token, owner_died, timed_out } => Reply::Granted { token, owner_died, timed_out },
        Reply::GrantedLease { token, owner_died, timed_out, waited } => {
            Reply::GrantedLease { token, owner_died, timed_out, waited }
        }
        Reply::Leased { lease, deliveries, task } => Reply::Leased { lease, deliveries, task: own(task) },
        Reply::Names(names) => Reply::Names(names),
        Reply::Info(info) => Reply::Info(info),
        Reply::Acts { index, round } => Reply::Acts { index, round },
        Reply::Server(server) => Reply::Server(server),
        Reply::Clients { clients, next } => Reply::Clients { clients, next },
        Reply::Objects { objects, next } => Reply::Objects { objects, next },
        Reply::Waits { waits, next } => Reply::Waits { waits, next },
        // None of them is a transaction: see `Reply`.
        Reply::Transaction(replies) => {
            Reply::Transaction(replies.into_iter().map(|reply| owned(reply, frame)).collect())
        }
    }
}

/// What a client sends to undo an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Notice {
    /// An operation on an object.
    Op(ObjectId, Op<Raw<'static>>),
    /// Something about the call itself.
    Control(Control),
}

impl Undo {
    /// Returns the notices that undo the answer to this call. They have no effect on what the server has taken back
    /// already, when the call was given up.
    pub(super) fn notices(self, call: u64, reply: &Reply<Payload>) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut references = Vec::new();
        match (self, reply) {
            (
                Self::Lock(lock) | Self::LockAgain { lock, .. },
                Reply::Granted { token, .. } | Reply::GrantedLease { token, .. },
            ) => {
                notices.push(Notice::Op(lock, Op::Lock(LockOp::Release { token: *token })));
            }
            (Self::Task(queue), Reply::Leased { lease, .. }) => {
                notices
                    .push(Notice::Op(queue, Op::JoinableQueue(JoinableQueueOp::Requeue { lease: *lease })));
            }
            // Nobody will run it.
            (Self::Action(barrier), Reply::Acts { .. }) => {
                notices.push(Notice::Op(barrier, Op::Barrier(BarrierOp::Abort)));
            }
            // The server knows what the call got, if it has not taken that back already.
            (Self::Permit | Self::Items, _) => notices.push(Notice::Control(Control::Reject { call })),
            (Self::Reference(object), _) => references.push((object, 1)),
            (_, Reply::Object { id, .. }) => references.push((*id, 1)),
            _ => {}
        }
        // Each value carries references to the objects inside it.
        reply.each_value(&mut |value| references.extend(value.raw().objects().map(|object| (object, 1))));
        if !references.is_empty() {
            let detach = ManagerOp::Detach { references, lingers: false };
            notices.push(Notice::Op(ObjectId::MANAGER, Op::Manager(detach)));
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Fault, Info};

    fn encoded(reply: &Reply<Payload>) -> Vec<u8> {
        postcard::to_allocvec(reply).unwrap()
    }

    #[test]
    fn every_reply_is_decoded_and_no_bytes_may_follow_it() {
        let value = || Payload::copy(Raw { bytes: b"a value of more than twenty-two bytes", ids: &[1; 8] });
        let all = [
            Reply::Done,
            Reply::Bool(true),
            Reply::Count(300),
            Reply::Len { len: 1, version: 2 },
            Reply::Scanned { found: Some(1), next: None, version: 4 },
            Reply::Value(value()),
            Reply::Option(Some(value())),
            Reply::Found(None),
            Reply::Before(value()),
            Reply::Values { values: vec![value(), value()], version: 9 },
            Reply::Entry(Some((value(), value()))),
            Reply::Entries { entries: vec![(value(), value())], place: 4 },
            Reply::Object { id: ObjectId(5), created: true },
            Reply::Granted { token: 1, owner_died: true, timed_out: false },
            Reply::GrantedLease { token: 1, owner_died: true, timed_out: false, waited: 300 },
            Reply::Leased { lease: 1, deliveries: 2, task: value() },
            Reply::Names(vec!["name".into()]),
            Reply::Info(Info { objects: 1, ..Info::default() }),
        ];
        let transaction = Reply::Transaction(all.to_vec());
        for reply in all.into_iter().chain([transaction]) {
            let mut bytes = encoded(&reply);
            let none = Bytes::new();
            assert_eq!(decode(FrameKind::Reply, &bytes, &none), Ok(Ok(reply)));
            assert_eq!(decode(FrameKind::Reply, &bytes[..bytes.len() - 1], &none), Err(Malformed));
            bytes.push(0);
            assert_eq!(decode(FrameKind::Reply, &bytes, &none), Err(Malformed));
            assert_eq!(decode(FrameKind::Call, &bytes, &none), Err(Malformed));
        }
        let fault = postcard::to_allocvec(&Fault::Empty).unwrap();
        assert_eq!(decode(FrameKind::Fault, &fault, &Bytes::new()), Ok(Err(Fault::Empty)));
    }

    #[test]
    fn nested_lists_are_refused_without_using_up_the_stack() {
        let empty = encoded(&Reply::Transaction(Vec::new()));
        let nested = [empty[0], 1].repeat(1 << 20);
        assert_eq!(decode(FrameKind::Reply, &nested, &Bytes::new()), Err(Malformed));
        let endless = [&empty[..1], &postcard::to_allocvec(&u64::MAX).unwrap()].concat();
        assert_eq!(decode(FrameKind::Reply, &endless, &Bytes::new()), Err(Malformed));
    }

    #[test]
    fn a_long_value_keeps_its_frame() {
        let bytes = vec![3; 100_000];
        let frame = Bytes::from(encoded(&Reply::Value(Payload::copy(Raw::plain(&bytes)))));
        let Ok(Ok(Reply::Value(value))) = decode(FrameKind::Reply, &frame, &frame) else { panic!("a value") };
        assert_eq!(value.raw().bytes, bytes);
        assert!(frame.as_ptr_range().contains(&value.raw().bytes.as_ptr()));
    }

    #[test]
    fn the_effect_of_a_late_answer_is_undone() {
        let object = ObjectId(8);
        let granted = Reply::Granted { token: 3, owner_died: false, timed_out: false };
        let released = vec![Notice::Op(object, Op::Lock(LockOp::Release { token: 3 }))];
        assert_eq!(Undo::Lock(object).notices(1, &granted), released);
        let leased = Reply::GrantedLease { token: 3, owner_died: false, timed_out: false, waited: 0 };
        assert_eq!(Undo::Lock(object).notices(1, &leased), released);
        let inside = 5_u64.to_le_bytes();
        let value = Payload::copy(Raw { bytes: b"v", ids: &inside });
        let detach = ManagerOp::Detach { references: vec![(ObjectId(5), 1)], lingers: false };
        let rejected = Notice::Control(Control::Reject { call: 1 });
        let both = [rejected, Notice::Op(ObjectId::MANAGER, Op::Manager(detach))];
        assert_eq!(Undo::Items.notices(1, &Reply::Value(value.clone())), both);
        assert_eq!(Undo::Nothing.notices(1, &Reply::Value(value)), both[1..]);
        let leased = Reply::Leased { lease: 9, deliveries: 1, task: Payload::copy(Raw::plain(b"t")) };
        let requeued = Notice::Op(object, Op::JoinableQueue(JoinableQueueOp::Requeue { lease: 9 }));
        assert_eq!(Undo::Task(object).notices(1, &leased), [requeued]);
        let rejected = Notice::Control(Control::Reject { call: 7 });
        assert_eq!(Undo::Permit.notices(7, &Reply::Done), [rejected], "not another permit");
        assert_eq!(Undo::Nothing.notices(1, &Reply::Done), []);
    }
}
