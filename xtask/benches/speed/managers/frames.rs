//! A client that writes and reads frames itself: for what a proxy does not do, and to find the lengths of frames.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use manager_rt::Manager;
use manager_rt::proto::{Call, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};
use manager_rt::wire::frame::{self, FrameKind, HEAD_BYTES, Head};
use mp_sys::handshake::{Connecting, Next};

use super::KEY;

/// A server that sends nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, which makes one request after the other.
pub(super) struct Wire {
    pub(super) stream: UnixStream,
    calls: u64,
    /// The number of answers read.
    read: u64,
    /// Frames that are waiting to be written.
    outbox: Vec<u8>,
    inbox: Vec<u8>,
}

impl Wire {
    pub(super) fn connect(manager: &Manager) -> Result<Self> {
        let address = manager.address().context("a manager without an address")?;
        let path = address.strip_prefix("mp+unix:").context("an address of another kind")?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        shake_hands(&mut stream)?;
        let mut wire = Self { stream, calls: 0, read: 0, outbox: Vec::new(), inbox: Vec::new() };
        let head = wire.frame()?;
        ensure!(head.kind == FrameKind::Welcome, "the server greets with {head:?}");
        Ok(wire)
    }

    /// The id of the server process.
    pub(super) fn server(&self) -> Result<i32> {
        Ok(rustix::net::sockopt::socket_peercred(&self.stream)?.pid.as_raw_pid())
    }

    /// Appends a call to the frames to be written.
    pub(super) fn queue(&mut self, object: ObjectId, wait: Wait, op: Op<Raw<'_>>) -> Result<()> {
        self.calls += 1;
        append(&mut self.outbox, (self.calls, self.read), &Call { object, thread: 1, wait, op })
    }

    pub(super) fn write(&mut self) -> Result<()> {
        self.stream.write_all(&self.outbox)?;
        self.outbox.clear();
        Ok(())
    }

    /// Reads one frame; its body is then in the inbox.
    fn frame(&mut self) -> Result<Head> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head)?;
        let head = Head::of(&head).context("no head of a frame")?;
        self.inbox.resize(usize::try_from(head.body_len)?, 0);
        self.stream.read_exact(&mut self.inbox)?;
        Ok(head)
    }

    /// Reads one answer, which must not be a fault.
    pub(super) fn answer(&mut self) -> Result<()> {
        let head = self.frame()?;
        self.read += 1;
        ensure!(head.kind == FrameKind::Reply, "the server answers with {head:?}");
        Ok(())
    }

    pub(super) fn ask(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> Result<()> {
        self.queue(object, Wait::No, op)?;
        self.write()?;
        self.answer()
    }

    pub(super) fn make(&mut self, spec: Spec<Raw<'_>>) -> Result<ObjectId> {
        self.ask(ObjectId::MANAGER, Op::Manager(ManagerOp::Create { spec, print: 1 }))?;
        match postcard::from_bytes::<Reply<Payload>>(&self.inbox)? {
            Reply::Object { id, .. } => Ok(id),
            other => bail!("a new object is {other:?}"),
        }
    }
}

/// Appends one frame.
pub(super) fn append(into: &mut Vec<u8>, (call, read): (u64, u64), body: &Call<Raw<'_>>) -> Result<()> {
    let start = into.len();
    into.extend_from_slice(&[0; HEAD_BYTES]);
    let mut bytes = postcard::to_extend(body, std::mem::take(into))?;
    let body_len = u32::try_from(bytes.len() - start - HEAD_BYTES)?;
    let head = Head { body_len, kind: FrameKind::Call, cpu: own_cpu(), call, read };
    bytes[start..start + HEAD_BYTES].copy_from_slice(&head.to_bytes());
    *into = bytes;
    Ok(())
}

/// The length of an answer in bytes.
pub(super) fn answer_len(reply: &Reply<Payload>) -> Result<usize> {
    Ok(HEAD_BYTES + postcard::to_allocvec(reply)?.len())
}

/// The caller's CPU as a frame's head encodes it.
fn own_cpu() -> u8 {
    u8::try_from(mp_sys::adaptive::current_cpu() + 1).unwrap_or(0)
}

fn shake_hands(stream: &mut UnixStream) -> Result<()> {
    let terms = frame::terms(KEY);
    let (mut side, hello) = Connecting::new(terms, mp_sys::handoff::nonce()?);
    stream.write_all(&hello)?;
    loop {
        let mut step = vec![0; side.missing()];
        stream.read_exact(&mut step)?;
        match side.hear(terms, &step) {
            Next::Wait => {}
            Next::Say(bytes) => stream.write_all(&bytes)?,
            Next::Agree(_) => return Ok(()),
            Next::Refuse(_, refusal) => bail!("the server does not let in: {refusal:?}"),
        }
    }
}
