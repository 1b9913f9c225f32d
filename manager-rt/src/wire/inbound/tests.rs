//! Streams cut in every way, and frames for which there is no memory.

use super::*;
use crate::account::Room;
use crate::limits::RESERVE_BYTES_MIN;
use crate::limits::{CLIENT_LITTLE_SHARE, CLIENT_RECORDS_SHARE, CLIENT_SHARE_BYTES_MIN};
use crate::wire::frame::FrameKind;

const BUFFER: usize = 256;

fn frame(call: u64, body: &[u8]) -> Vec<u8> {
    frame_of(FrameKind::Call, call, body)
}

fn frame_of(kind: FrameKind, call: u64, body: &[u8]) -> Vec<u8> {
    let body_len = u32::try_from(body.len()).unwrap();
    [&Head { body_len, kind, cpu: 1, call, read: 0 }.to_bytes()[..], body].concat()
}

/// Reads a stream that arrives in pieces of a given length, as the event loop does.
#[expect(clippy::panic_in_result_fn, reason = "the error is what one test is about")]
fn read(stream: &[u8], piece: usize) -> Result<Vec<(u64, Vec<u8>)>, Garbage> {
    let mut inbound = Inbound::default();
    let mut buffer = vec![0; BUFFER];
    let mut frames = Vec::new();
    let mut stream = stream;
    while !stream.is_empty() {
        let start = inbound.restore(&mut buffer);
        let len = piece.min(stream.len()).min(BUFFER - start);
        buffer[start..start + len].copy_from_slice(&stream[..len]);
        stream = &stream[len..];
        let mut bytes = &buffer[..start + len];
        while let Some(frame) = inbound.next(&mut bytes, BUFFER)? {
            frames.push(match frame {
                Frame::Short(head, body) => (head.call, body.to_vec()),
                Frame::Long(head, body) => (head.call, body.to_vec()),
                Frame::Refused(head, fault) => panic!("{head:?}: {fault}"),
            });
        }
        assert_eq!(inbound.keep(bytes, &Bytes::new())?, Keeping::Kept);
    }
    assert!(inbound.is_between_frames());
    Ok(frames)
}

#[test]
fn a_buffer_that_is_used_again_takes_no_bytes_of_the_next_frame() {
    kept::keep(Vec::with_capacity(1000));
    let mut inbound = Inbound::default();
    let stream = [frame(1, &[7; 900]), frame(2, b"next")].concat();
    let mut bytes = &stream[..100];
    assert!(inbound.next(&mut bytes, BUFFER).unwrap().is_none());
    let (body, room) = inbound.room_of_long().unwrap();
    assert_eq!((body.len(), body.capacity(), room), (76, 1000, 824));
    body.extend_from_slice(&stream[100..100 + room]);
    assert!(inbound.room_of_long().is_none());
    let mut bytes = &stream[100 + room..];
    let Some(Frame::Long(_, body)) = inbound.next(&mut bytes, BUFFER).unwrap() else {
        panic!("a long frame")
    };
    assert_eq!(*body, [7; 900]);
    let Some(Frame::Short(head, body)) = inbound.next(&mut bytes, BUFFER).unwrap() else { panic!("a frame") };
    assert_eq!((head.call, body), (2, &b"next"[..]));
}

#[test]
fn a_few_short_frames_between_long_ones_do_not_change_how_much_is_read() {
    let mut inbound = Inbound::default();
    let next = |inbound: &mut Inbound, body: &[u8]| {
        let stream = frame(1, body);
        let (first, rest) = stream.split_at(stream.len().min(100));
        let frames = [first, rest].map(|mut bytes| inbound.next(&mut bytes, BUFFER).unwrap().is_some());
        assert_eq!(frames, [rest.is_empty(), !rest.is_empty()]);
        inbound.share_of(1 << 20, 0)
    };
    assert_eq!(inbound.share_of(1 << 20, 0), 1 << 20);
    for _ in 0..2 {
        assert_eq!(next(&mut inbound, &[7; 900]), FIRST_BYTES_OF_LONG);
        for _ in 1..SHORT_BETWEEN_LONG_MAX {
            assert_eq!(next(&mut inbound, b"short"), FIRST_BYTES_OF_LONG);
        }
    }
    assert_eq!(inbound.share_of(1 << 20, 1), 1 << 20, "a frame has begun");
    assert_eq!(next(&mut inbound, b"short"), 1 << 20);
}

