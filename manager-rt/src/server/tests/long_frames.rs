//! Long frames, and what follows them.

use super::*;
use crate::proto::{ListOp, QueueOp, Scan};

fn long_set(client: &mut Client, value: ObjectId, byte: u8) -> Vec<u8> {
    client.bytes_of(value, Wait::No, Op::Value(ValueOp::Store(Raw::plain(&vec![byte; 100 << 10]))))
}

#[test]
fn a_long_value_survives_a_round_trip() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let long = vec![7; 3 << 20];
    let value = client.open("v", Spec::Value(Raw::plain(b"")));
    client.ask(value, Op::Value(ValueOp::Set(Raw::plain(&long)))).unwrap();
    assert_eq!(client.ask(value, GET), Ok(Reply::Value(Payload::copy(Raw::plain(&long)))));
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

/// An empty queue takes less than this, even if it had items.
const QUEUE_BYTES: u64 = 4 << 10;

#[test]
fn a_frame_that_its_client_cut_by_its_end_is_not_run_and_those_before_it_are() {
    let server = Running::start(Server::builder());
    let mut bystander = server.client();
    let queue = bystander.open("q", Spec::Queue(0));
    let info = |client: &mut Client| match client.manager(ManagerOp::Info) {
        Ok(Reply::Info(info)) => (info.clients, info.bytes),
        other => panic!("{other:?}"),
    };
    let (_, before) = info(&mut bystander);
    // Some are shorter than the buffer of the server, and others are not.
    for len in [0, 1_000, 40_000, 100 << 10, 3 << 20] {
        let item = vec![9; len];
        let put = || Op::Queue(QueueOp::Put(Raw::plain(&item)));
        let whole = server.client().bytes_of(queue, Wait::No, put()).len();
        for end in [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, whole / 2, whole - 1] {
            let mut cutter = server.client();
            cutter.open("q", Spec::Queue(0));
            let first = cutter.bytes_of(queue, Wait::No, Op::Queue(QueueOp::Put(Raw::plain(b"whole"))));
            let second = cutter.bytes_of(queue, Wait::No, put());
            cutter.stream.write_all(&[&first[..], &second[..end.min(whole - 1)]].concat()).unwrap();
            drop(cutter);
            bystander.send(queue, Wait::Forever, Op::Queue(QueueOp::Get));
            let expected = Payload::copy(Raw::plain(b"whole"));
            assert_eq!(bystander.answer().1, Ok(Reply::Value(expected)));
            let other = std::cell::RefCell::new(&mut bystander);
            mp_sys::testing::eventually("it leaves nothing", || {
                let (clients, bytes) = info(&mut other.borrow_mut());
                clients == 1 && bytes < before + QUEUE_BYTES
            });
            assert_eq!(bystander.ask(queue, Op::Queue(QueueOp::Len)), Ok(Reply::Count(0)), "{len}, {end}");
        }
    }
}
