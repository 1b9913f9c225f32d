//! The client with a server that does what each test needs: answers late, never, in another order, or with nonsense.

mod acknowledged;
mod asleep;
mod ends;
mod leases;
mod many;
mod older_server;
mod patience;
mod pipelines;
mod references;
mod server;
#[cfg(feature = "tokio")]
mod tasks;
mod transit;
mod versions;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::handshake::{Listening, Next, Terms};
use mp_sys::identity::thread_number;
use rustix::event::{PollFd, PollFlags, poll};

use super::connection::Connection;
use super::{Remote, connect};
use crate::Address;
use crate::backend::{Backend, CallError};
use crate::proto::{Answer, Call, ConditionOp, LockOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Wait};
use crate::wire::control::Control;
use crate::wire::frame::{self, FrameKind, HEAD_BYTES, Head};
use crate::wire::together::{Together, Whose};

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const EPOCH: u128 = 77;
const KEY: &[u8] = b"a key";

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// An address at which tests listen.
struct Fake {
    listener: UnixListener,
    address: Address,
    _folder: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fake.sock");
        let listener = UnixListener::bind(&path).unwrap();
        Self { listener, address: Address::local(path).unwrap(), _folder: folder }
    }

    /// Accepts the next client, as a server with this epoch.
    fn accept(&self, epoch: u128) -> Peer {
        let mut peer = self.accept_stranger();
        assert!(peer.let_in(KEY), "the client knows the key");
        peer.say(FrameKind::Welcome, 0, &epoch.to_le_bytes());
        peer
    }

    fn accept_stranger(&self) -> Peer {
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        let patience = PATIENCE.try_into().unwrap();
        assert_eq!(poll(&mut listener, Some(&patience)), Ok(1), "nobody connects");
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer { stream, others: VecDeque::new() }
    }

    /// Returns a client, and the server's end of its connection.
    fn connected(&self) -> (Arc<Remote>, Peer) {
        std::thread::scope(|scope| {
            let peer = scope.spawn(|| self.accept(EPOCH));
            let remote = Remote::connect(&self.address, &KEY.into(), soon()).unwrap();
            (remote, peer.join().unwrap())
        })
    }

    /// Returns a bare connection, and the server's end of it.
    fn plain(&self) -> (Connection, Peer) {
        std::thread::scope(|scope| {
            let peer = scope.spawn(|| self.accept(EPOCH));
            let opened = connect::open(&self.address, KEY, soon()).unwrap();
            assert_eq!(opened.epoch, EPOCH);
            (Connection::new(opened.stream, opened.agreed, 1), peer.join().unwrap())
        })
    }
}

/// The server's end of a connection.
struct Peer {
    stream: UnixStream,
    /// The calls of a frame with several that come next.
    others: VecDeque<(Head, Vec<u8>)>,
}

impl Peer {
    fn let_in(&mut self, key: &[u8]) -> bool {
        self.let_in_on(frame::terms(key))
    }

    fn let_in_on(&mut self, terms: Terms<'_>) -> bool {
        let mut side = Listening::new([9; 32]);
        let mut byte = [0];
        loop {
            self.stream.read_exact(&mut byte).unwrap();
            match side.hear(terms, &byte) {
                Next::Wait => {}
                Next::Say(bytes) => self.stream.write_all(&bytes).unwrap(),
                Next::Agree(bytes) => {
                    self.stream.write_all(&bytes).unwrap();
                    return true;
                }
                Next::Refuse(bytes, _) => {
                    self.stream.write_all(&bytes).unwrap();
                    return false;
                }
            }
        }
    }

    fn bytes_of(kind: FrameKind, call: u64, body: &[u8]) -> Vec<u8> {
        let head = Head { body_len: body.len().try_into().unwrap(), kind, cpu: 0, call, read: 0 };
        [&head.to_bytes()[..], body].concat()
    }

    fn say(&mut self, kind: FrameKind, call: u64, body: &[u8]) {
        self.stream.write_all(&Self::bytes_of(kind, call, body)).unwrap();
    }

    fn answer(&mut self, call: u64, answer: Answer<Payload>) {
        match answer {
            Ok(reply) => self.say(FrameKind::Reply, call, &postcard::to_allocvec(&reply).unwrap()),
            Err(fault) => self.say(FrameKind::Fault, call, &postcard::to_allocvec(&fault).unwrap()),
        }
    }

    /// Returns the next frame, or `None` at the end. Several calls in one frame come as if each had one of its own.
    fn frame(&mut self) -> Option<(Head, Vec<u8>)> {
        if let Some(next) = self.others.pop_front() {
            return Some(next);
        }
        let (head, body) = self.frame_as_sent()?;
        let FrameKind::Calls(count) = head.kind else { return Some((head, body)) };
        let mut together = Together::of(&body).unwrap();
        for call in (head.call..).take(count.into()) {
            let Whose { object, thread } = together.whose;
            let op = together.next(usize::MAX).unwrap();
            let body = postcard::to_allocvec(&Call { object, thread, wait: Wait::No, op }).unwrap();
            let body_len = u32::try_from(body.len()).unwrap();
            self.others.push_back((Head { body_len, kind: FrameKind::Call, call, ..head }, body));
        }
        self.others.pop_front()
    }

    /// Returns the next frame as the client has sent it, or `None` at the end.
    fn frame_as_sent(&mut self) -> Option<(Head, Vec<u8>)> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).ok()?;
        let head = Head::of(&head).unwrap();
        let mut body = vec![0; head.body_len.try_into().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        Some((head, body))
    }

    fn next_of(&mut self, kind: FrameKind) -> (Head, Call<Payload>) {
        let (head, body) = self.frame().unwrap();
        assert_eq!(head.kind, kind, "{:?}", postcard::from_bytes::<Call<Payload>>(&body));
        (head, postcard::from_bytes(&body).unwrap())
    }

    fn call(&mut self) -> (u64, Op<Payload>) {
        let (head, call) = self.next_of(FrameKind::Call);
        (head.call, call.op)
    }

    /// Receives a notice about a call of the client.
    fn control(&mut self) -> (Head, Control) {
        let (head, body) = self.frame().unwrap();
        assert_eq!(head.kind, FrameKind::Notice);
        (head, Control::of(&body).unwrap())
    }

    fn notice(&mut self) -> Op<Payload> {
        self.next_of(FrameKind::Notice).1.op
    }

    fn close(&self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }
}

fn manager_op<P>(op: ManagerOp<P>) -> Op<P> {
    Op::Manager(op)
}

/// Runs an operation of the calling thread.
fn ask(remote: &Remote, object: ObjectId, op: Op<Raw<'_>>, wait: Wait) -> Result<Reply<Payload>, CallError> {
    remote.call(Call { object, thread: thread_number(), wait, op })
}

fn any_call() -> Call<Raw<'static>> {
    Call { object: ObjectId::MANAGER, thread: 1, wait: Wait::No, op: Op::Manager(ManagerOp::Names) }
}

fn acquire() -> Call<Raw<'static>> {
    let op = Op::Lock(LockOp::Acquire { lease: 0 });
    Call { object: ObjectId(5), thread: 3, wait: Wait::Forever, op }
}

fn granted(token: u64) -> Answer<Payload> {
    Ok(Reply::Granted { token, owner_died: false, timed_out: false })
}
