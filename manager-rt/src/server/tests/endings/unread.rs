//! What clients have taken and not read when a file is written, and when a snapshot begins.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::proto::{Answer, DictOp};

/// Makes a server that does nothing after everything in `set_up` is done, until it is served.
pub(super) fn paused<T>(mut server: Server, path: &Path, set_up: impl FnOnce() -> T) -> (Server, T) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let serve = || {
            let mut events = mio::Events::with_capacity(64);
            while !is_over.load(Ordering::SeqCst) {
                server.work.round(&mut events).unwrap();
            }
            server
        };
        let serving = std::thread::Builder::new().spawn_scoped(scope, serve).unwrap();
        let made = set_up();
        is_over.store(true, Ordering::SeqCst);
        // This wakes it.
        drop(stream_to(path));
        (serving.join().unwrap(), made)
    })
}

fn len_in(file: PathBuf) -> Answer<Payload> {
    let server = Running::start(Server::builder().restore(file));
    let mut client = server.client();
    let queue = client.open("queue", Spec::Queue(0));
    client.ask(queue, Op::Queue(QueueOp::Len))
}

/// A client takes an item, makes another call, and dies. At the same moment, another one makes this call.
fn save_after_a_last_call(builder: ServerBuilder, save: ManagerOp<Raw<'_>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let (server, (mut taker, mut other, queue)) = paused(builder.bind(&path).unwrap(), &path, || {
        let [mut taker, mut other] = [(); 2].map(|()| Client::connect(&path, b"").unwrap());
        let queue = other.open("queue", Spec::Queue(0));
        other.ask(queue, Op::Queue(QueueOp::Put(Raw::plain(b"item")))).unwrap();
        taker.send(queue, Wait::No, Op::Queue(QueueOp::Get));
        until_all_is_taken(&mut other, queue);
        (taker, other, queue)
    });
    taker.send(queue, Wait::No, Op::Queue(QueueOp::Len));
    drop(taker);
    other.send(ObjectId::MANAGER, Wait::Forever, Op::Manager(save));
    let _running = Running::serve(server, path, folder);
    assert_eq!(other.answer().1, Ok(Reply::Done));
}

#[test]
fn a_snapshot_contains_what_a_client_had_taken_that_has_hung_up_and_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let save = ManagerOp::Snapshot { path: file.to_str().unwrap().to_owned() };
    save_after_a_last_call(Server::builder(), save);
    assert_eq!(len_in(file), Ok(Reply::Count(1)));
}

#[test]
fn a_server_that_ends_saves_what_a_client_had_taken_that_has_hung_up_and_is_not_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    save_after_a_last_call(Server::builder().keep(&file), ManagerOp::Shutdown);
    assert_eq!(len_in(file), Ok(Reply::Count(1)));
}

/// The second client waits for an item, gets the one of the first, and does not read it either.
#[test]
fn a_server_that_ends_saves_an_item_of_which_only_the_beginning_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let server = Running::start(Server::builder().keep(&file));
    let [mut taker, mut waiter, mut other] = [(); 3].map(|()| server.client());
    let queue = other.open("queue", Spec::Queue(0));
    other.ask(queue, Op::Queue(QueueOp::Put(Raw::plain(&vec![7; 10 << 20])))).unwrap();
    taker.send(queue, Wait::No, Op::Queue(QueueOp::Get));
    until_all_is_taken(&mut other, queue);
    waiter.send(queue, Wait::Forever, Op::Queue(QueueOp::Get));
    assert_eq!(other.manager(ManagerOp::Shutdown), Ok(Reply::Done));
    drop(server);
    assert_eq!(len_in(file), Ok(Reply::Count(1)));
}

/// It has many steps to go, and no event follows them.
#[test]
fn a_snapshot_begins_when_everything_of_a_client_that_ended_before_is_released() {
    const LOCKS: usize = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("manager.sock"), folder.path().join("file"));
    let (server, (holder, mut other)) = paused(Server::bind(&path).unwrap(), &path, || {
        let [mut holder, other] = [(); 2].map(|()| Client::connect(&path, b"").unwrap());
        for number in 0..LOCKS {
            let lock = holder.open(&number.to_string(), Spec::Lock);
            holder.ask(lock, Op::Lock(LockOp::Acquire { lease: 0 })).unwrap();
        }
        (holder, other)
    });
    drop(holder);
    let save = ManagerOp::Snapshot { path: file.to_str().unwrap().to_owned() };
    other.send(ObjectId::MANAGER, Wait::Forever, Op::Manager(save));
    let _running = Running::serve(server, path, folder);
    assert_eq!(other.answer().1, Ok(Reply::Done));
}

/// The call waits for an earlier one of the same client, and nothing else happens after that.
#[test]
fn a_snapshot_begins_after_a_long_operation_of_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let dict = client.open("dict", Spec::Dict);
    let keys: Vec<[u8; 2]> = (0..2_000_u16).map(u16::to_le_bytes).collect();
    let entries = keys.iter().map(|key| (Raw::plain(key), Raw::plain(b"value"))).collect();
    let extend = client.bytes_of(dict, Wait::No, Op::Dict(DictOp::Extend(entries)));
    let save = ManagerOp::Snapshot { path: file.to_str().unwrap().to_owned() };
    let save = client.bytes_of(ObjectId::MANAGER, Wait::Forever, Op::Manager(save));
    client.stream.write_all(&[extend, save].concat()).unwrap();
    assert!(client.answer().1.is_ok());
    assert_eq!(client.answer().1, Ok(Reply::Done));
}
