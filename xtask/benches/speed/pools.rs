//! Rows about pools.
//!
//! | row | what is measured |
//! |---|---|
//! | `pool_map_million` | `mp::map` of 10^6 numbers with 2 workers, start and end included, for each number |
//! | `pool_map_single` | the same with one number in each chunk |
//! | `pool_map_millisecond` | 10,000 items that keep a CPU busy for 1 ms each, in the share of two CPUs' time |
//! | `pool_map_crashes` | the same, and every hundredth item ends its process the first time |
//! | `pool_start` | start and end of a pool with two workers |
//!
//! | reference | |
//! |---|---|
//! | `python` | `multiprocessing.Pool.map` with 2 workers |
//! | `ideal` | the time that two processors need for nothing but the items |
//! | `spawn_join` | one `mp::spawn` and its join |

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::placement::Placement;
use crate::python;
use crate::row::{Contestant, Enter, Pick, Row, Setup, Target, Unit, per_operation};

const WORKERS: usize = 2;
const ITEMS: u64 = 1_000_000;
const SINGLE_ITEMS: u64 = 100_000;
const BUSY_ITEMS: u64 = 10_000;
const BUSY: Duration = Duration::from_millis(1);
const STARTS: u64 = 40;

pub(crate) fn rows() -> Vec<Row> {
    let nanos = Unit::Nanos;
    let millis = Unit::Millis;
    vec![
        row("pool_map_million", nanos, Target::at_most_times(0.2, "python"), Box::new(million)),
        row("pool_map_single", nanos, Target::at_most_times(0.05, "python"), Box::new(single)),
        row("pool_map_millisecond", millis, Target::at_most_times(1.031, "ideal"), Box::new(busy)),
        row("pool_map_crashes", millis, Target::at_most_times(1.111, "ideal"), Box::new(crashes)),
        row("pool_start", Unit::Micros, Target::at_most_times(3.0, "spawn_join"), Box::new(starts)),
    ]
}

fn row(name: &'static str, unit: Unit, target: Target, enter: Enter) -> Row {
    Row { name, placement: Placement::Any, unit, pick: Pick::Median, target, needs: None, enter }
}

fn million(setup: &Setup) -> Result<Vec<Contestant>> {
    let numbers: Vec<u64> = (0..setup.scale.of(ITEMS)).collect();
    let ours = Contestant::new("ours", move || per_item(&numbers, mp::Pool::builder().workers(WORKERS)));
    Ok(std::iter::once(ours).chain(pythons(setup, ITEMS, "p.map(g, range(m))")).collect())
}

fn single(setup: &Setup) -> Result<Vec<Contestant>> {
    let numbers: Vec<u64> = (0..setup.scale.of(SINGLE_ITEMS)).collect();
    let builder = mp::Pool::builder().workers(WORKERS).chunk(1);
    let ours = Contestant::new("ours", move || per_item(&numbers, builder.clone()));
    Ok(std::iter::once(ours).chain(pythons(setup, SINGLE_ITEMS, "p.map(g, range(m), 1)")).collect())
}

/// Returns nanoseconds per item.
fn per_item(numbers: &[u64], builder: mp::PoolBuilder) -> Result<f64> {
    let started = Instant::now();
    let mapped = builder.map(numbers, |number| number + 1)?;
    let nanos = started.elapsed().as_secs_f64() * 1e9;
    ensure!(mapped.len() == numbers.len() && mapped.last() == numbers.last().map(|last| last + 1).as_ref());
    Ok(per_operation(nanos, numbers.len() as u64))
}

/// Python's pool, whose start is not measured, in nanoseconds per item.
fn pythons(setup: &Setup, items: u64, body: &'static str) -> Option<Contestant> {
    let items = setup.scale.of(items);
    let prepare =
        format!("from multiprocessing import Pool\nm = {items}\ndef g(x): return x + 1\np = Pool({WORKERS})");
    let mut whole = python::contestant_in_micros(setup, prepare, body, 1)?;
    Some(Contestant::new("python", move || Ok((whole.sample)()? * 1e3 / items as f64)))
}

fn busy(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![busy_map(setup, false), ideal(setup)])
}

fn crashes(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![busy_map(setup, true), ideal(setup)])
}

/// What two processors need for the items alone.
fn ideal(setup: &Setup) -> Contestant {
    let items = setup.scale.of(BUSY_ITEMS);
    Contestant::new("ideal", move || {
        let child = mp::fork(move || work_alone(items / 2))?;
        let own = work_alone(items - items / 2);
        Ok(child.join()?.max(own))
    })
}

/// Works on items, and returns how many milliseconds that took.
fn work_alone(items: u64) -> f64 {
    let started = Instant::now();
    for _ in 0..items {
        be_busy();
    }
    started.elapsed().as_secs_f64() * 1e3
}

fn be_busy() {
    let started = Instant::now();
    while started.elapsed() < BUSY {
        std::hint::spin_loop();
    }
}

fn busy_map(setup: &Setup, with_crashes: bool) -> Contestant {
    let items: Vec<u64> = (0..setup.scale.of(BUSY_ITEMS)).collect();
    Contestant::new("ours", move || {
        let tries = mp::RawArray::<u32>::zeroed(items.len())?;
        let started = Instant::now();
        let done = mp::Pool::builder().workers(WORKERS).map(&items, |item| {
            let at = usize::try_from(*item).unwrap_or(0);
            if with_crashes && item % 100 == 50 && tries.fetch_add(at, 1) == Ok(0) {
                std::process::abort();
            }
            be_busy();
        })?;
        ensure!(done.len() == items.len());
        Ok(started.elapsed().as_secs_f64() * 1e3)
    })
}

fn starts(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(STARTS);
    let builder = || mp::Pool::builder().workers(WORKERS).method(mp::Method::Spawn);
    let ours = Contestant::new("ours", move || {
        let started = Instant::now();
        for _ in 0..times {
            builder().start(|number: u64| number)?.close()?;
        }
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e6, times))
    });
    let spawn = Contestant::new("spawn_join", move || {
        let started = Instant::now();
        for _ in 0..times {
            mp::spawn(|()| (), ())?.join()?;
        }
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e6, times))
    });
    Ok(vec![ours, spawn])
}
