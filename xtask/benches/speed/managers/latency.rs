//! How long a small operation takes while another client moves large values.

use std::time::Instant;

use anyhow::{Result, ensure};
use manager_rt::Dict;
use manager_rt::limits::VALUE_BYTES_MAX;
use manager_rt::proto::{DictOp, Op, Raw, Spec};
use shm_core::RawValue;

use super::frames::Wire;
use super::round_trips::{KEY, VALUE};
use super::started;
use crate::children::Crowd;
use crate::row::{Contestant, Setup};

const GETS: u64 = 20_000;
/// The fewest values that one sample moves, there and back.
const VALUES_MIN: u64 = 3;

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
        micros.sort_by(f64::total_cmp);
        ensure!(!micros.is_empty(), "nothing was read");
        Ok(micros[micros.len() * 99 / 100])
    };
    Ok(vec![Contestant::new("ours", sample)])
}
