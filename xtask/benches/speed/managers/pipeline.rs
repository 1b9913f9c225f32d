//! Fifty connections of one process, each with sixteen operations in transit, as in `redis-benchmark`.
//!
//! Like `redis-benchmark`, the generator is one thread around epoll. It writes all operations of a connection at once,
//! and checks each answer before it writes the next ones. It speaks the protocol itself, because a process has only one
//! connection to a manager.

use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use manager_rt::proto::{Call, DictOp, Op, Raw, Spec, Wait};
use manager_rt::wire::frame::{FrameKind, HEAD_BYTES, Head};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::frames::{Wire, append};
use super::redis::Redis;
use super::round_trips::{KEY, VALUE};
use super::started;
use crate::row::{Contestant, Setup, per_operation};

const CONNECTIONS: u64 = 50;
const AT_ONCE: u64 = 16;
const OPERATIONS: u64 = 800_000;
/// More than all answers that can arrive at once.
const BUFFER_BYTES: usize = 4096;

pub(super) fn set(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, "set", DictOp::Store(Raw::plain(&KEY), Raw::plain(&VALUE)))
}

pub(super) fn get(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, "get", DictOp::Get(Raw::plain(&KEY)))
}

fn contestants(setup: &Setup, test: &'static str, op: DictOp<Raw<'_>>) -> Result<Vec<Contestant>> {
    let operations = setup.scale.of(OPERATIONS);
    let manager = started(setup)?;
    let mut wire = Wire::connect(&manager)?;
    let object = wire.make(Spec::Dict)?;
    wire.ask(object, Op::Dict(DictOp::Insert(Raw::plain(&KEY), Raw::plain(&VALUE))))?;
    let mut request = Vec::new();
    let call = Call { object, thread: 1, wait: Wait::No, op: Op::Dict(op) };
    for _ in 0..AT_ONCE {
        append(&mut request, (0, 0), &call)?;
    }
    let connections = (0..CONNECTIONS).map(|_| Ok(Connection::of(Wire::connect(&manager)?, &request)));
    let mut generator = Generator { connections: connections.collect::<Result<_>>()? };
    let ours = move || {
        let _kept = (&manager, &wire);
        generator.run(operations)
    };
    let redis = Redis::start(setup)?;
    redis.benchmark("set", operations)?;
    let redis_benchmark = move || redis.benchmark(test, operations);
    Ok(vec![Contestant::new("ours", ours), Contestant::new("redis_benchmark", redis_benchmark)])
}

struct Connection {
    file: OwnedFd,
    /// All operations that are written at once.
    request: Vec<u8>,
    calls: u64,
    /// The number of answers read.
    answers: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn of(wire: Wire, request: &[u8]) -> Self {
        let (request, buffer) = (request.to_vec(), vec![0; BUFFER_BYTES]);
        Self { file: wire.stream.into(), request, calls: 0, answers: 0, buffer, filled: 0 }
    }

    /// Writes the next operations, numbered.
    fn write(&mut self) -> Result<()> {
        let len = self.request.len() / usize::try_from(AT_ONCE)?;
        for frame in self.request.chunks_exact_mut(len) {
            frame[8..16].copy_from_slice(&self.calls.to_le_bytes());
            frame[16..24].copy_from_slice(&self.answers.to_le_bytes());
            self.calls += 1;
        }
        let written = send(&self.file, &self.request, SendFlags::NOSIGNAL)?;
        ensure!(written == self.request.len(), "a socket has no room for {} bytes", self.request.len());
        Ok(())
    }

    /// Reads what is there; returns `true` once all answers have arrived.
    fn read(&mut self) -> Result<bool> {
        let count = match recv(&self.file, &mut self.buffer[self.filled..], RecvFlags::DONTWAIT) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        ensure!(count > 0, "the server closed a connection");
        let end = self.filled + count;
        let mut bytes = &self.buffer[..end];
        while let Some((head, behind)) = bytes.split_first_chunk::<HEAD_BYTES>() {
            let head = Head::of(head).context("no head of a frame")?;
            let Some(rest) = behind.get(usize::try_from(head.body_len)?..) else { break };
            ensure!(head.kind == FrameKind::Reply && head.call == self.answers, "not the answer: {head:?}");
            self.answers += 1;
            bytes = rest;
        }
        self.filled = bytes.len();
        self.buffer.copy_within(end - self.filled..end, 0);
        Ok(self.answers == self.calls)
    }
}

struct Generator {
    connections: Vec<Connection>,
}

impl Generator {
    /// Makes an event loop of all connections. It exists for one sample only: no process is forked while one is open.
    fn event_loop(&self) -> Result<OwnedFd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, connection) in (0..).zip(&self.connections) {
            let data = epoll::EventData::new_u64(index);
            epoll::add(&epoll, &connection.file, data, epoll::EventFlags::IN)?;
        }
        Ok(epoll)
    }

    /// Measures nanoseconds per operation.
    fn run(&mut self, operations: u64) -> Result<f64> {
        let epoll = self.event_loop()?;
        let mut events = Vec::with_capacity(self.connections.len());
        let (mut begun, mut done) = (0, 0);
        let started = Instant::now();
        for connection in &mut self.connections {
            connection.write()?;
            begun += AT_ONCE;
        }
        while done < begun {
            events.clear();
            epoll::wait(&epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                let connection = &mut self.connections[usize::try_from(event.data.u64())?];
                if connection.read()? {
                    done += AT_ONCE;
                    if begun < operations {
                        connection.write()?;
                        begun += AT_ONCE;
                    }
                }
            }
        }
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e9, done))
    }
}
