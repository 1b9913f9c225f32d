//! Rows about reading: a `Value` without its lock, and under an `RwLock`, with one reader and with two at the same
//! time.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock as StdRwLock};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use shm_core::{RwLock, Value};

use crate::children;
use crate::placement::Placement;
use crate::row::{Contestant, Enter, Pick, Row, Setup, Target, Unit, per_operation};

/// Reads of one process in one sample.
const READS: u64 = 4_000_000;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        // The references are what `get` was while it took the lock, and the least that a read can cost.
        row("value_get", Placement::OneCore, Target::at_most_times(0.35, "by_lock"), Box::new(alone)),
        // Two readers do 1.8 times the work of one.
        row(
            "value_get_2p",
            Placement::TwoCores,
            Target::at_most_times(0.55, "one_reader"),
            Box::new(together),
        ),
        row(
            "rwlock_read",
            Placement::OneCore,
            Target::at_most_times(2.0, "std_rwlock"),
            Box::new(read_alone),
        ),
        // Threads of one process, because `std`'s lock does not work between processes.
        row(
            "rwlock_read_2_threads",
            Placement::TwoCores,
            Target::at_most_times(1.0, "std_rwlock"),
            Box::new(read_together),
        ),
    ]
}

fn row(name: &'static str, placement: Placement, target: Target, enter: Enter) -> Row {
    let pick = if placement == Placement::OneCore { Pick::Best } else { Pick::Median };
    Row { name, placement, unit: Unit::Nanos, pick, target, needs: None, enter }
}

fn alone(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(READS);
    let (value, locked, atomic) = (Value::new(7_u64)?, Value::new(7_u64)?, AtomicU64::new(7));
    Ok(vec![
        Contestant::timed("ours", times, move |times| get(&value, times)),
        Contestant::timed("by_lock", times, move |times| by_lock(&locked, times)),
        Contestant::timed("atomic_u64", times, move |times| by_load(&atomic, times)),
    ])
}

/// The time of a read, counting those of all readers.
fn together(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![readers(setup, "ours", 2)?, readers(setup, "one_reader", 1)?])
}

fn readers(setup: &Setup, name: &'static str, count: u64) -> Result<Contestant> {
    let value = Value::new(7_u64)?;
    let setup = setup.clone();
    let each = setup.scale.of(READS);
    Ok(Contestant::new(name, move || {
        let nanos = children::together(&setup, count, |_| {
            get(&value, each);
            Ok(())
        })?;
        ensure!(value.get()? == 7, "nobody has written");
        Ok(per_operation(nanos, each * count))
    }))
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn get(value: &Value<u64>, times: u64) {
    for _ in 0..times {
        black_box(black_box(value).get().unwrap());
    }
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn by_lock(value: &Value<u64>, times: u64) {
    for _ in 0..times {
        black_box(*black_box(value).lock().unwrap());
    }
}

#[inline(never)]
fn by_load(atomic: &AtomicU64, times: u64) {
    for _ in 0..times {
        black_box(black_box(atomic).load(Ordering::Acquire));
    }
}

fn read_alone(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(READS);
    let (ours, standard) = (RwLock::new(7_u64)?, StdRwLock::new(7_u64));
    Ok(vec![
        Contestant::timed("ours", times, move |times| read(&ours, times)),
        Contestant::timed("std_rwlock", times, move |times| read_std(&standard, times)),
    ])
}

fn read_together(setup: &Setup) -> Result<Vec<Contestant>> {
    Ok(vec![
        threads(setup, "ours", RwLock::new(7_u64)?, read),
        threads(setup, "std_rwlock", StdRwLock::new(7_u64), read_std),
    ])
}

/// The time of a read, counting those of both threads.
fn threads<L: Send + Sync + 'static>(
    setup: &Setup,
    name: &'static str,
    lock: L,
    read: fn(&L, u64),
) -> Contestant {
    let (setup, lock) = (setup.clone(), Arc::new(lock));
    let each = setup.scale.of(READS);
    Contestant::new(name, move || {
        let start = std::sync::Barrier::new(2);
        let work = |index: u64| -> Result<(Instant, Instant)> {
            setup.cpus.pin(setup.placement, index)?;
            start.wait();
            let started = Instant::now();
            read(&lock, each);
            Ok((started, Instant::now()))
        };
        let both = std::thread::scope(|scope| -> Result<_> {
            let other = std::thread::Builder::new().spawn_scoped(scope, || work(1))?;
            let mine = work(0)?;
            let other = other.join().ok().context("a reader panicked")??;
            Ok([mine, other])
        })?;
        let first = both.iter().map(|(started, _)| *started).min().context("there are two")?;
        let last = both.iter().map(|(_, ended)| *ended).max().context("there are two")?;
        Ok(per_operation(last.duration_since(first).as_secs_f64() * 1e9, each * 2))
    })
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn read(lock: &RwLock<u64>, times: u64) {
    for _ in 0..times {
        black_box(*black_box(lock).read().unwrap());
    }
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn read_std(lock: &StdRwLock<u64>, times: u64) {
    for _ in 0..times {
        black_box(*black_box(lock).read().unwrap());
    }
}
