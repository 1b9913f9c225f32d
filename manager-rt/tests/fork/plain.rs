//! A client that reads and writes frames itself. Thousands of them fit into one process, and their calls wait without a
//! thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use manager_rt::proto::{Call, Fault, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};
use manager_rt::wire::frame::{FrameKind, HEAD_BYTES, Head, terms};
use mp_sys::handshake::{Connecting, Next};
use mp_sys::testing::PATIENCE;

/// Connects a stream to a server. It fails instead of waiting for ever.
pub(crate) fn stream_to(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    pub(crate) calls: u64,
    pub(crate) read: u64,
}

impl Client {
    /// Connects with the key that lies beside the socket.
    pub(crate) fn connect(socket: &Path) -> Self {
        let key = std::fs::read(socket.with_file_name("key")).unwrap();
        let terms = terms(&key);
        let mut stream = stream_to(socket);
        let (mut side, hello) = Connecting::new(terms, mp_sys::handoff::nonce().unwrap());
        stream.write_all(&hello).unwrap();
        loop {
            let mut bytes = vec![0; side.missing()];
            let len = stream.read(&mut bytes).unwrap();
            match side.hear(terms, &bytes[..len]) {
                Next::Wait => {}
                Next::Say(bytes) => stream.write_all(&bytes).unwrap(),
                Next::Agree(_) => break,
                Next::Refuse(..) => panic!("refused"),
            }
        }
        let mut client = Self { stream, calls: 0, read: 0 };
        assert_eq!(client.frame().0.kind, FrameKind::Welcome);
        client
    }

    /// Sends a call for one of the threads of this client.
    pub(crate) fn send(&mut self, thread: u64, object: ObjectId, wait: Wait, op: Op<Raw<'_>>) {
        self.calls += 1;
        let body = postcard::to_allocvec(&Call { object, thread, wait, op }).unwrap();
        let body_len = u32::try_from(body.len()).unwrap();
        let head = Head { body_len, kind: FrameKind::Call, cpu: 0, call: self.calls, read: self.read };
        self.stream.write_all(&[&head.to_bytes()[..], &body].concat()).unwrap();
    }

    fn frame(&mut self) -> (Head, Vec<u8>) {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).unwrap();
        let head = Head::of(&head).unwrap();
        let mut body = vec![0; usize::try_from(head.body_len).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    /// Returns the next answer to any call.
    pub(crate) fn answer(&mut self) -> (u64, Result<Reply<Payload>, Fault>) {
        let (head, body) = self.frame();
        self.read += 1;
        let answer = match head.kind {
            FrameKind::Reply => Ok(postcard::from_bytes(&body).unwrap()),
            FrameKind::Fault => Err(postcard::from_bytes(&body).unwrap()),
            other => panic!("{other:?}"),
        };
        (head.call, answer)
    }

    /// Opens an object by its name. `print` is the fingerprint of its type.
    pub(crate) fn open(&mut self, name: &str, spec: Spec<Raw<'_>>, print: u64) -> ObjectId {
        let open = ManagerOp::Open { name: name.to_owned(), spec, print };
        self.send(1, ObjectId::MANAGER, Wait::No, Op::Manager(open));
        match self.answer().1 {
            Ok(Reply::Object { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Checks that the server answers.
    pub(crate) fn ping(&mut self) {
        self.send(1, ObjectId::MANAGER, Wait::No, Op::Manager(ManagerOp::Names));
        assert!(matches!(self.answer().1, Ok(Reply::Names(_))));
    }
}
