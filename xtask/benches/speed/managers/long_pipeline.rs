//! One client that sends ten thousand operations at a time and then reads all answers.

use std::time::Instant;

use anyhow::{Result, ensure};
use manager_rt::{Dict, Manager};

use super::redis::Redis;
use super::redis_client::Client;
use super::round_trips::VALUE;
use super::started;
use crate::row::{Contestant, Setup, per_operation};

/// Operations of one pipeline.
pub(super) const OPERATIONS: u64 = 10_000;
/// Pipelines of a sample.
const PIPELINES: u64 = 16;

pub(super) type Entries = Dict<[u8; 8], [u8; 8]>;

/// Sets `operations` entries in one pipeline.
pub(super) fn set_all(manager: &Manager, entries: &Entries, operations: u64) -> Result<()> {
    let set = manager.pipeline(|p| {
        let one = |number: u64| p.on(entries).insert(&number.to_le_bytes(), &VALUE);
        (0..operations).map(one).collect::<Vec<_>>()
    })?;
    ensure!(set.iter().all(Result::is_ok), "an entry was not set");
    Ok(())
}

fn get_all(manager: &Manager, entries: &Entries, operations: u64) -> Result<()> {
    let values = manager.pipeline(|p| {
        let one = |number: u64| p.on(entries).get(&number.to_le_bytes());
        (0..operations).map(one).collect::<Vec<_>>()
    })?;
    ensure!(values.iter().all(|value| *value == Ok(Some(VALUE))), "a value was changed on its way");
    Ok(())
}

/// Does the same as [`set_all`] at Redis.
pub(super) fn redis_set_all(client: &mut Client, operations: u64) -> Result<()> {
    (0..operations).for_each(|number| client.queue_set(&number.to_le_bytes(), &VALUE));
    client.write()?;
    (0..operations).try_for_each(|_| client.answer_to_set())
}

fn redis_get_all(client: &mut Client, operations: u64) -> Result<()> {
    (0..operations).for_each(|number| client.queue_get(&number.to_le_bytes()));
    client.write()?;
    for _ in 0..operations {
        ensure!(client.answer_to_get()? == VALUE, "a value was changed on its way");
    }
    Ok(())
}

/// Measures nanoseconds per operation.
fn repeated(
    name: &'static str,
    pipelines: u64,
    mut pipeline: impl FnMut() -> Result<()> + 'static,
) -> Contestant {
    Contestant::new(name, move || {
        let started = Instant::now();
        (0..pipelines).try_for_each(|_| pipeline())?;
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e9, pipelines * OPERATIONS))
    })
}

fn contestants(
    setup: &Setup,
    ours: fn(&Manager, &Entries, u64) -> Result<()>,
    redis: fn(&mut Client, u64) -> Result<()>,
) -> Result<Vec<Contestant>> {
    let pipelines = setup.scale.of(PIPELINES);
    let manager = started(setup)?;
    let entries = manager.dict()?;
    set_all(&manager, &entries, OPERATIONS)?;
    let server = Redis::start(setup)?;
    let mut client = Client::connect(server.socket())?;
    redis_set_all(&mut client, OPERATIONS)?;
    Ok(vec![
        repeated("ours", pipelines, move || ours(&manager, &entries, OPERATIONS)),
        repeated("redis", pipelines, move || {
            let _kept = &server;
            redis(&mut client, OPERATIONS)
        }),
    ])
}

pub(super) fn set(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, set_all, redis_set_all)
}

pub(super) fn get(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, get_all, redis_get_all)
}