#[test]
fn frames_come_out_whole_however_the_stream_is_cut() {
    let lens = [0, 1, BUFFER - HEAD_BYTES - 1, BUFFER - HEAD_BYTES, BUFFER - HEAD_BYTES + 1, 5_000, 3];
    let bodies: Vec<_> = lens.iter().map(|len| vec![u8::try_from(len % 251).unwrap(); *len]).collect();
    let calls = 0_u64..;
    let expected: Vec<_> = calls.zip(bodies).collect();
    let stream: Vec<u8> = expected.iter().flat_map(|(call, body)| frame(*call, body)).collect();
    for piece in [1, 7, 24, 25, 100, BUFFER, 10_000] {
        assert_eq!(read(&stream, piece).unwrap(), expected, "pieces of {piece}");
    }
}

#[test]
fn garbage_is_an_error() {
    assert_eq!(read(&[0xff; 64], 64).unwrap_err(), Garbage::NoHead);
    let limit = u32::try_from(FRAME_BYTES_MAX).unwrap();
    let head = |body_len| Head { body_len, kind: FrameKind::Call, cpu: 0, call: 0, read: 0 }.to_bytes();
    assert_eq!(read(&head(limit + 1), 64).unwrap_err(), Garbage::TooLong);
    let mut inbound = Inbound::default();
    assert!(inbound.next(&mut &head(limit)[..], BUFFER).unwrap().is_none());
    assert_eq!(inbound.long.unwrap().body.capacity(), 0, "an announced length allocates no memory");
}

/// Passes one piece of a stream, and returns the frames in it: their calls, and whether they were refused.
fn hear(inbound: &mut Inbound, mut bytes: &[u8]) -> Vec<(u64, Option<Fault>)> {
    let mut heard = Vec::new();
    while let Some(frame) = inbound.next(&mut bytes, BUFFER).unwrap() {
        heard.push(match frame {
            Frame::Short(head, _) | Frame::Long(head, _) => (head.call, None),
            Frame::Refused(head, fault) => (head.call, Some(fault)),
        });
    }
    match inbound.keep(bytes, &Bytes::new()).unwrap() {
        Keeping::Kept => {}
        Keeping::Refused(head, fault) => heard.push((head.call, Some(fault))),
        Keeping::NoRoom(fault) => panic!("complete frames are left: {fault}"),
    }
    heard
}

#[test]
fn a_frame_fits_up_to_the_limit_and_a_longer_one_is_skipped() {
    const LIMIT: usize = 1_000;
    let whole = Account::new(1 << 20);
    let frames = Account::part_of(&whole, Room::Frames, LIMIT);
    let limit = count_of(LIMIT);
    let too_large = Some(Fault::TooLarge { limit });
    for (len, refused) in [(LIMIT, None), (LIMIT + 1, too_large)] {
        let stream = [frame(1, &vec![7; len]), frame(2, b"next")].concat();
        for piece in [1, 100] {
            let mut inbound = Inbound::within(&frames);
            let mut heard = Vec::new();
            let mut rest = Vec::new();
            for piece in stream.chunks(piece) {
                rest.resize(BUFFER, 0);
                let kept = inbound.restore(&mut rest);
                rest.truncate(kept);
                rest.extend_from_slice(piece);
                heard.extend(hear(&mut inbound, &rest));
            }
            assert_eq!(heard, [(1, refused), (2, None)], "{len} in pieces of {piece}");
            assert!(inbound.is_between_frames());
            assert_eq!((frames.used(), whole.used()), (0, 0));
        }
    }
}

#[test]
fn unfinished_frames_share_their_memory_and_the_one_that_does_not_fit_is_refused() {
    let whole = Account::new(1 << 30);
    let frames = Account::part_of(&whole, Room::Frames, 3 * GROWTH_BYTES_MIN);
    let long = frame(1, &vec![7; 2 * GROWTH_BYTES_MIN]);
    let (mut one, mut other) = (Inbound::within(&frames), Inbound::within(&frames));
    let (first, last) = long.split_at(long.len() - 1);
    assert_eq!(hear(&mut one, first), []);
    assert_eq!(frames.used(), 2 * GROWTH_BYTES_MIN - 1);
    // The other one is too long from the beginning, but not too long for ever.
    let full = Full { room: Room::Frames, limit: 3 * GROWTH_BYTES_MIN, asked: 2 * GROWTH_BYTES_MIN };
    assert_eq!(hear(&mut other, first), [(1, Some(full.into()))]);
    assert_eq!(hear(&mut other, &[last, &frame(2, b"x")].concat()), [(2, None)]);
    assert_eq!(hear(&mut one, last), [(1, None)]);
    assert_eq!(hear(&mut other, &long), [(1, None)]);
}

