//! Many threads of one process, which get and set entries of one dict in turn.
//!
//! The library has one connection for all threads of a process. A thread of the other side has a connection of its own, as
//! in a pool that is large enough.

use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use manager_rt::Dict;

use super::redis::Redis;
use super::redis_client::Client;
use super::round_trips::VALUE;
use super::started;
use crate::row::{Contestant, Setup};

const THREADS: u64 = 64;
/// Operations of each thread in a sample.
const OPERATIONS: u64 = 1_000;

/// Returns the 99th percentile of what an operation takes, in microseconds. `begin` makes what a thread works with.
fn slow<C>(
    operations: u64,
    begin: impl Fn(u64) -> Result<C> + Sync,
    run: impl Fn(&mut C, u64, [u8; 8]) -> Result<()> + Sync,
) -> Result<f64> {
    let barrier = Barrier::new(usize::try_from(THREADS)?);
    let work = |index: u64| {
        let begun = begin(index);
        barrier.wait();
        let mut client = begun?;
        let mut micros = Vec::with_capacity(usize::try_from(operations)?);
        for number in 0..operations {
            let started = Instant::now();
            run(&mut client, number, ((index << 32) | (number / 2 % 16)).to_le_bytes())?;
            micros.push(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(micros)
    };
    let mut micros: Vec<f64> = thread::scope(|scope| {
        let start = |index| {
            let thread = thread::Builder::new().name(format!("client-{index}"));
            thread.spawn_scoped(scope, move || work(index)).context("a thread could not be started")
        };
        let threads: Vec<ScopedJoinHandle<'_, Result<Vec<f64>>>> =
            (0..THREADS).map(start).collect::<Result<_>>()?;
        let ends =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        Ok::<_, anyhow::Error>(ends.collect::<Result<Vec<_>>>()?.concat())
    })?;
    micros.sort_by(f64::total_cmp);
    Ok(micros[micros.len() * 99 / 100])
}

pub(super) fn sixty_four(setup: &Setup) -> Result<Vec<Contestant>> {
    let operations = setup.scale.of(OPERATIONS);
    let manager = started(setup)?;
    let entries: Dict<[u8; 8], [u8; 8]> = manager.dict()?;
    let ours = move || {
        let _kept = &manager;
        let run = |entries: &mut &Dict<[u8; 8], [u8; 8]>, number, key| {
            if number % 2 == 0 {
                entries.insert(&key, &VALUE)?;
            } else {
                ensure!(entries.get(&key)? == Some(VALUE), "a value was changed on its way");
            }
            Ok(())
        };
        slow(operations, |_| Ok(&entries), run)
    };
    let server = Redis::start(setup)?;
    let redis = move || {
        let run = |client: &mut Client, number, key: [u8; 8]| {
            if number % 2 == 0 {
                client.set(&key, &VALUE)?;
            } else {
                ensure!(client.get(&key)? == VALUE, "a value was changed on its way");
            }
            Ok(())
        };
        slow(operations, |_| Client::connect(server.socket()), run)
    };
    Ok(vec![Contestant::new("ours", ours), Contestant::new("redis", redis)])
}
