//! One operation after the other: get and set of a dict.

use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Result, ensure};
use manager_rt::Dict;
use manager_rt::proto::{Call, DictOp, ObjectId, Op, Payload, Raw, Reply, Wait};

use super::redis::{Redis, RedisClient};
use super::{frames, started};
use crate::children::Crowd;
use crate::placement::Placement;
use crate::python;
use crate::reference::raw_stream::{ask, pair, serve, serve_events};
use crate::row::{Contestant, Setup, per_operation};

const ROUND_TRIPS: u64 = 40_000;
const ROUND_TRIPS_OF_PYTHON: u64 = 8_000;
pub(super) const KEY: [u8; 8] = *b"key:0001";
pub(super) const VALUE: [u8; 8] = *b"value001";
/// An object's id as it appears in frames: a serial number above 24 bits.
const OBJECT: ObjectId = ObjectId(3 << 24 | 2);

type Entries = Dict<[u8; 8], [u8; 8]>;

/// Measures microseconds per call.
pub(super) fn repeated(
    name: &'static str,
    times: u64,
    mut call: impl FnMut() -> Result<()> + 'static,
) -> Contestant {
    Contestant::new(name, move || {
        let started = Instant::now();
        for _ in 0..times {
            call()?;
        }
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e6, times))
    })
}

/// The number of repetitions for a contestant that sleeps: on two CPUs each of them takes twenty times as long.
pub(super) fn for_sleepers(setup: &Setup, full: u64) -> u64 {
    let share = if setup.placement == Placement::TwoCores { 10 } else { 1 };
    setup.scale.of(full / share)
}

/// The lengths of the frames of a call and its answer.
pub(super) fn lens(op: Op<Raw<'_>>, reply: &Reply<Payload>) -> Result<(usize, usize)> {
    let mut frame = Vec::new();
    frames::append(&mut frame, (1, 1), &Call { object: OBJECT, thread: 1, wait: Wait::No, op })?;
    Ok((frame.len(), frames::answer_len(reply)?))
}

fn value() -> Payload {
    Payload::copy(Raw::plain(&VALUE))
}

fn get_lens() -> Result<(usize, usize)> {
    lens(Op::Dict(DictOp::Get(Raw::plain(&KEY))), &Reply::Option(Some(value())))
}

fn set_lens() -> Result<(usize, usize)> {
    lens(Op::Dict(DictOp::Store(Raw::plain(&KEY), Raw::plain(&VALUE))), &Reply::Done)
}

/// A process that answers raw frames, and the caller's end.
pub(super) struct Echo {
    end: OwnedFd,
    request: Vec<u8>,
    answer: Vec<u8>,
    _peer: Crowd,
}

impl Echo {
    pub(super) fn start(
        setup: &Setup,
        (request, answer): (usize, usize),
        serve: fn(&OwnedFd, usize, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        let (end, other) = pair()?;
        let peer = Crowd::peer(setup, || serve(&other, request, &vec![7; answer]))?;
        Ok(Self { end, request: vec![7; request], answer: vec![0; answer], _peer: peer })
    }

    #[inline]
    pub(super) fn ask(&mut self) -> Result<()> {
        ask(&self.end, black_box(&self.request), &mut self.answer)
    }
}

fn raw(setup: &Setup, lens: (usize, usize)) -> Result<Vec<Contestant>> {
    let times = for_sleepers(setup, ROUND_TRIPS);
    let mut raw_stream = Echo::start(setup, lens, serve)?;
    let mut epoll_echo = Echo::start(setup, lens, serve_events)?;
    Ok(vec![
        repeated("raw_stream", times, move || raw_stream.ask()),
        repeated("epoll_echo", times, move || epoll_echo.ask()),
    ])
}

fn ours(setup: &Setup, mut call: impl FnMut(&Entries) -> Result<()> + 'static) -> Result<Contestant> {
    let manager = started(setup)?;
    let entries: Entries = manager.dict()?;
    entries.insert(&KEY, &VALUE)?;
    let ours = repeated("ours", setup.scale.of(ROUND_TRIPS), move || call(&entries));
    // The server ends with the connection's process, but not before the last sample.
    Ok(Contestant { sample: keeping(manager, ours.sample), ..ours })
}

/// Keeps a value alive for as long as samples are taken.
pub(super) fn keeping<K: 'static>(
    kept: K,
    mut sample: Box<dyn FnMut() -> Result<f64>>,
) -> Box<dyn FnMut() -> Result<f64>> {
    Box::new(move || {
        let _kept = &kept;
        sample()
    })
}

fn our_get(setup: &Setup) -> Result<Contestant> {
    ours(setup, |entries| {
        ensure!(entries.get(black_box(&KEY))? == Some(VALUE), "a value was changed on its way");
        Ok(())
    })
}

fn our_set(setup: &Setup) -> Result<Contestant> {
    ours(setup, |entries| Ok(entries.insert(black_box(&KEY), black_box(&VALUE))?))
}

const PYTHON: &str = "\
import os
from multiprocessing import Manager
os.sched_setaffinity(0, [CPU_B])
manager = Manager()
os.sched_setaffinity(0, [CPU_A])
d = manager.dict()
d['key:0001'] = 'value001'";

/// Python's manager, if there is a Python.
pub(super) fn of_python(setup: &Setup, prepare: &str, body: &'static str) -> Option<Contestant> {
    let prepare = format!("{PYTHON}\n{prepare}").replace("CPU_A", &setup.cpus.list(setup.placement, 0));
    let prepare = prepare.replace("CPU_B", &setup.cpus.list(setup.placement, 1));
    python::contestant_in_micros(setup, prepare, body, for_sleepers(setup, ROUND_TRIPS_OF_PYTHON))
}

pub(super) fn get(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut contestants = vec![our_get(setup)?];
    contestants.extend(raw(setup, get_lens()?)?);
    contestants.extend(of_python(setup, "", "d['key:0001']"));
    Ok(contestants)
}

pub(super) fn set(setup: &Setup) -> Result<Vec<Contestant>> {
    let mut contestants = vec![our_set(setup)?];
    contestants.extend(raw(setup, set_lens()?)?);
    contestants.extend(of_python(setup, "", "d['key:0001'] = 'value001'"));
    Ok(contestants)
}

fn against_redis(
    setup: &Setup,
    ours: Contestant,
    lens: (usize, usize),
    call: fn(&mut RedisClient) -> Result<()>,
) -> Result<Vec<Contestant>> {
    let times = for_sleepers(setup, ROUND_TRIPS);
    let server = Redis::start(setup)?;
    let (mut client, mut spinning) = (server.client(false)?, server.client(true)?);
    let redis = repeated("redis", times, move || call(&mut client));
    let mut contestants = vec![ours, Contestant { sample: keeping(server, redis.sample), ..redis }];
    if setup.placement == Placement::TwoCores {
        // On one CPU it would keep the server from running.
        contestants.push(repeated("redis_spinning", times, move || call(&mut spinning)));
    }
    contestants.extend(raw(setup, lens)?);
    Ok(contestants)
}

pub(super) fn get_against_redis(setup: &Setup) -> Result<Vec<Contestant>> {
    against_redis(setup, our_get(setup)?, get_lens()?, RedisClient::get)
}

pub(super) fn set_against_redis(setup: &Setup) -> Result<Vec<Contestant>> {
    against_redis(setup, our_set(setup)?, set_lens()?, RedisClient::set)
}
