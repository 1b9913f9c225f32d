//! Answers that a server may send to a client, for fuzzers: in any form, and cut anywhere.

use bytes::Bytes;

use super::answer::Unreadable::{self, Malformed};
use super::answer::{Undo, decode, split_first, take_first};
use super::calls::Calls;
use super::inbox::{Body, Inbox};
use crate::proto::{Answer, Call, ObjectId, Payload, Raw};
use crate::wire::control::Control;
use crate::wire::decode::whole;
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head};

/// The number of pending calls.
const CALLS: u64 = 12;

/// Decodes the body of an answer completely.
pub(crate) fn understand(kind: FrameKind, body: &[u8]) -> Option<Answer<Payload>> {
    decode(kind, body, &Bytes::new()).ok()
}

/// Takes the input as the stream of answers to a few calls, every third of which was given up. The first byte says how
/// the stream is cut. The effects of answers to abandoned calls must be undone in frames that a server understands.
///
/// # Panics
/// If they are not, which is a finding.
pub(crate) fn answers(input: &[u8]) {
    let Some((piece, mut rest)) = input.split_first() else { return };
    let piece = usize::from(*piece).max(1).saturating_mul(7);
    let mut calls = under_way();
    let (mut inbox, mut read) = (Inbox::default(), 0_u64);
    while !rest.is_empty() {
        let place = inbox.space();
        assert!(!place.is_empty(), "there is always room for more");
        let (now, later) = rest.split_at(piece.min(rest.len()).min(place.len()));
        place.iter_mut().zip(now).for_each(|(place, byte)| *place = *byte);
        rest = later;
        let outcome = inbox.took(now.len(), |head, body| {
            if let FrameKind::Answers(count) = head.kind {
                return deliver_all(&mut calls, (head, count), body, &mut read);
            }
            if !matches!(head.kind, FrameKind::Reply | FrameKind::Fault) {
                return Err(Malformed);
            }
            // As the reader does for its own call and for those of other threads.
            drop(match &body {
                Body::Lent(body) => decode(head.kind, body, &Bytes::new()),
                Body::Own(body) => decode(head.kind, body, body),
            });
            calls.deliver(head, body.into_bytes(), read)?;
            read = read.saturating_add(1);
            if let Some(arrived) = calls.take_answer(head.call).filter(|_| head.call % 2 == 0) {
                drop(decode(arrived.kind, &arrived.body, &arrived.body));
            }
            Ok(())
        });
        if outcome.is_err() {
            break;
        }
    }
    for call in 0..CALLS {
        calls.abandon(call, (call, read));
    }
    check_notices(&calls.outbox);
}

/// Enters several answers, as the reader does for its own calls and for those of other threads.
#[expect(clippy::panic_in_result_fn, reason = "a difference is a finding")]
fn deliver_all(
    calls: &mut Calls,
    (head, count): (Head, u16),
    body: Body<'_>,
    read: &mut u64,
) -> Result<(), Unreadable> {
    let body = body.into_bytes();
    let (mut own, mut others) = (&*body, &*body);
    for call in (head.call..=u64::MAX).take(count.into()) {
        let answer = take_first(&mut own, &body)?;
        let (kind, one) = split_first(&mut others)?;
        assert_eq!(own.len(), others.len(), "both find the end of an answer");
        assert_eq!(understand(kind, one).as_ref(), Some(&answer), "both find the same answer");
        calls.deliver(Head { kind, call, ..head }, Bytes::copy_from_slice(one), *read)?;
    }
    *read = read.saturating_add(1);
    if own.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// Makes calls of every kind that can be given up, and gives up some of them.
fn under_way() -> Calls {
    let mut calls = Calls::new();
    let object = ObjectId(1 << 24);
    let undos = [
        Undo::Nothing,
        Undo::Lock(object),
        Undo::Permit,
        Undo::Task(object),
        Undo::Items,
        Undo::Reference(object),
    ];
    for (call, undo) in (0..CALLS).zip(undos.into_iter().cycle()) {
        calls.begin(call, 1, undo);
        if call % 3 == 2 {
            calls.abandon(call, (call, 0));
        }
    }
    calls
}

/// Checks that the output consists of complete notices.
fn check_notices(mut stream: &[u8]) {
    while let Some((head, rest)) = stream.split_first_chunk::<HEAD_BYTES>() {
        let head = Head::of(head).filter(|head| head.kind == FrameKind::Notice);
        let len = head.map(|head| usize::try_from(head.body_len).unwrap_or(usize::MAX));
        let Some((body, rest)) = len.and_then(|len| rest.split_at_checked(len)) else {
            panic!("a notice is complete")
        };
        let is_known = whole::<Call<Raw<'_>>>(body).is_some() || Control::of(body).is_some();
        assert!(is_known, "a server understands a notice");
        stream = rest;
    }
    assert!(stream.is_empty(), "a notice is complete");
}
