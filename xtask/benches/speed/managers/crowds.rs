//! Many client processes at once, which get and set entries of one dict in turn, each after the answer to its last call.
//!
//! One row compares the time of an operation, which is the time of all clients divided by the number of all their
//! operations, and another the 99th percentile of what single operations take.

use std::time::Instant;

use anyhow::{Result, ensure};
use manager_rt::Dict;

use super::redis::Redis;
use super::redis_client::Client;
use super::started;
use crate::children::gathered;
use crate::row::{Contestant, Setup, per_operation};

/// Entries that each client uses.
const ENTRIES: u64 = 16;

/// A crowd and what it does.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    clients: u64,
    value_bytes: usize,
    /// Operations of each client in a sample.
    operations: u64,
}

const EIGHT: Crowd = Crowd { clients: 8, value_bytes: 8, operations: 8_000 };
const SIXTY_FOUR: Crowd = Crowd { clients: 64, value_bytes: 8, operations: 1_000 };
const EIGHT_LARGE: Crowd = Crowd { clients: 8, value_bytes: 100 << 10, operations: 800 };

/// What a sample returns.
#[derive(Debug, Clone, Copy)]
enum Figure {
    /// Microseconds per operation of the whole crowd.
    Mean,
    /// The 99th percentile of an operation, in microseconds.
    Slow,
}

/// Returns the key of one of a client's entries.
fn key(client: u64, entry: u64) -> [u8; 8] {
    ((client << 32) | (entry % ENTRIES)).to_le_bytes()
}

/// Runs `get` and `set` in turn, and returns what each call took, in nanoseconds.
fn in_turn(
    client: u64,
    operations: u64,
    mut get: impl FnMut(&[u8; 8]) -> Result<usize>,
    mut set: impl FnMut(&[u8; 8]) -> Result<()>,
    value_bytes: usize,
) -> Result<Vec<u32>> {
    let mut nanos = Vec::with_capacity(usize::try_from(operations)?);
    for number in 0..operations {
        let key = key(client, number / 2);
        let started = Instant::now();
        if number % 2 == 0 {
            set(&key)?;
        } else {
            ensure!(get(&key)? == value_bytes, "a value was changed on its way");
        }
        nanos.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(nanos)
}

/// The figure of a sample in which the crowd took `span` nanoseconds, and each operation as long as these say.
fn figure((span, nanos): (f64, Vec<Vec<u32>>), figure: Figure) -> f64 {
    let mut nanos = nanos.concat();
    nanos.sort_unstable();
    match figure {
        Figure::Mean => per_operation(span / 1e3, nanos.len() as u64),
        Figure::Slow => f64::from(nanos.get(nanos.len() * 99 / 100).copied().unwrap_or(0)) / 1e3,
    }
}

fn contestants(setup: &Setup, crowd: Crowd, wanted: Figure) -> Result<Vec<Contestant>> {
    let operations = setup.scale.of(crowd.operations);
    let Crowd { clients, value_bytes, .. } = crowd;
    let manager = started(setup)?;
    let entries: Dict<[u8; 8], String> = manager.dict()?;
    let value = "v".repeat(value_bytes);
    let (ours_setup, ours_value) = (setup.clone(), value.clone());
    let ours = move || {
        let _kept = &manager;
        let measured = gathered(
            &ours_setup,
            clients,
            // The first operation makes the connection.
            |client| Ok((client, entries.insert(&key(client, 0), &ours_value)?)),
            |(client, ())| {
                let get = |key: &[u8; 8]| Ok(entries.get(key)?.map_or(0, |value| value.len()));
                let set = |key: &[u8; 8]| Ok(entries.insert(key, &ours_value)?);
                in_turn(client, operations, get, set, value_bytes)
            },
        )?;
        Ok(figure(measured, wanted))
    };
    let server = Redis::start(setup)?;
    let setup = setup.clone();
    let redis = move || {
        let measured = gathered(
            &setup,
            clients,
            |index| {
                let mut client = Client::connect(server.socket())?;
                client.set(&key(index, 0), value.as_bytes())?;
                Ok((index, client))
            },
            |(index, client)| {
                let client = std::cell::RefCell::new(client);
                let get = |key: &[u8; 8]| Ok(client.borrow_mut().get(key)?.len());
                let set = |key: &[u8; 8]| client.borrow_mut().set(key, value.as_bytes());
                in_turn(index, operations, get, set, value_bytes)
            },
        )?;
        Ok(figure(measured, wanted))
    };
    Ok(vec![Contestant::new("ours", ours), Contestant::new("redis", redis)])
}

pub(super) fn eight(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, EIGHT, Figure::Mean)
}

pub(super) fn eight_slow(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, EIGHT, Figure::Slow)
}

pub(super) fn sixty_four(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, SIXTY_FOUR, Figure::Mean)
}

pub(super) fn eight_large(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, EIGHT_LARGE, Figure::Mean)
}

pub(super) fn eight_large_slow(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, EIGHT_LARGE, Figure::Slow)
}
