//! Servers of other versions.

use mp_sys::handshake::{Offer, Versions};

use super::ends::told;
use super::*;
use crate::backend::{Backend, CallError};
use crate::client::ConnectError;
use crate::proto::{Fault, ListOp, Step, Table, ValueOp};
use crate::wire::frame::VERSIONS;

/// Returns the terms of a server with these versions.
fn terms_with(versions: Versions) -> Terms<'static> {
    Terms { offer: Some(Offer { versions, silent: 3 }), ..frame::terms(KEY) }
}

#[test]
fn servers_of_older_and_newer_versions_serve() {
    let old = Terms { offer: None, ..frame::terms(KEY) };
    for terms in [old, terms_with(Versions { newest: u16::MAX, ..VERSIONS }), frame::terms(KEY)] {
        let serve = move |mut peer: Peer| {
            assert!(peer.let_in_on(terms));
            let full = postcard::to_allocvec(&Fault::TooMany { limit: 3 }).unwrap();
            peer.say(FrameKind::Fault, 0, &full);
        };
        assert_eq!(told(serve, PATIENCE), ConnectError::Refused(Fault::TooMany { limit: 3 }));
    }
}

#[test]
fn a_server_without_a_common_version_is_an_error_with_both_ranges() {
    for theirs in [Versions::only(VERSIONS.newest + 1), Versions { oldest: 1, newest: VERSIONS.oldest - 1 }] {
        let serve = move |mut peer: Peer| assert!(!peer.let_in_on(terms_with(theirs)));
        let error = told(serve, PATIENCE);
        assert_eq!(error, ConnectError::NoCommonVersion { ours: VERSIONS, theirs });
        let text = error.to_string();
        assert!(text.contains(&theirs.to_string()) && text.contains(&VERSIONS.to_string()), "{text}");
    }
}

/// Returns a client whose server has these versions, and the server's end of the connection.
fn connected_to(fake: &Fake, terms: Terms<'static>) -> (Arc<Remote>, Peer) {
    std::thread::scope(|scope| {
        let peer = scope.spawn(move || {
            let mut peer = fake.accept_stranger();
            assert!(peer.let_in_on(terms));
            peer.say(FrameKind::Welcome, 0, &EPOCH.to_le_bytes());
            peer
        });
        let remote = Remote::connect(&fake.address, &KEY.into(), soon()).unwrap();
        (remote, peer.join().unwrap())
    })
}

fn call(op: Op<Raw<'static>>) -> Call<Raw<'static>> {
    Call { object: ObjectId(1 << 24), thread: 1, wait: Wait::No, op }
}

#[test]
fn an_operation_that_is_too_new_for_the_server_is_not_sent() {
    let old = Terms { offer: None, ..frame::terms(KEY) };
    let fake = Fake::new();
    let (remote, mut peer) = connected_to(&fake, old);
    let exchange = || Op::List(ListOp::Exchange { with: ObjectId(1 << 24), version: 0 });
    let refused = CallError::NeedsVersion { needs: 4, agreed: 3 };
    assert_eq!(remote.call(call(exchange())), Err(refused));
    // One that has an older form does not help the others.
    let store = || Op::Value(ValueOp::Store(Raw::plain(b"v")));
    let steps = || [store(), exchange()].map(|op| Step { object: ObjectId(1 << 24), op }).to_vec();
    assert_eq!(remote.transaction(1, steps()), Err(refused));
    assert_eq!(remote.pipeline(1, steps()), Err(refused));
    assert_eq!(
        remote.call(crate::client::link::manager_call(ManagerOp::Server)),
        Err(CallError::NeedsVersion { needs: 5, agreed: 3 })
    );
    let text = refused.to_string();
    assert!(text.contains("version 4") && text.contains("version 3"), "{text}");
    // The first frame that the server receives is that of an operation that it knows.
    std::thread::scope(|scope| {
        let ping = scope.spawn(|| remote.call(any_call()));
        let (number, op) = peer.call();
        assert_eq!(op, manager_op(ManagerOp::Names));
        peer.answer(number, Ok(Reply::Done));
        assert_eq!(ping.join().unwrap(), Ok(Reply::Done));
    });
}

#[test]
fn an_unknown_answer_is_an_error_with_both_versions() {
    for (kind, table) in [(FrameKind::Reply, Table::Reply), (FrameKind::Fault, Table::Fault)] {
        let fake = Fake::new();
        let (remote, mut peer) = connected_to(&fake, terms_with(Versions { newest: 77, ..VERSIONS }));
        let error = std::thread::scope(|scope| {
            let ping = scope.spawn(|| remote.call(any_call()));
            let (number, _) = peer.call();
            peer.say(kind, number, &[99, 1, 2, 3]);
            ping.join().unwrap().unwrap_err()
        });
        let ours = VERSIONS.newest;
        assert_eq!(error, CallError::UnknownAnswer { table, number: 99, ours, theirs: 77 });
        let text = error.to_string();
        assert!(text.contains("77") && text.contains(&ours.to_string()), "{text}");
        assert!(peer.frame().is_none(), "what the client held is released");
    }
}
