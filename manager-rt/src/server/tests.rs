//! A server with all kinds of peers: well-behaved, hostile, slow and dead.

mod endings;
mod golden_clients;
mod heirs;
mod long_frames;
mod memory;
mod refused;
#[cfg(feature = "tcp")]
mod remote;
mod together;
mod versions;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::*;
use crate::limits::{ACCEPTS_AT_ONCE, HANDSHAKES_AT_ONCE, LATE_AT_ONCE, UNSENT_BYTES_MAX};
use crate::proto::{Fault, LockOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, ValueOp, Wait};
use crate::tests::plain_client::{Client, stream_to};
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head, heirs_hello};

/// A server in a thread of the test.
struct Running {
    path: PathBuf,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    (folder, path)
}

impl Running {
    fn start(builder: ServerBuilder) -> Self {
        let (folder, path) = place();
        Self::serve(builder.bind(&path).unwrap(), path, folder)
    }

    /// Starts a server whose steps are as short as possible.
    fn start_slow(builder: ServerBuilder) -> Self {
        let (folder, path) = place();
        let mut server = builder.bind(&path).unwrap();
        server.work.set_step(1);
        Self::serve(server, path, folder)
    }

    fn serve(server: Server, path: PathBuf, folder: tempfile::TempDir) -> Self {
        let stopper = server.stopper();
        let thread = std::thread::Builder::new().spawn(move || server.serve().unwrap()).unwrap();
        Self { path, stopper, thread: Some(thread), _folder: folder }
    }

    fn stream(&self) -> UnixStream {
        stream_to(&self.path)
    }

    fn client(&self) -> Client {
        self.client_with(b"").unwrap()
    }

    fn client_with(&self, key: &[u8]) -> Option<Client> {
        Client::connect(&self.path, key)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

const GET: Op<Raw<'static>> = Op::Value(ValueOp::Get);

#[test]
fn operations_are_answered_one_by_one_and_in_one_write() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    let value = client.open("v", Spec::Value(Raw::plain(b"0")));
    let mut bytes = Vec::new();
    for number in 0..100_u8 {
        bytes.extend(client.bytes_of(value, Wait::No, Op::Value(ValueOp::Set(Raw::plain(&[number])))));
    }
    client.stream.write_all(&bytes).unwrap();
    let first = client.calls - 99;
    for call in first..first + 100 {
        assert_eq!(client.answer().0, call, "answers come in the order of the calls");
    }
    assert_eq!(client.ask(value, GET), Ok(Reply::Value(Payload::copy(Raw::plain(&[99])))));
}

#[test]
fn a_client_without_the_key_is_refused() {
    let server = Running::start(Server::builder().key("right"));
    assert!(server.client_with(b"wrong").is_none());
    assert!(server.client_with(b"").is_none());
    server.client_with(b"right").unwrap().ping();
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let server = Running::start(Server::builder());
    let mut bystander = server.client();
    let heads = [
        vec![0xff; 100],
        Head { body_len: u32::MAX, kind: FrameKind::Call, cpu: 0, call: 1, read: 0 }.to_bytes().to_vec(),
    ];
    for garbage in heads {
        let mut client = server.client();
        client.stream.write_all(&garbage).unwrap();
        client.expect_end();
        bystander.ping();
    }
    let mut stranger = server.stream();
    stranger.write_all(&[b'G'; 64]).unwrap();
    let mut answer = Vec::new();
    stranger.read_to_end(&mut answer).unwrap();
    bystander.ping();
}

#[test]
fn a_frame_without_an_operation_is_answered_as_malformed() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    for (kind, body) in [
        (FrameKind::Call, &b""[..]),
        (FrameKind::Call, b"\xff\xff\xff\xff"),
        (FrameKind::Transaction, b"\xff\xff\xff\xff\x0f"),
        (FrameKind::Reply, b""),
    ] {
        let head = Head { body_len: u32::try_from(body.len()).unwrap(), kind, cpu: 0, call: 5, read: 0 };
        client.stream.write_all(&[&head.to_bytes()[..], body].concat()).unwrap();
        assert_eq!(client.answer(), (5, Err(Fault::Malformed)));
    }
    let longer =
        [client.bytes_of(ObjectId::MANAGER, Wait::No, Op::Manager(ManagerOp::Names)), vec![0]].concat();
    let len = u32::try_from(longer.len() - HEAD_BYTES).unwrap();
    let longer = [&len.to_le_bytes()[..], &longer[4..]].concat();
    client.stream.write_all(&longer).unwrap();
    assert_eq!(client.answer().1, Err(Fault::Malformed), "no bytes may follow the operation");
    client.ping();
}

