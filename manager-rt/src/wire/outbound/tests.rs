//! Answers that are written in pieces.

use super::*;
use crate::proto::{Fault, Raw};

/// Writes at most `piece` bytes at a time.
fn written(out: &mut Outbound, piece: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    let done = out.flush::<()>(|slices| {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let len = piece.min(bytes.len());
        stream.extend_from_slice(&bytes[..len]);
        Ok(Some(len))
    });
    assert_eq!(done, Ok(true));
    stream
}

fn frames(mut stream: &[u8]) -> Vec<(u64, FrameKind, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = stream.split_first_chunk::<HEAD_BYTES>() {
        let head = Head::of(head).unwrap();
        let (body, rest) = rest.split_at(usize::try_from(head.body_len).unwrap());
        frames.push((head.call, head.kind, body.to_vec()));
        stream = rest;
    }
    assert!(stream.is_empty());
    frames
}

#[test]
fn short_and_long_answers_come_in_order() {
    let frame = Bytes::from(vec![7; 100_000]);
    let long = Payload::of(Raw::plain(&frame), &frame);
    let answers: [Answer<Payload>; 4] = [
        Ok(Reply::Done),
        Ok(Reply::Values {
            values: vec![long.clone(), Payload::copy(Raw::plain(b"short")), long],
            version: 3,
        }),
        Err(Fault::Empty),
        Ok(Reply::Count(5)),
    ];
    for piece in [1_000_000, 999, 65_536] {
        let mut out = Outbound::default();
        out.say(b"");
        for (call, answer) in (0..).zip(&answers) {
            out.answer(call, answer, 1);
        }
        assert!(out.segments.len() >= 2, "long bytes are shared");
        let frames = frames(&written(&mut out, piece));
        for ((call, kind, body), (number, answer)) in frames.iter().zip((0..).zip(&answers)) {
            let expected = match answer {
                Ok(reply) => (FrameKind::Reply, postcard::to_allocvec(reply).unwrap()),
                Err(fault) => (FrameKind::Fault, postcard::to_allocvec(fault).unwrap()),
            };
            assert_eq!((*call, *kind, body), (number, expected.0, &expected.1));
        }
        assert_eq!((frames.len(), out.first_unwritten(), out.len()), (4, 4, 0));
    }
}

#[test]
fn incompletely_written_answers_are_known() {
    let mut out = Outbound::default();
    out.answer(0, &Ok(Reply::Done), 0);
    out.answer(1, &Ok(Reply::Done), 0);
    let one = out.len() / 2;
    for (room, first_unwritten) in [(one - 1, 0), (1, 1), (one - 1, 1), (1, 2)] {
        let mut room = Some(room);
        out.flush::<()>(|_| Ok(room.take())).unwrap();
        assert_eq!(out.first_unwritten(), first_unwritten);
        assert_eq!(out.is_between_answers(), out.written % u64::try_from(one).unwrap() == 0);
    }
}

#[test]
fn unread_answers_are_charged_to_their_client_until_they_are_written() {
    let whole = Account::new(1 << 30);
    let share = Share::of(&whole, None);
    let mut out = Outbound::within(&whole);
    out.belongs_to(share.clone());
    let frame = Bytes::from(vec![7; 100_000]);
    let long = Reply::Value(Payload::of(Raw::plain(&frame), &frame));
    for reply in [Reply::Done, long, Reply::Count(7)] {
        out.answer(1, &Ok(reply), 0);
        assert_eq!((share.used().2, whole.used()), (out.charged(), out.charged()));
    }
    written(&mut out, 999);
    assert_eq!((share.used().2, whole.used()), (out.charged(), out.charged()));
    drop(out);
    assert_eq!((share.used().2, whole.used()), (0, 0));
}