#[test]
fn the_memory_of_a_frame_is_charged_as_long_as_a_value_uses_it() {
    let whole = Account::new(1 << 20);
    let frames = Account::part_of(&whole, Room::Frames, 1 << 19);
    let mut inbound = Inbound::within(&frames);
    let stream = frame(1, &[7; 5_000]);
    let (first, last) = stream.split_at(1_000);
    assert!(inbound.next(&mut &*first, BUFFER).unwrap().is_none());
    let Ok(Some(Frame::Long(_, body))) = inbound.next(&mut &*last, BUFFER) else { panic!("a long frame") };
    let value = body.slice(1..);
    drop(body);
    assert_eq!((frames.used(), whole.used()), (0, 5_000), "a complete frame is no longer an unfinished one");
    drop(value);
    assert_eq!(whole.used(), 0);
}

#[test]
fn the_beginning_of_a_short_frame_is_refused_if_there_is_no_memory_for_it() {
    let whole = Account::new(0);
    let frames = Account::part_of(&whole, Room::Frames, 100);
    let (mut one, mut other) = (Inbound::within(&frames), Inbound::within(&frames));
    let short = frame(1, &[7; 70]);
    let (first, last) = short.split_at(80);
    let values = whole.charge(RESERVE_BYTES_MIN - 80);
    assert_eq!(hear(&mut one, first), [], "there is a reserve for it");
    let full = Full { room: Room::Reserve, limit: RESERVE_BYTES_MIN, asked: 80 };
    assert_eq!(hear(&mut other, first), [(1, Some(full.into()))]);
    assert_eq!(hear(&mut other, &[last, &frame(2, b"x")].concat()), [(2, None)]);
    assert_eq!(hear(&mut other, &first[..HEAD_BYTES]), [], "a head always fits");
    assert_eq!(one.restore(&mut [0; BUFFER]), 80);
    assert_eq!(hear(&mut one, &short), [(1, None)]);
    let two = [&*short, &*short].concat();
    let full = Full { asked: two.len(), ..full };
    let kept = one.keep(&two, &Bytes::new()).unwrap();
    assert_eq!(kept, Keeping::NoRoom(full.into()), "complete frames are not skipped");
    assert!(one.is_between_frames());
    drop(values);
    assert_eq!(whole.used(), HEAD_BYTES, "what was refused is not charged");
}

#[test]
fn the_beginning_of_a_short_notice_is_kept_even_if_there_is_no_memory_for_it() {
    let whole = Account::new(0);
    let frames = Account::part_of(&whole, Room::Frames, 100);
    let _values = whole.charge(RESERVE_BYTES_MIN);
    for (len, is_kept) in [(NOTICE_BYTES_KEPT, true), (NOTICE_BYTES_KEPT + 1, false)] {
        let mut inbound = Inbound::within(&frames);
        let notice = frame_of(FrameKind::Notice, 1, &vec![7; len - HEAD_BYTES]);
        let kept = inbound.keep(&notice[..len - 1], &Bytes::new()).unwrap();
        assert_eq!(kept == Keeping::Kept, is_kept, "{kept:?}");
    }
}

#[test]
fn of_the_frames_behind_a_notice_that_waits_without_memory_only_notices_are_kept() {
    let whole = Account::new(0);
    let frames = Account::part_of(&whole, Room::Frames, 100);
    let values = whole.charge(RESERVE_BYTES_MIN);
    let notice = |call| frame_of(FrameKind::Notice, call, &[7; 8]);
    let (call, last) = (frame(3, &[7; 100]), frame(5, &[7; 100]));
    for cut in [60, HEAD_BYTES - 1] {
        let mut inbound = Inbound::within(&frames);
        let behind = [&*call, &*notice(4), &last[..cut]].concat();
        let refused = inbound.keep_notices(&notice(2), &behind).unwrap();
        let is_refused = cut > HEAD_BYTES;
        let expected = if is_refused { &[3, 5][..] } else { &[3] };
        assert_eq!(refused.iter().map(|head| head.call).collect::<Vec<_>>(), expected);
        let kept = 2 * notice(2).len() + if is_refused { 0 } else { cut };
        assert_eq!(whole.used(), RESERVE_BYTES_MIN + kept);
        let mut buffer = [0; BUFFER];
        assert_eq!(inbound.restore(&mut buffer), kept);
        // The rest of the call that was cut arrives behind the notices.
        let stream = [&buffer[..kept], &last[cut..], &frame(6, b"x")].concat();
        let heard: Vec<_> = hear(&mut inbound, &stream).into_iter().map(|(call, _)| call).collect();
        assert_eq!(heard, if is_refused { &[2, 4, 6][..] } else { &[2, 4, 5, 6] });
    }
    drop(values);
}

