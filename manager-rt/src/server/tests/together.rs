//! Several calls in one frame.

use super::*;
use crate::limits::{ANSWERS_TOGETHER_BYTES, CALLS_TOGETHER_MAX};
use crate::proto::version::NEWEST;
use crate::proto::{Answer, DictOp, Fault, Kind, Number, Table};

fn get(key: &[u8]) -> Op<Raw<'_>> {
    Op::Dict(DictOp::Get(Raw::plain(key)))
}

fn insert<'v>(key: &'v [u8], value: &'v [u8]) -> Op<Raw<'v>> {
    Op::Dict(DictOp::Insert(Raw::plain(key), Raw::plain(value)))
}

fn found(value: &[u8]) -> Answer<Payload> {
    Ok(Reply::Option(Some(Payload::copy(Raw::plain(value)))))
}

const NOTHING: Answer<Payload> = Ok(Reply::Option(None));

#[test]
fn each_call_of_a_frame_has_its_own_answer() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let dict = client.open("d", Spec::Dict);
    let no_number = Op::Dict(DictOp::FetchAdd(Raw::plain(b"a"), Number::U64(1)));
    let ops = [
        insert(b"a", b"no number"),
        no_number,
        // It may not be in such a frame, and harms no other.
        Op::Dict(DictOp::Clear),
        Op::Value(ValueOp::Get),
        insert(b"a", b"2"),
        get(b"a"),
        get(b"b"),
    ];
    let bytes = client.bytes_of_calls(dict, &ops);
    client.stream.write_all(&bytes).unwrap();
    let expected = [
        NOTHING,
        Err(Fault::NoNumber),
        Err(Fault::Malformed),
        Err(Fault::WrongKind { found: Kind::Dict }),
        found(b"no number"),
        found(b"2"),
        NOTHING,
    ];
    assert_eq!(client.answers_to(ops.len()), expected);
    let bytes = client.bytes_of_calls(ObjectId(1 << 30), &ops[..2]);
    client.stream.write_all(&bytes).unwrap();
    assert_eq!(client.answers_to(2), [Err(Fault::UnknownObject), Err(Fault::UnknownObject)]);
    client.ping();
}

#[test]
fn what_follows_an_operation_that_nobody_understands_is_refused() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let dict = client.open("d", Spec::Dict);
    let whole = postcard::to_allocvec(&insert(b"a", b"1")).unwrap();
    let unknown = Err(Fault::UnknownOperation { table: Table::Op, number: 99, version: NEWEST });
    let cases: [(&[u8], Answer<Payload>); 3] =
        [(&[], Err(Fault::Malformed)), (&whole[..3], Err(Fault::Malformed)), (&[99, 0], unknown)];
    for (second, expected) in cases {
        let bytes = client.bytes_of_encoded(dict, 3, &[&whole[..], second].concat());
        client.stream.write_all(&bytes).unwrap();
        let answers = client.answers_to(3);
        assert!(answers[0].is_ok() && answers[1..] == [expected.clone(), expected], "{answers:?}");
    }
    // Not even the object can be read.
    let head = Head { body_len: 1, kind: FrameKind::Calls(2), cpu: 0, call: client.calls + 1, read: 0 };
    client.calls += 2;
    client.stream.write_all(&[&head.to_bytes()[..], &[0xff]].concat()).unwrap();
    assert_eq!(client.answers_to(2), [Err(Fault::Malformed), Err(Fault::Malformed)]);
    assert_eq!(client.ask(dict, get(b"a")), found(b"1"));
}

#[test]
fn long_answers_come_in_several_frames_and_before_those_to_later_calls() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let dict = client.open("d", Spec::Dict);
    let values: Vec<_> = (0..5).map(|byte| vec![byte; ANSWERS_TOGETHER_BYTES / 2]).collect();
    for value in &values {
        client.ask(dict, insert(&value[..1], value)).unwrap();
    }
    let mut ops: Vec<_> = values.iter().map(|value| get(&value[..1])).collect();
    // Whoever reads a value before it is replaced has the old one.
    ops.push(insert(&[0], b"new"));
    let mut bytes = client.bytes_of_calls(dict, &ops);
    let last = client.bytes_of(dict, Wait::No, get(&[0]));
    bytes.extend(last);
    client.calls -= 1;
    client.stream.write_all(&bytes).unwrap();
    let frames: Vec<_> = (0..3).map(|_| client.answers()).collect();
    assert_eq!(frames.iter().map(|(_, answers)| answers.len()).collect::<Vec<_>>(), [2, 2, 2]);
    let firsts: Vec<_> = frames.iter().map(|(first, _)| client.calls - first).collect();
    assert_eq!(firsts, [5, 3, 1]);
    let answers: Vec<_> = frames.into_iter().flat_map(|(_, answers)| answers).collect();
    let expected = values.iter().map(|value| found(value)).chain([found(&values[0])]);
    assert_eq!(answers, expected.collect::<Vec<_>>());
    assert_eq!(client.answer(), (client.calls + 1, found(b"new")));
}

#[test]
fn a_client_that_does_not_read_gets_the_other_answers_of_a_frame_later() {
    let server = Running::start(Server::builder());
    let (mut client, mut other) = (server.client(), server.client());
    let dict = client.open("d", Spec::Dict);
    let value = vec![7; 1 << 20];
    client.ask(dict, insert(b"long", &value)).unwrap();
    let most = usize::from(CALLS_TOGETHER_MAX);
    let ops = vec![get(b"long"); most];
    let bytes = client.bytes_of_calls(dict, &ops);
    client.stream.write_all(&bytes).unwrap();
    // Others are served while most of the calls wait, and the value may go meanwhile.
    other.ping();
    let dict_of_other = other.open("d", Spec::Dict);
    assert!(other.ask(dict_of_other, insert(b"other", b"1")).is_ok());
    for answer in client.answers_to(most) {
        assert_eq!(answer, found(&value));
    }
    assert_eq!(client.ask(dict, get(b"other")), found(b"1"));
}
