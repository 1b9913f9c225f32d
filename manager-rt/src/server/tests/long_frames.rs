//! Long frames, and what follows them.

use super::*;
use crate::proto::{ListOp, Scan};

fn long_set(client: &mut Client, value: ObjectId, byte: u8) -> Vec<u8> {
    client.bytes_of(value, Wait::No, Op::Value(ValueOp::Store(Raw::plain(&vec![byte; 100 << 10]))))
}

#[test]
fn what_follows_a_long_frame_is_run_after_it() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    let mut bytes = Vec::new();
    for number in 0..5 {
        bytes.extend(long_set(&mut client, value, number));
        bytes.extend(client.bytes_of(value, Wait::No, GET));
    }
    // The last frame arrives in two parts, the first of them with the end of a long frame.
    let (first, last) = bytes.split_at(bytes.len() - 10);
    client.stream.write_all(first).unwrap();
    for number in 0..5 {
        assert_eq!(client.answer().1, Ok(Reply::Done));
        if number == 4 {
            client.stream.write_all(last).unwrap();
        }
        let expected = Payload::copy(Raw::plain(&vec![number; 100 << 10]));
        assert_eq!(client.answer().1, Ok(Reply::Value(expected)));
    }
}

#[test]
fn a_long_frame_before_the_end_of_its_connection_is_run() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    for byte in 1..20 {
        let mut other = server.client();
        let value_of_other = other.open("v", Spec::Value(Raw::plain(b"")));
        let bytes = long_set(&mut other, value_of_other, byte);
        other.stream.write_all(&bytes).unwrap();
        other.stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Its end follows the frame.
        other.expect_end();
        let expected = Payload::copy(Raw::plain(&vec![byte; 100 << 10]));
        assert_eq!(client.ask(value, GET), Ok(Reply::Value(expected)));
    }
}

/// Answers in the middle of a pipeline wait for others, but not when no others come.
#[test]
fn an_answer_before_the_end_of_the_server_is_written() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let list = client.open("l", Spec::List);
    // Few enough that the call does not take a turn of its own, also in a debug build, and several take more than one.
    client.ask(list, Op::List(ListOp::Extend(vec![Raw::plain(b"a value"); 2_000]))).unwrap();
    let scan = || Op::List(ListOp::Count(Scan { value: Raw::plain(b"a value"), from: 0, version: None }));
    let mut bytes = client.bytes_of(list, Wait::No, scan());
    bytes.extend(client.bytes_of(ObjectId::MANAGER, Wait::No, Op::Manager(ManagerOp::Shutdown)));
    (0..30).for_each(|_| bytes.extend(client.bytes_of(list, Wait::No, scan())));
    client.stream.write_all(&bytes).unwrap();
    assert!(matches!(client.answer().1, Ok(Reply::Scanned { .. })));
    // Those that came in the same turn may be answered as well, and then comes the end.
    let mut others = (0..30).map(|_| client.answer().1);
    assert!(others.any(|answer| answer == Ok(Reply::Done)));
}

#[test]
fn a_pipeline_beside_other_calls_is_answered_to_its_end() {
    let server = Running::start(Server::builder());
    let (mut client, mut other) = (server.client(), server.client());
    let value = client.open("v", Spec::Value(Raw::plain(b"0")));
    let mut bytes = Vec::new();
    for number in 0..2_000_u16 {
        let number = number.to_le_bytes();
        bytes.extend(client.bytes_of(value, Wait::No, Op::Value(ValueOp::Set(Raw::plain(&number)))));
    }
    for _ in 0..5 {
        client.stream.write_all(&bytes).unwrap();
        other.ping();
        for _ in 0..2_000 {
            assert!(client.answer().1.is_ok());
        }
    }
}