#[test]
fn notices_that_wait_without_memory_are_kept_up_to_their_limit_and_not_one_byte_more() {
    let whole = Account::new(0);
    let frames = Account::part_of(&whole, Room::Frames, 100);
    for (len, outcome) in [(NOTICES_BYTES_KEPT, Ok(0)), (NOTICES_BYTES_KEPT + 1, Err(Garbage::NoMemory))] {
        let first = frame_of(FrameKind::Notice, 1, &[7; 8]);
        let second = frame_of(FrameKind::Notice, 2, &vec![7; len - first.len() - HEAD_BYTES]);
        let kept = Inbound::within(&frames).keep_notices(&first, &second);
        assert_eq!(kept.map(|refused| refused.len()), outcome);
    }
}

#[test]
fn a_frame_fits_into_the_share_of_its_client_up_to_the_limit_and_not_one_byte_more() {
    const BULK: usize = CLIENT_SHARE_BYTES_MIN - CLIENT_SHARE_BYTES_MIN / CLIENT_RECORDS_SHARE;
    let whole = Account::new(1 << 30);
    let frames = Account::part_of(&whole, Room::Frames, 1 << 29);
    let share = Share::of(&whole, Some(CLIENT_SHARE_BYTES_MIN));
    let mut inbound = Inbound::within(&frames);
    inbound.belongs_to(share.clone());
    let taken = BULK / CLIENT_LITTLE_SHARE + 1;
    let earlier = share.charge_bulk(taken);
    let longest = frame(1, &vec![7; BULK - taken]);
    let (first, last) = longest.split_at(longest.len() - 1);
    assert_eq!(hear(&mut inbound, first), []);
    assert_eq!(share.used().2, BULK - 1);
    assert_eq!(hear(&mut inbound, last), [(1, None)]);
    assert_eq!(share.used().2, taken, "a complete frame is no longer charged to the client");
    let full = Full { room: Room::Client, limit: BULK, asked: BULK - taken + 1 };
    let too_long = [frame(2, &vec![7; BULK - taken + 1]), frame(3, b"next")].concat();
    let (first, last) = too_long.split_at(100);
    assert_eq!(hear(&mut inbound, first), [(2, Some(full.into()))]);
    assert_eq!(hear(&mut inbound, last), [(3, None)]);
    drop(earlier);
    assert_eq!(hear(&mut inbound, first), []);
    assert_eq!(hear(&mut inbound, last), [(2, None), (3, None)], "it has nothing else");
    assert_eq!(hear(&mut inbound, &longest[..HEAD_BYTES - 1]), []);
    assert_eq!(share.used().2, HEAD_BYTES - 1, "what waits for the next turn is charged");
    drop(inbound);
    assert_eq!((share.used().2, whole.used()), (0, 0));
}

#[test]
fn the_calls_of_a_frame_that_are_left_come_next_if_there_is_memory_for_them() {
    let whole = Account::new(100);
    let frames = Account::part_of(&whole, Room::Frames, 100);
    let mut inbound = Inbound::within(&frames);
    let head = Head { body_len: 40, kind: FrameKind::Calls(2), cpu: 0, call: 8, read: 0 };
    inbound.put_rest_back(head, vec![7; 40]).unwrap();
    assert!(inbound.has_back() && !inbound.is_between_frames());
    assert_eq!(whole.used(), 40, "what is kept is charged");
    assert_eq!(hear(&mut inbound, &frame(10, b"x")), [(8, None), (10, None)]);
    assert_eq!((inbound.has_back(), whole.used()), (false, 0));
    let _values = whole.charge(100 + RESERVE_BYTES_MIN);
    assert!(inbound.put_rest_back(head, vec![7; 40]).is_err());
    assert!(inbound.is_between_frames());
}
