//! How long a small operation takes while another client moves large values, or sends long pipelines.

use std::time::Instant;

use anyhow::{Result, ensure};
use manager_rt::Dict;
use manager_rt::limits::VALUE_BYTES_MAX;
use manager_rt::proto::{DictOp, Op, Raw, Spec};
use mp_sys::deadline::Deadline;
use shm_core::RawValue;

use super::frames::Wire;
use super::long_pipeline::{Entries, redis_set_all, set_all};
use super::redis::Redis;
use super::redis_client::Client;
use super::round_trips::{KEY, VALUE};
use super::started;
use crate::children::{Crowd, SAMPLE_TIMEOUT};
use crate::row::{Contestant, Setup};

const GETS: u64 = 20_000;
/// The fewest values that one sample moves, there and back.
const VALUES_MIN: u64 = 3;
/// Inserts of each pipeline beside which a get is measured.
const INSERTS: u64 = 4_000;
const GETS_BESIDE_PIPELINES: u64 = 4_000;

/// Measures the 99th percentile of a get, in microseconds, while values of 64 MiB are set and read in turn, without a
/// pause.
pub(super) fn beside_large(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = usize::try_from(setup.scale.of(GETS))?;
    let manager = started(setup)?;
    let entries: Dict<[u8; 8], [u8; 8]> = manager.dict()?;
    entries.insert(&KEY, &VALUE)?;
    let moved = RawValue::new(0_u64)?;
    let mover = Crowd::peer(setup, || {
        let mut wire = Wire::connect(&manager)?;
        let object = wire.make(Spec::Dict)?;
        let large = vec![7; VALUE_BYTES_MAX];
        loop {
            wire.ask(object, Op::Dict(DictOp::Insert(Raw::plain(&KEY), Raw::plain(&large))))?;
            wire.ask(object, Op::Dict(DictOp::Get(Raw::plain(&KEY))))?;
            moved.fetch_add(1);
        }
    })?;
    let sample = move || {
        let _kept = (&manager, &mover);
        let before = moved.load();
        let mut micros = Vec::with_capacity(times);
        // A value takes tens of milliseconds, so the loop runs until some have been moved.
        while micros.len() < times || moved.load() < before + VALUES_MIN {
            let started = Instant::now();
            entries.get(&KEY)?;
            micros.push(started.elapsed().as_secs_f64() * 1e6);
        }
        slow(micros)
    };
    Ok(vec![Contestant::new("ours", sample)])
}

/// Returns the 99th percentile.
pub(super) fn slow(mut micros: Vec<f64>) -> Result<f64> {
    micros.sort_by(f64::total_cmp);
    ensure!(!micros.is_empty(), "nothing was read");
    Ok(micros[micros.len() * 99 / 100])
}

/// Measures a get as [`beside_large`] does, while another client sends pipelines of thousands of inserts without a pause.
/// That client runs only while its contestant is measured.
pub(super) fn beside_pipelines(setup: &Setup) -> Result<Vec<Contestant>> {
    let manager = started(setup)?;
    let entries: Entries = manager.dict()?;
    entries.insert(&KEY, &VALUE)?;
    let own_setup = setup.clone();
    let ours = move || {
        let pipeline = || set_all(&manager, &entries, INSERTS);
        beside(&own_setup, || Ok(pipeline), || Ok(entries.get(&KEY).map(drop)?))
    };
    let server = Redis::start(setup)?;
    let mut client = Client::connect(server.socket())?;
    client.set(&KEY, &VALUE)?;
    let setup = setup.clone();
    let redis = move || {
        let begin = || {
            let mut client = Client::connect(server.socket())?;
            Ok(move || redis_set_all(&mut client, INSERTS))
        };
        beside(&setup, begin, || client.get(&KEY).map(drop))
    };
    Ok(vec![Contestant::new("ours", ours), Contestant::new("redis", redis)])
}

/// Measures the 99th percentile of `get` while another process sends what `begin` makes, again and again.
fn beside<P: FnMut() -> Result<()>>(
    setup: &Setup,
    begin: impl FnOnce() -> Result<P>,
    mut get: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let sent = RawValue::new(0_u64)?;
    let _sender = Crowd::peer(setup, || {
        let mut send = begin()?;
        loop {
            send()?;
            sent.fetch_add(1);
        }
    })?;
    let deadline = Deadline::after(SAMPLE_TIMEOUT);
    while sent.load() == 0 {
        ensure!(!deadline.has_passed(), "no pipeline was sent");
        std::thread::yield_now();
    }
    let mut micros = Vec::new();
    for _ in 0..setup.scale.of(GETS_BESIDE_PIPELINES) {
        let started = Instant::now();
        get()?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
    }
    slow(micros)
}