#[test]
fn a_client_that_does_not_read_delays_no_other() {
    let server = Running::start(Server::builder());
    let mut bystander = server.client();
    let mut lazy = server.client();
    let long = vec![1; UNSENT_BYTES_MAX / 4];
    let value = lazy.open("v", Spec::Value(Raw::plain(&long)));
    let asked = 200;
    let bytes: Vec<u8> = (0..asked).flat_map(|_| lazy.bytes_of(value, Wait::No, GET)).collect();
    lazy.stream.write_all(&bytes).unwrap();
    for _ in 0..20 {
        bystander.ping();
    }
    for _ in 0..asked {
        assert_eq!(lazy.answer().1, Ok(Reply::Value(Payload::copy(Raw::plain(&long)))));
    }
    lazy.ping();
}

#[test]
fn the_holdings_of_a_client_pass_on_when_it_ends() {
    let server = Running::start(Server::builder());
    let (mut holder, mut waiter) = (server.client(), server.client());
    let lock = holder.open("l", Spec::Lock);
    let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
    holder.ask(lock, acquire()).unwrap();
    waiter.send(lock, Wait::Forever, acquire());
    drop(holder);
    let granted = Reply::Granted { token: 2, owner_died: true, timed_out: false };
    assert_eq!(waiter.answer().1, Ok(granted));
}

/// Runs rounds of a server's loop, at most `rounds`, until `is_done`.
fn run_rounds(server: &mut Server, rounds: usize, mut is_done: impl FnMut(&EventLoop) -> bool) -> bool {
    let mut events = mio::Events::with_capacity(64);
    (0..rounds).any(|_| {
        server.work.round(&mut events).unwrap();
        is_done(&server.work)
    })
}

#[test]
fn a_flood_of_connections_is_let_in_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Server::bind(&path).unwrap();
    let flood = 5 * ACCEPTS_AT_ONCE;
    let peers: Vec<_> = (0..flood).map(|_| stream_to(&path)).collect();
    let (mut most, mut before) = (0, 0);
    let all_came = run_rounds(&mut server, 2 * flood, |work| {
        let now = work.peers();
        most = most.max(now - before);
        before = now;
        now == flood
    });
    assert!(all_came, "no connection is forgotten, although the system reports them only once");
    assert!((1..=ACCEPTS_AT_ONCE).contains(&most), "{most} in one round");
    drop(peers);
    let mut turns = Vec::new();
    let all_left = run_rounds(&mut server, 2 * flood, |work| {
        turns.push(work.peers());
        work.peers() == 0
    });
    assert!(all_left);
    let fastest = turns.windows(2).map(|pair| pair[0] - pair[1]).max();
    assert!(fastest.unwrap_or(0) <= HANDSHAKES_AT_ONCE, "{turns:?}");
}

#[test]
fn late_peers_are_disconnected_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Server::bind(&path).unwrap();
    let count = 3 * LATE_AT_ONCE;
    let _silent: Vec<_> = (0..count).map(|_| stream_to(&path)).collect();
    assert!(run_rounds(&mut server, 2 * count, |work| work.peers() == count));
    let late = u64::MAX;
    for _ in 0..count {
        let before = server.work.peers();
        server.work.close_late(late);
        let closed = before - server.work.peers();
        assert!((1..=LATE_AT_ONCE).contains(&closed), "{closed} at once");
        if server.work.peers() == 0 {
            return;
        }
    }
    panic!("{} are left", server.work.peers());
}

#[test]
fn silent_peers_do_not_keep_clients_out() {
    let server = Running::start(Server::builder());
    let silent: Vec<_> = (0..200).map(|_| server.stream()).collect();
    server.client().ping();
    drop(silent);
    server.client().ping();
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(BindError::Exists)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert!(!path.exists());
}

