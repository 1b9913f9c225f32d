//! Clients of other versions.

use mp_sys::handshake::{Offer, Refusal, Terms, Versions};

use super::*;
use crate::limits::CLIENT_SHARE_BYTES_MIN;
use crate::proto::Table;
use crate::proto::version::NEWEST;
use crate::wire::frame;
use crate::wire::frame::VERSIONS;

/// Returns the terms of a client with these versions.
fn terms_with(versions: Versions) -> Terms<'static> {
    Terms { offer: Some(Offer { versions, silent: 3 }), ..frame::terms(b"key") }
}

#[test]
fn clients_of_older_and_newer_versions_are_served_together() {
    let server = Running::start(Server::builder().key("key"));
    let old = Terms { offer: None, ..frame::terms(b"key") };
    let newer = terms_with(Versions { newest: u16::MAX, ..VERSIONS });
    let own = frame::terms(b"key");
    let mut clients = [old, newer, own].map(|terms| Client::connect_on(&server.path, terms).unwrap());
    let value = clients.each_mut().map(|client| client.open("v", Spec::Value(Raw::plain(b"0"))));
    assert_eq!(value, [value[0]; 3]);
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn a_client_without_a_common_version_learns_both_ranges() {
    let server = Running::start(Server::builder().key("key"));
    for versions in [Versions::only(VERSIONS.oldest - 1), Versions::only(VERSIONS.newest + 1)] {
        let refused = Client::connect_on(&server.path, terms_with(versions)).err();
        assert_eq!(refused, Some(Refusal::NoCommonVersion { theirs: VERSIONS }));
    }
}

/// Returns the bytes of a call with this operation.
fn frame_of(client: &mut Client, op: &[u8]) -> Vec<u8> {
    client.calls += 1;
    // The manager, thread 1, without a wait.
    let body = [&[0, 1, 0], op].concat();
    let body_len = u32::try_from(body.len()).unwrap();
    let head = Head { body_len, kind: FrameKind::Call, cpu: 0, call: client.calls, read: 0 };
    [&head.to_bytes()[..], &body].concat()
}

#[test]
fn an_unknown_number_is_answered_and_its_frame_is_skipped() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let number = 1_000;
    let bytes = postcard::to_allocvec(&number).unwrap();
    let unknown = |table| Err(Fault::UnknownOperation { table, number, version: NEWEST });
    // An unknown kind of object, operation, specification of an object, and part of an entry.
    for (table, before) in [
        (Table::Op, &[][..]),
        (Table::ManagerOp, &[0]),
        (Table::ListOp, &[1]),
        (Table::BarrierOp, &[10]),
        (Table::Spec, &[0, 0]),
        (Table::Part, &[2, 14, 0, 1]),
    ] {
        let frame = frame_of(&mut client, &[before, &bytes, b"whatever a newer client sends"].concat());
        client.stream.write_all(&frame).unwrap();
        assert_eq!(client.answer(), (client.calls, unknown(table)));
        client.ping();
    }
    let text = unknown(Table::ListOp).unwrap_err().to_string();
    assert!(text.contains("1000 of ListOp") && text.contains(&NEWEST.to_string()), "{text}");
}

#[test]
fn an_old_client_gets_no_fault_that_it_does_not_know() {
    let server = Running::start(Server::builder().key("key"));
    let old = Terms { offer: None, ..frame::terms(b"key") };
    let mut client = Client::connect_on(&server.path, old).unwrap();
    let frame = frame_of(&mut client, &[99]);
    client.stream.write_all(&frame).unwrap();
    assert_eq!(client.answer().1, Err(Fault::Malformed));
    client.ping();
    let newer = Fault::UnknownOperation { table: Table::Op, number: 1, version: 1 };
    assert_eq!(
        (newer.known_to(3), newer.known_to(4), Fault::Empty.known_to(3)),
        (Fault::Malformed, newer, Fault::Empty)
    );
}

#[test]
fn an_old_client_gets_a_lease_in_the_form_that_it_knows() {
    let server = Running::start(Server::builder().key("key"));
    for (version, waited) in [(3, None), (4, None), (5, Some(0))] {
        let mut client = Client::connect_on(&server.path, frame::terms_of(version, b"key")).unwrap();
        let Ok(Reply::Object { id, .. }) = client.manager(ManagerOp::Create { spec: Spec::Lock, print: 0 })
        else {
            panic!("a lock")
        };
        let (token, owner_died, timed_out) = (1, false, false);
        let granted = match waited {
            None => Reply::Granted { token, owner_died, timed_out },
            Some(waited) => Reply::GrantedLease { token, owner_died, timed_out, waited },
        };
        assert_eq!(client.ask(id, Op::Lock(LockOp::Acquire { lease: u64::MAX })), Ok(granted));
    }
}

#[test]
fn an_old_client_hears_of_a_full_manager_in_the_form_that_it_knows() {
    let server = Running::start(Server::builder().key("key").memory_bytes_max(0));
    for (version, knows) in [(3, false), (4, false), (5, true)] {
        let mut client = Client::connect_on(&server.path, frame::terms_of(version, b"key")).unwrap();
        let spec = Spec::Value(Raw::plain(&[0; 4096]));
        let full = client.manager(ManagerOp::Create { spec, print: 0 }).unwrap_err();
        assert!(full.is_no_space());
        assert_eq!(full != Fault::NoSpace, knows, "version {version}: {full:?}");
    }
}

#[test]
fn an_old_client_gets_a_long_list_of_names() {
    let server = Running::start(Server::builder().key("key"));
    let old = Terms { offer: None, ..frame::terms(b"key") };
    let mut client = Client::connect_on(&server.path, old).unwrap();
    let names: Vec<_> = (0..5_000).map(|number| format!("{number:0>200}")).collect();
    for name in &names {
        client.open(name, Spec::Event);
    }
    assert!(client.manager(ManagerOp::Names) == Ok(Reply::Names(names)));
    client.ping();
}

#[test]
fn a_list_of_names_takes_a_part_of_the_share_of_its_client() {
    let server = Running::start(Server::builder().key("key").client_memory_bytes_max(0));
    let mut old = Client::connect_on(&server.path, frame::terms_of(3, b"key")).unwrap();
    // Each of these has a share, too.
    let mut others = Vec::new();
    for (names, expected) in [(3_000, true), (CLIENT_SHARE_BYTES_MIN / 200, false)] {
        while others.len() * 500 < names {
            let mut other = server.client_with(b"key").unwrap();
            let first = others.len() * 500;
            for number in first..first + 500 {
                other.open(&format!("{number:0>200}"), Spec::Event);
            }
            others.push(other);
        }
        let listed = old.manager(ManagerOp::Names);
        assert!(expected || listed == Err(Fault::NoSpace), "more than it may leave unread");
        assert_eq!(listed.is_ok(), expected);
    }
    old.ping();
}
