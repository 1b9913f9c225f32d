//! A manager that other hosts reach, over loopback: one operation after the other, sixteen at a time, and connecting.
//!
//! | contestant | what it is |
//! |---|---|
//! | ours | a proxy over TCP, everything encrypted |
//! | `raw_tcp` | frames of the same lengths through a TCP connection in clear; both sides sleep on one CPU, and spin on two, as ours do |
//! | `redis` | `GET` over plain TCP by a client that sleeps in `read` |
//! | `redis_tls` | `GET` over TLS by `redis-benchmark`, which sleeps in `epoll_wait` |
//! | `local` | the same operations through the manager's socket in the file system |

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use manager_rt::proto::{DictOp, Op, Payload, Raw, Reply};
use manager_rt::{Dict, Manager};
use rustix::event::{PollFd, PollFlags, poll};

use super::redis::{GET, GET_ANSWER, Redis};
use super::redis_tls::RedisOverTls;
use super::round_trips::{KEY, VALUE, for_sleepers, keeping, lens, repeated};
use crate::children::Crowd;
use crate::placement::Placement;
use crate::row::{Contestant, Setup};

pub(super) const SECRET: &[u8] = b"a key for measurements, 32 bytes";
const ROUND_TRIPS: u64 = 20_000;
const PIPELINES: u64 = 2_000;
const CONNECTIONS: u64 = 200;
/// How long an end that spins does so before it sleeps. It must sleep at some time, or it takes a CPU from the other contestants.
const SPIN: Duration = Duration::from_micros(50);
/// Operations of one pipeline.
const AT_ONCE: usize = 16;

pub(super) type Entries = Dict<[u8; 8], [u8; 8]>;

/// Starts a manager whose server runs on the CPU of member 1, and connects to it over TCP.
fn started(setup: &Setup) -> Result<(Manager, Manager)> {
    let (local, _) = started_at(setup, "127.0.0.1:0")?;
    let remote = connect(&local)?;
    Ok((local, remote))
}

/// Starts a manager whose server runs on the CPU of member 1, and returns its address for other hosts, too.
pub(super) fn started_at(setup: &Setup, place: &str) -> Result<(Manager, String)> {
    setup.cpus.pin(setup.placement, 1)?;
    let local = Manager::builder().key(SECRET).tcp(place).start();
    setup.cpus.pin(setup.placement, 0)?;
    let local = local.context("a manager could not be started")?;
    let address = local.tcp_address().context("it does not listen")?;
    Ok((local, address))
}

pub(super) fn connect(local: &Manager) -> Result<Manager> {
    let address = local.tcp_address().context("it does not listen")?;
    Ok(Manager::builder().key(SECRET).connect(&address)?)
}

pub(super) fn entries(manager: &Manager) -> Result<Entries> {
    let entries: Entries = manager.named("entries").dict()?;
    entries.insert(&KEY, &VALUE)?;
    Ok(entries)
}

/// One end of a TCP connection in clear.
struct Plain {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Plain {
    fn new(stream: TcpStream, spins: bool, answer_len: usize) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(spins)?;
        Ok(Self { stream, answer: vec![0; answer_len] })
    }

    /// Waits for a message, and returns `false` at the end.
    fn receive(&mut self) -> Result<bool> {
        let (started, mut filled) = (Instant::now(), 0);
        while filled < self.answer.len() {
            match self.stream.read(&mut self.answer[filled..]) {
                Ok(0) => return Ok(false),
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(started)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Spins until [`SPIN`] is over, and sleeps after that.
    fn pause(&self, started: Instant) -> Result<()> {
        if started.elapsed() < SPIN {
            std::hint::spin_loop();
        } else {
            poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], None)?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request)?;
        ensure!(self.receive()?, "the other side has ended");
        Ok(())
    }
}

fn raw_tcp(setup: &Setup, (request, answer): (usize, usize)) -> Result<Contestant> {
    let spins = setup.placement == Placement::TwoCores;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let peer = Crowd::peer(setup, || {
        let mut plain = Plain::new(listener.accept()?.0, spins, request)?;
        while plain.receive()? {
            plain.stream.write_all(&vec![7; answer])?;
        }
        Ok(())
    })?;
    let mut plain = Plain::new(TcpStream::connect(listener.local_addr()?)?, spins, answer)?;
    let request = vec![7; request];
    let raw = repeated("raw_tcp", setup.scale.of(ROUND_TRIPS), move || plain.ask(black_box(&request)));
    Ok(Contestant { sample: keeping(peer, raw.sample), ..raw })
}

fn redis(setup: &Setup) -> Result<Contestant> {
    let server = Redis::start(setup)?;
    drop(server.client(false)?);
    let mut plain = Plain::new(TcpStream::connect(("127.0.0.1", server.port()))?, false, GET_ANSWER.len())?;
    let times = for_sleepers(setup, ROUND_TRIPS);
    let redis = repeated("redis", times, move || {
        plain.ask(GET)?;
        ensure!(plain.answer == GET_ANSWER, "Redis has another value");
        Ok(())
    });
    Ok(Contestant { sample: keeping(server, redis.sample), ..redis })
}

fn our_get(setup: &Setup) -> Result<Contestant> {
    let (local, remote) = started(setup)?;
    let entries = entries(&remote)?;
    let ours = repeated("ours", setup.scale.of(ROUND_TRIPS), move || {
        ensure!(entries.get(black_box(&KEY))? == Some(VALUE), "a value was changed on its way");
        Ok(())
    });
    Ok(Contestant { sample: keeping((local, remote), ours.sample), ..ours })
}

/// A get over TCP, beside the same bytes in clear.
pub(super) fn get(setup: &Setup) -> Result<Vec<Contestant>> {
    let value = Reply::Option(Some(Payload::copy(Raw::plain(&VALUE))));
    let lens = lens(Op::Dict(DictOp::Get(Raw::plain(&KEY))), &value)?;
    Ok(vec![our_get(setup)?, raw_tcp(setup, lens)?])
}

/// A get over TCP, beside Redis in clear.
pub(super) fn get_against_redis(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![our_get(setup)?, redis(setup)?])
}

/// A get over TCP, beside Redis over TLS.
pub(super) fn get_against_tls(setup: &Setup) -> Result<Vec<Contestant>> {
    let (times, server) = (for_sleepers(setup, ROUND_TRIPS), RedisOverTls::start(setup)?);
    let sample = move || Ok(server.benchmark("get", times)? / 1e3);
    Ok(vec![our_get(setup)?, Contestant::new("redis_tls", sample)])
}

/// Sixteen gets at a time, over TCP and through the socket in the file system.
pub(super) fn pipelined(setup: &Setup) -> Result<Vec<Contestant>> {
    let (local, remote) = started(setup)?;
    let times = setup.scale.of(PIPELINES);
    let contestant = |name, manager: &Manager| -> Result<Contestant> {
        let (manager, entries) = (manager.clone(), entries(manager)?);
        Ok(repeated(name, times, move || {
            let values =
                manager.pipeline(|p| (0..AT_ONCE).map(|_| p.on(&entries).get(&KEY)).collect::<Vec<_>>())?;
            ensure!(values.iter().all(|value| *value == Ok(Some(VALUE))), "a value was changed on its way");
            Ok(())
        }))
    };
    Ok(vec![contestant("ours", &remote)?, contestant("local", &local)?])
}

/// Connecting and proving the key.
pub(super) fn connecting(setup: &Setup) -> Result<Vec<Contestant>> {
    let (local, _) = started(setup)?;
    Ok(vec![repeated("ours", setup.scale.of(CONNECTIONS), move || connect(&local).map(drop))])
}
