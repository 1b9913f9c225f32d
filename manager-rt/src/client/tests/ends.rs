//! Connections that are refused, and connections that end.

use super::*;
use crate::client::ConnectError;
use crate::client::answer::Unreadable::{self, Malformed};
use crate::client::connection::Failure;
use crate::limits::FRAME_BYTES_MAX;
use crate::proto::{Fault, Table};

/// Returns the error that a client of this server gets.
pub(super) fn told(serve: impl FnOnce(Peer) + Send, timeout: Duration) -> ConnectError {
    let fake = Fake::new();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(fake.accept_stranger()));
        Remote::connect(&fake.address, &KEY.into(), Deadline::after(timeout)).unwrap_err()
    })
}

#[test]
fn a_refused_client_learns_the_reason() {
    let other_key = |mut peer: Peer| assert!(!peer.let_in(b"another key"));
    assert_eq!(told(other_key, PATIENCE), ConnectError::Unauthorised);
    let garbage = |mut peer: Peer| {
        // A peer that closes before the client has written is a closed connection, whatever it wrote.
        assert!(peer.stream.read(&mut [0; 64]).unwrap() > 0);
        peer.stream.write_all(&[0x55; 100]).unwrap();
    };
    assert_eq!(told(garbage, PATIENCE), ConnectError::Protocol);
    assert_eq!(told(drop, PATIENCE), ConnectError::Closed);
    let full = |mut peer: Peer| {
        peer.let_in(KEY);
        let fault = postcard::to_allocvec(&Fault::TooMany { limit: 3 }).unwrap();
        peer.say(FrameKind::Fault, 0, &fault);
    };
    assert_eq!(told(full, PATIENCE), ConnectError::Refused(Fault::TooMany { limit: 3 }));
    let silent = |mut peer: Peer| {
        peer.let_in(KEY);
        assert_eq!(peer.stream.read(&mut [0]).unwrap(), 0, "the client disconnects");
    };
    assert_eq!(told(silent, Duration::from_millis(50)), ConnectError::TimedOut);
    let wrong = |mut peer: Peer| {
        peer.let_in(KEY);
        peer.say(FrameKind::Welcome, 0, &[0; 17]);
    };
    assert_eq!(told(wrong, PATIENCE), ConnectError::Protocol);
}

#[test]
fn a_server_that_does_not_finish_its_handshake_is_abandoned() {
    let slow = |mut peer: Peer| {
        peer.stream.read_exact(&mut [0; 64]).unwrap();
        peer.stream.write_all(&frame::MAGIC).unwrap();
        peer.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut is_taken = || peer.stream.read(&mut [0]).is_err() && peer.stream.write_all(&[0]).is_ok();
        assert!((0..39).any(|_| !is_taken()), "the client disconnects");
    };
    assert_eq!(told(slow, Duration::MAX), ConnectError::TimedOut);
    let bogus = |mut peer: Peer| {
        peer.stream.write_all(b"something bogus").unwrap();
        drop(peer.stream.read(&mut [0; 64]));
        assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0, "the client disconnects");
    };
    assert_eq!(told(bogus, Duration::MAX), ConnectError::Protocol);
}

#[test]
fn connecting_to_an_unused_address_fails() {
    let Fake { listener, address, _folder } = Fake::new();
    drop(listener);
    assert_eq!(Remote::connect(&address, &KEY.into(), soon()).unwrap_err(), ConnectError::NotFound);
    std::fs::remove_file(address.path().unwrap()).unwrap();
    assert_eq!(Remote::connect(&address, &KEY.into(), soon()).unwrap_err(), ConnectError::NotFound);
}

fn call(remote: &Remote) -> Result<Reply<Payload>, CallError> {
    ask(remote, ObjectId::MANAGER, manager_op(ManagerOp::Names), Wait::No)
}

#[test]
fn a_server_that_ends_during_a_call_leaves_the_outcome_unknown() {
    let fake = Fake::new();
    let (remote, mut peer) = fake.connected();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| call(&remote))).collect();
        let calls: Vec<_> = (0..4).map(|_| peer.call()).collect();
        let number = calls[0].0;
        // The server sends half a frame.
        let answer = Peer::bytes_of(FrameKind::Reply, number, &[0]);
        peer.stream.write_all(&answer[..HEAD_BYTES]).unwrap();
        peer.close();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Err(CallError::OutcomeUnknown));
        }
    });
    drop(fake);
    assert_eq!(call(&remote), Err(CallError::ServerGone));
    assert_eq!(call(&remote), Err(CallError::ServerGone));
}

#[test]
fn another_server_at_the_address_receives_no_calls() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    drop(peer);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = fake.accept(EPOCH + 1);
            assert!(peer.frame().is_none(), "no call is sent");
        });
        assert_eq!(call(&remote), Err(CallError::Restarted));
    });
    assert_eq!(call(&remote), Err(CallError::Restarted), "the link does not connect again");
    assert_eq!(remote.epoch(), EPOCH);
}

#[test]
fn a_call_that_the_server_cannot_have_read_is_repeated() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    drop(peer);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = fake.accept(EPOCH);
            let (call, op) = peer.call();
            assert_eq!(op, manager_op(ManagerOp::Names), "there is nothing to attach");
            peer.answer(call, Ok(Reply::Done));
        });
        assert_eq!(call(&remote), Ok(Reply::Done));
    });
}

/// Returns what a call returns if its server sends these bytes.
#[expect(clippy::panic_in_result_fn, reason = "the error is what the test is about")]
fn said(bytes: impl FnOnce(u64) -> Vec<u8>) -> Result<Answer<Payload>, Failure> {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| connection.call(&any_call(), soon()));
        let (call, _) = peer.call();
        peer.stream.write_all(&bytes(call)).unwrap();
        let told = caller.join().unwrap();
        assert!(!connection.is_usable());
        assert_eq!(connection.call(&any_call(), soon()), Err(Failure::NotSent));
        told
    })
}

#[test]
fn nonsense_ends_the_connection() {
    let done = postcard::to_allocvec(&Reply::<Payload>::Done).unwrap();
    assert_eq!(said(|_| vec![0xff; 64]), Err(Failure::Unreadable(Malformed)));
    let unknown = |table, number| Err(Failure::Unreadable(Unreadable::Unknown { table, number }));
    assert_eq!(said(|call| Peer::bytes_of(FrameKind::Reply, call, &[99])), unknown(Table::Reply, 99));
    assert_eq!(said(|call| Peer::bytes_of(FrameKind::Fault, call, &[99])), unknown(Table::Fault, 99));
    assert_eq!(said(|call| Peer::bytes_of(FrameKind::Reply, call, &[])), Err(Failure::Unreadable(Malformed)));
    assert_eq!(
        said(|call| Peer::bytes_of(FrameKind::Call, call, &done)),
        Err(Failure::Unreadable(Malformed))
    );
    assert_eq!(
        said(|call| Peer::bytes_of(FrameKind::Reply, call + 1, &done)),
        Err(Failure::Unreadable(Malformed))
    );
    let long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    let lies = |call| Head { body_len: long, kind: FrameKind::Reply, cpu: 0, call, read: 0 };
    assert_eq!(said(|call| lies(call).to_bytes().to_vec()), Err(Failure::Unreadable(Malformed)));
}
