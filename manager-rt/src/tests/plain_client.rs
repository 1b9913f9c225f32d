//! A client for tests that reads and writes frames itself, one at a time.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mp_sys::handshake::{Connecting, Next, Refusal, Terms};
use serde::Serialize;

use crate::proto::{Answer, Call, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};
use crate::wire::control::Control;
use crate::wire::frame::{self, FrameKind, HEAD_BYTES, Head};
use crate::wire::together::Whose;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const PRINT: u64 = 1;

/// Connects a stream to a server. It fails instead of waiting for ever.
pub(crate) fn stream_to(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client that reads and writes frames itself.
pub(crate) struct Client {
    pub(crate) stream: UnixStream,
    /// The number of calls so far, which is the number of the newest one.
    pub(crate) calls: u64,
    read: u64,
}

impl Client {
    /// Connects, and proves to know the key. Returns `None` if the server refuses.
    pub(crate) fn connect(path: &Path, key: &[u8]) -> Option<Self> {
        Self::connect_on(path, frame::terms(key)).ok()
    }

    /// Connects on these terms.
    ///
    /// # Errors
    /// Why one of the two sides refuses the other.
    #[expect(clippy::panic_in_result_fn, reason = "a test fails by a panic")]
    pub(crate) fn connect_on(path: &Path, terms: Terms<'_>) -> Result<Self, Refusal> {
        let mut client = Self::unwelcomed(path, terms)?;
        let (head, epoch) = client.frame();
        assert_eq!((head.kind, epoch.len()), (FrameKind::Welcome, 16));
        Ok(client)
    }

    /// Connects on these terms, but does not read what the server says when both have agreed.
    ///
    /// # Errors
    /// Why one of the two sides refuses the other.
    pub(crate) fn unwelcomed(path: &Path, terms: Terms<'_>) -> Result<Self, Refusal> {
        let mut stream = stream_to(path);
        let (mut side, hello) = Connecting::new(terms, mp_sys::handoff::nonce().unwrap());
        stream.write_all(&hello).unwrap();
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).unwrap();
            match side.hear(terms, &byte) {
                Next::Wait => {}
                Next::Say(bytes) => stream.write_all(&bytes).unwrap(),
                Next::Agree(_) => break,
                Next::Refuse(_, refusal) => return Err(refusal),
            }
        }
        Ok(Self { stream, calls: 0, read: 0 })
    }

    pub(crate) fn bytes_of(&mut self, object: ObjectId, wait: Wait, op: Op<Raw<'_>>) -> Vec<u8> {
        self.bytes_of_body(&Call { object, thread: 1, wait, op })
    }

    /// Returns the frame of the next call.
    fn bytes_of_body(&mut self, body: &impl Serialize) -> Vec<u8> {
        self.frame_of(FrameKind::Call, body)
    }

    /// Returns the frame of an operation that expects no answer.
    pub(crate) fn notice_of(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> Vec<u8> {
        self.frame_of(FrameKind::Notice, &Call { object, thread: 1, wait: Wait::No, op })
    }

    pub(crate) fn frame_of(&mut self, kind: FrameKind, body: &impl Serialize) -> Vec<u8> {
        self.calls += 1;
        let body = postcard::to_allocvec(body).unwrap();
        let body_len = u32::try_from(body.len()).unwrap();
        let head = Head { body_len, kind, cpu: 0, call: self.calls, read: self.read };
        [&head.to_bytes()[..], &body].concat()
    }

    /// Returns a frame of calls on one object, the next ones.
    pub(crate) fn bytes_of_calls(&mut self, object: ObjectId, ops: &[Op<Raw<'_>>]) -> Vec<u8> {
        let count = u16::try_from(ops.len()).unwrap();
        let ops: Vec<u8> = ops.iter().flat_map(|op| postcard::to_allocvec(op).unwrap()).collect();
        self.bytes_of_encoded(object, count, &ops)
    }

    /// Returns a frame of so many calls on one object, the next ones, with these bytes as their operations.
    pub(crate) fn bytes_of_encoded(&mut self, object: ObjectId, count: u16, ops: &[u8]) -> Vec<u8> {
        let call = self.calls + 1;
        self.calls += u64::from(count);
        let body = [&*postcard::to_allocvec(&Whose { object, thread: 1 }).unwrap(), ops].concat();
        let body_len = u32::try_from(body.len()).unwrap();
        let head = Head { body_len, kind: FrameKind::Calls(count), cpu: 0, call, read: self.read };
        [&head.to_bytes()[..], &body].concat()
    }

    /// Returns the answers in the next frame, or the one, and the number of the first call.
    pub(crate) fn answers(&mut self) -> (u64, Vec<Answer<Payload>>) {
        let (head, body) = self.frame();
        self.read += 1;
        let FrameKind::Answers(count) = head.kind else {
            return (head.call, vec![answer_in(head.kind, &body)]);
        };
        let (mut rest, mut answers) = (&*body, Vec::new());
        for _ in 0..count {
            let (answer, behind) = postcard::take_from_bytes(rest).unwrap();
            answers.push(answer);
            rest = behind;
        }
        assert!(rest.is_empty());
        (head.call, answers)
    }

    /// Returns the answers to the newest `count` calls, in however many frames they come.
    pub(crate) fn answers_to(&mut self, count: usize) -> Vec<Answer<Payload>> {
        let (mut all, mut next) = (Vec::new(), self.calls + 1 - u64::try_from(count).unwrap());
        while all.len() < count {
            let (first, answers) = self.answers();
            assert_eq!(first, next, "the answers are in order");
            next += u64::try_from(answers.len()).unwrap();
            all.extend(answers);
        }
        all
    }

    pub(crate) fn send(&mut self, object: ObjectId, wait: Wait, op: Op<Raw<'_>>) {
        let bytes = self.bytes_of(object, wait, op);
        self.stream.write_all(&bytes).unwrap();
    }

    pub(crate) fn frame(&mut self) -> (Head, Vec<u8>) {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).unwrap();
        let head = Head::of(&head).unwrap();
        let mut body = vec![0; usize::try_from(head.body_len).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    pub(crate) fn answer(&mut self) -> (u64, Answer<Payload>) {
        let (head, body) = self.frame();
        self.read += 1;
        (head.call, answer_in(head.kind, &body))
    }

    #[expect(clippy::panic_in_result_fn, reason = "the error is one of the manager's answers")]
    pub(crate) fn ask(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> Answer<Payload> {
        self.send(object, Wait::No, op);
        let (call, answer) = self.answer();
        assert_eq!(call, self.calls);
        answer
    }

    pub(crate) fn manager(&mut self, op: ManagerOp<Raw<'_>>) -> Answer<Payload> {
        self.ask(ObjectId::MANAGER, Op::Manager(op))
    }

    pub(crate) fn open(&mut self, name: &str, spec: Spec<Raw<'_>>) -> ObjectId {
        match self.manager(ManagerOp::Open { name: name.to_owned(), spec, print: PRINT }) {
            Ok(Reply::Object { id, .. }) => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ping(&mut self) {
        let bytes = self.bytes_of_body(&Control::Ping.sent_by(1));
        self.stream.write_all(&bytes).unwrap();
        assert_eq!(self.answer(), (self.calls, Ok(Reply::Done)));
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn expect_end(mut self) {
        let ended = self.stream.read_to_end(&mut Vec::new());
        // A reset is also an end: the bytes that were sent last were not read.
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
}

#[expect(clippy::panic_in_result_fn, reason = "the error is one of the manager's answers")]
fn answer_in(kind: FrameKind, body: &[u8]) -> Answer<Payload> {
    match kind {
        FrameKind::Reply => Ok(postcard::from_bytes(body).unwrap()),
        FrameKind::Fault => Err(postcard::from_bytes(body).unwrap()),
        other => panic!("{other:?}"),
    }
}
