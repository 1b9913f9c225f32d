//! Rows about `Value`'s lock: with one process, and with 2 and 8 processes that want it all the time.

use std::hint::black_box;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use shm_core::Value;

use crate::children;
use crate::placement::Placement;
use crate::python;
use crate::reference::RawCounter;
use crate::row::{Contestant, Pick, Row, Setup, Target, Tool, Unit, per_operation};

/// Increments of one process in one sample.
const ALONE: u64 = 2_000_000;
/// Increments of all processes together in one sample.
const CONTENDED: u64 = 1_600_000;
/// Fewer, because Python is so much slower.
const PYTHON: u64 = 100_000;

/// Increments the library's value this many times.
type Increment = fn(&Value<u64>, u64);

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(alone(
        ["value_lock_increment", "value_lock_increment_vs_std", "value_lock_increment_vs_python"],
        0.92,
        by_lock,
    ));
    rows.extend(alone(
        ["value_update_increment", "value_update_increment_vs_std", "value_update_increment_vs_python"],
        0.87,
        by_update,
    ));
    let [set, ..] = alone(["value_set", "value_set_vs_std", "value_set_vs_python"], 0.80, by_set);
    rows.push(set);
    for placement in [Placement::OneCore, Placement::TwoCores] {
        rows.push(contended("value_lock_increment_2p", placement, 2));
        rows.push(contended("value_lock_increment_8p", placement, 8));
    }
    rows
}

/// One process, compared with the raw mutex, std's and Python's.
fn alone(names: [&'static str; 3], times_raw: f64, increment: Increment) -> [Row; 3] {
    let row = |name, target, enter| Row {
        name,
        placement: Placement::OneCore,
        unit: Unit::Nanos,
        pick: Pick::Best,
        target,
        needs: None,
        enter,
    };
    let [raw, standard, python] = names;
    [
        row(
            raw,
            Target::at_most_times(times_raw, "raw_robust"),
            Box::new(move |setup: &Setup| {
                Ok(vec![ours(setup, increment)?, raw_robust(setup)?, std_mutex(setup)])
            }),
        ),
        row(
            standard,
            Target::at_most_times(1.25, "std_mutex"),
            Box::new(move |setup: &Setup| Ok(vec![ours(setup, increment)?, std_mutex(setup)])),
        ),
        Row {
            needs: Some(Tool::Python),
            ..row(
                python,
                Target::at_most_times(0.05, "python"),
                Box::new(move |setup: &Setup| {
                    let python = python::contestant(setup, python::INCREMENT, PYTHON);
                    Ok([ours(setup, increment)?].into_iter().chain(python).collect())
                }),
            )
        },
    ]
}

fn ours(setup: &Setup, increment: Increment) -> Result<Contestant> {
    let value = Value::new(0_u64)?;
    Ok(Contestant::timed("ours", setup.scale.of(ALONE), move |times| increment(&value, times)))
}

fn raw_robust(setup: &Setup) -> Result<Contestant> {
    let counter = RawCounter::new()?;
    Ok(Contestant::timed("raw_robust", setup.scale.of(ALONE), move |times| raw(&counter, times)))
}

fn std_mutex(setup: &Setup) -> Contestant {
    let mutex = Mutex::new(0_u64);
    Contestant::timed("std_mutex", setup.scale.of(ALONE), move |times| in_std(&mutex, times))
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn by_lock(value: &Value<u64>, times: u64) {
    for _ in 0..times {
        *black_box(value).lock().unwrap() += 1;
    }
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn by_update(value: &Value<u64>, times: u64) {
    for _ in 0..times {
        black_box(value).update(|n| n + 1).unwrap();
    }
}

/// A store in place of an increment. The reference adds, which costs it little.
#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn by_set(value: &Value<u64>, times: u64) {
    for number in 0..times {
        black_box(value).set(number).unwrap();
    }
}

#[inline(never)]
fn raw(counter: &RawCounter, times: u64) {
    for _ in 0..times {
        black_box(counter).increment();
    }
}

#[inline(never)]
#[expect(clippy::unwrap_used, reason = "what is measured is what users write")]
fn in_std(mutex: &Mutex<u64>, times: u64) {
    for _ in 0..times {
        *black_box(mutex).lock().unwrap() += 1;
    }
}

/// `count` processes that only lock, increment and unlock: time per increment, counting those of all processes.
fn contended(name: &'static str, placement: Placement, count: u64) -> Row {
    let enter = move |setup: &Setup| {
        let value = Value::new(0_u64)?;
        let counter = RawCounter::new()?;
        Ok(vec![
            crowd(setup, "ours", count, (value, by_lock), |value| Ok(value.get()?)),
            crowd(setup, "raw_robust", count, (counter, raw), |counter| Ok(counter.count())),
        ])
    };
    Row {
        name,
        placement,
        unit: Unit::Nanos,
        pick: Pick::Median,
        target: Target::at_most_times(0.9, "raw_robust"),
        needs: None,
        enter: Box::new(enter),
    }
}

/// `count` processes that increment the same thing, which is checked for lost increments.
fn crowd<T: 'static>(
    setup: &Setup,
    name: &'static str,
    count: u64,
    (thing, increment): (T, fn(&T, u64)),
    read: fn(&T) -> Result<u64>,
) -> Contestant {
    let setup = setup.clone();
    let each = setup.scale.of(CONTENDED / count);
    Contestant::new(name, move || {
        let before = read(&thing)?;
        let nanos = children::together(&setup, count, |_| {
            increment(&thing, each);
            Ok(())
        })?;
        ensure!(read(&thing)? == before + each * count, "increments were lost");
        Ok(per_operation(nanos, each * count))
    })
}