/// The number over the new socket and the notice over the old one come in either order.
#[test]
fn heirs_claim_a_bequest_before_or_after_it_is_made() {
    let server = Running::start(Server::builder());
    let other = std::cell::RefCell::new(server.client());
    let counts = || match other.borrow_mut().manager(ManagerOp::Info) {
        Ok(Reply::Info(info)) => (info.objects, info.clients),
        answer => panic!("{answer:?}"),
    };
    for is_claimed_first in [true, false] {
        let mut client = server.client();
        let create = ManagerOp::Create { spec: Spec::List, print: 0 };
        client.manager(create).unwrap();
        let mut heirs = server.stream();
        let hello = heirs_hello(5);
        let make = |client: &mut Client| {
            assert_eq!(client.manager(ManagerOp::Bequeath { bequest: 5 }), Ok(Reply::Done));
        };
        if is_claimed_first {
            heirs.write_all(&hello).unwrap();
            other.borrow_mut().ping();
            make(&mut client);
        } else {
            make(&mut client);
            heirs.write_all(&hello).unwrap();
        }
        drop(client);
        mp_sys::testing::eventually("the client is gone", || counts() == (1, 1));
        drop(heirs);
        mp_sys::testing::eventually("the object is gone", || counts() == (0, 1));
    }
}

#[test]
fn heirs_only_hold_what_they_have() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    client.manager(ManagerOp::Create { spec: Spec::List, print: 0 }).unwrap();
    client.manager(ManagerOp::Bequeath { bequest: 5 }).unwrap();
    for bequest in [5, 6] {
        let mut heirs = server.stream();
        heirs.write_all(&heirs_hello(bequest)).unwrap();
        client.ping();
        heirs.write_all(&[0; 24]).unwrap();
        assert_eq!(heirs.read(&mut [0; 1]).unwrap_or(0), 0, "the server closes it, and says nothing");
        client.ping();
    }
}

#[test]
fn a_file_that_is_not_a_socket_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path), Err(BindError::NotASocket)));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn one_of_several_servers_that_start_at_one_path_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    for round in 0..500 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let start = std::sync::Barrier::new(2);
        let work = || {
            start.wait();
            Server::bind(&path)
        };
        let bound = std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| std::thread::Builder::new().spawn_scoped(scope, work).unwrap());
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(bound.iter().filter(|server| server.is_ok()).count(), 1, "round {round}: {bound:?}");
        assert!(bound.iter().any(|server| matches!(server, Err(BindError::Exists))), "{bound:?}");
        assert!(UnixStream::connect(&path).is_ok(), "it is the socket of the one that listens");
        drop(bound);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
    }
}

/// A server of another program, or of an earlier version, has no lock.
#[test]
fn the_path_of_a_server_without_a_lock_is_taken_even_if_its_queue_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    let is_full = loop {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        match rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()) {
            Ok(()) if waiting.len() < 8_192 => waiting.push(socket),
            outcome => break outcome == Err(rustix::io::Errno::AGAIN),
        }
    };
    assert!(is_full);
    assert!(matches!(Server::bind(&path), Err(BindError::Exists)));
    let address = Address::local(&path).unwrap();
    let soon = mp_sys::deadline::Deadline::after(std::time::Duration::from_millis(50));
    let connected = crate::client::Remote::connect(&address, &mp_sys::key::Key::default(), soon);
    assert!(matches!(connected, Err(crate::ConnectError::TimedOut)), "{connected:?}");
}

#[test]
fn a_client_ends_the_server() {
    let server = Running::start(Server::builder());
    let mut client = server.client();
    assert_eq!(client.manager(ManagerOp::Shutdown), Ok(Reply::Done));
    client.expect_end();
}

#[test]
fn a_server_has_a_descriptor_for_each_client_or_says_how_many_it_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().clients_max(7).bind(folder.path().join("few")).unwrap();
    assert_eq!(server.clients_max(), 7);
    let wanted = usize::MAX;
    let refused = Server::builder().clients_max(wanted).bind(folder.path().join("many"));
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    match refused {
        Err(BindError::Descriptors { wanted: named, possible }) => {
            assert_eq!(named, wanted);
            assert!(hard.is_none_or(|hard| u64::try_from(possible).unwrap() < hard));
        }
        other => panic!("{other:?}"),
    }
    assert!(!folder.path().join("many").exists(), "nothing was made");
}
