//! Files that are written while much is left to release of clients that have ended.

mod times;
mod unread;

use mp_sys::deadline::Deadline;

use super::*;
use crate::proto::QueueOp;

const ITEMS: u16 = 1_000;
/// The sockets hold much less than half of all items. What is in them counts as read.
const ITEM_BYTES: usize = 1 << 10;
/// At least so many answers are still in the server.
const UNREAD: u16 = ITEMS / 2;

fn item(number: u16) -> Vec<u8> {
    let mut item = vec![0; ITEM_BYTES];
    item[..2].copy_from_slice(&number.to_le_bytes());
    item
}

fn until_all_is_taken(client: &mut Client, queue: ObjectId) {
    let deadline = Deadline::after(mp_sys::testing::PATIENCE);
    while client.ask(queue, Op::Queue(QueueOp::Len)) != Ok(Reply::Count(0)) {
        assert!(!deadline.has_passed(), "not everything is taken");
    }
}

/// Fills a queue, lets a client take everything and end without reading any of it, and lets another one make this call at once.
fn save_after_an_end(server: &Running, save: ManagerOp<Raw<'_>>) {
    let (mut taker, mut other) = (server.client(), server.client());
    let queue = other.open("queue", Spec::Queue(0));
    for number in 0..ITEMS {
        other.ask(queue, Op::Queue(QueueOp::Put(Raw::plain(&item(number))))).unwrap();
    }
    (0..ITEMS).for_each(|_| taker.send(queue, Wait::No, Op::Queue(QueueOp::Get)));
    until_all_is_taken(&mut other, queue);
    drop(taker);
    assert_eq!(other.manager(save), Ok(Reply::Done));
}

fn expect_unread_items(file: PathBuf) {
    let server = Running::start(Server::builder().restore(file));
    let mut client = server.client();
    let queue = client.open("queue", Spec::Queue(0));
    let Ok(Reply::Count(len)) = client.ask(queue, Op::Queue(QueueOp::Len)) else {
        panic!("there is no queue")
    };
    assert!(len >= u64::from(UNREAD), "only {len} items are in the file");
    for number in ITEMS - UNREAD..ITEMS {
        let skipped = if number == ITEMS - UNREAD { len - u64::from(UNREAD) } else { 0 };
        (0..skipped).for_each(|_| drop(client.ask(queue, Op::Queue(QueueOp::Get)).unwrap()));
        let expected = Payload::copy(Raw::plain(&item(number)));
        assert!(client.ask(queue, Op::Queue(QueueOp::Get)) == Ok(Reply::Value(expected)), "item {number}");
    }
}

#[test]
fn a_snapshot_contains_what_a_client_that_ended_before_had_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let server = Running::start_slow(Server::builder());
    save_after_an_end(&server, ManagerOp::Snapshot { path: file.to_str().unwrap().to_owned() });
    expect_unread_items(file);
}

#[test]
fn a_server_that_ends_saves_what_a_client_that_ended_before_had_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let server = Running::start_slow(Server::builder().keep(&file));
    save_after_an_end(&server, ManagerOp::Shutdown);
    expect_unread_items(file);
}

#[test]
fn whoever_watches_a_server_hears_of_its_end_before_it_saves() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("objects");
    let server = Server::builder().keep(&kept).bind(folder.path().join("manager.sock")).unwrap();
    server.stopper().stop();
    let mut was_saved = None;
    server.serve_with(|| was_saved = Some(kept.exists())).unwrap();
    assert_eq!((was_saved, kept.exists()), (Some(false), true));
}
