//! Clients on other hosts.

use mp_sys::handshake::{Offer, Refusal, Terms, Versions};
use mp_sys::stream::ReadFailure;
use mp_sys::testing::eventually;

use super::*;
use crate::count::count_of;
use crate::limits::{FRAME_BYTES_MAX, RECORD_BYTES_MAX, SEALED_SHARE};
use crate::tests::remote_client::{KEY, begin_record, connect, connect_on};
use crate::transport::Channel;
use crate::wire::frame::{self, VERSIONS};

const MEMORY_BYTES: usize = 16 << 20;

fn has_ended(client: &Channel) -> bool {
    !matches!(client.try_read(&mut [0; 1]), Err(ReadFailure::Empty))
}

/// A server that listens for other hosts, too, in a thread of the test.
fn start(builder: ServerBuilder) -> (Running, Address) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let server = builder.key(KEY).tcp("127.0.0.1:0").unwrap().bind(&path).unwrap();
    let (stopper, address) = (server.stopper(), server.tcp_addresses()[0].clone());
    let thread = std::thread::Builder::new().spawn(move || server.serve().unwrap()).unwrap();
    (Running { path, stopper, thread: Some(thread), _folder: folder }, address)
}

#[test]
fn incomplete_records_are_charged_and_the_oldest_of_too_many_go() {
    let (server, address) = start(Server::builder().memory_bytes_max(MEMORY_BYTES));
    let bystander = std::cell::RefCell::new(Client::connect(&server.path, &KEY).unwrap());
    let info = || match bystander.borrow_mut().manager(ManagerOp::Info) {
        Ok(Reply::Info(info)) => info,
        other => panic!("{other:?}"),
    };
    let most = MEMORY_BYTES / SEALED_SHARE / RECORD_BYTES_MAX;
    let before = info().bytes;
    let mut clients = Vec::new();
    let begin = |clients: &mut Vec<Channel>| {
        let client = connect(&address);
        begin_record(&client);
        clients.push(client);
    };
    (0..most / 2).for_each(|_| begin(&mut clients));
    eventually("all of them are charged", || {
        info().bytes >= before + count_of(clients.len() * RECORD_BYTES_MAX)
    });
    assert_eq!(info().clients, count_of(clients.len() + 1), "there is room for them");
    (0..most).for_each(|_| begin(&mut clients));
    eventually("the oldest are disconnected", || {
        let now = info();
        now.clients <= count_of(most + 1) && now.clients + 4 > count_of(most)
    });
    let now = info();
    assert!(now.bytes <= count_of(MEMORY_BYTES / SEALED_SHARE + (most + 2) * 8192), "{now:?}");
    assert!(has_ended(&clients[0]), "the first one is the oldest");
    assert!(!has_ended(clients.last().unwrap()), "the newest one has its time");
    drop(clients);
    eventually("their memory is free", || info().bytes < before + count_of(RECORD_BYTES_MAX));
}

#[test]
fn another_host_without_a_common_version_learns_both_ranges() {
    let (_server, address) = start(Server::builder());
    for versions in [Versions::only(VERSIONS.oldest - 1), Versions::only(VERSIONS.newest + 1)] {
        let terms = Terms { offer: Some(Offer { versions, silent: 3 }), ..frame::terms(&KEY) };
        let refused = connect_on(&address, terms).err();
        assert_eq!(refused, Some(Refusal::NoCommonVersion { theirs: VERSIONS }));
    }
    connect(&address);
}

#[test]
fn a_frame_of_another_host_that_is_too_long_ends_only_its_connection() {
    let (server, address) = start(Server::builder());
    let mut bystander = Client::connect(&server.path, &KEY).unwrap();
    for (body_len, is_too_long) in [(FRAME_BYTES_MAX, false), (FRAME_BYTES_MAX + 1, true)] {
        let client = connect(&address);
        let body_len = u32::try_from(body_len).unwrap();
        let head = Head { body_len, kind: FrameKind::Call, cpu: 0, call: 1, read: 0 };
        assert_eq!(client.try_write(&head.to_bytes()).ok(), Some(head.to_bytes().len()));
        if is_too_long {
            eventually("it is disconnected", || has_ended(&client));
        } else {
            bystander.ping();
            assert!(!has_ended(&client), "the rest may follow");
        }
        bystander.ping();
    }
}
