//! Rows about single values: an atomic in shared memory, and the cost of making a value.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use shm_core::{RawValue, Value};

use crate::placement::Placement;
use crate::python;
use crate::reference::SharedPage;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit};

const ADDITIONS: u64 = 5_000_000;
const MADE_ONE_BY_ONE: u64 = 500_000;
/// Enough for seven chunks of shared memory, so that the cost of making chunks counts too.
const MADE_TOGETHER: u64 = 100_000;
/// Fewer, because Python is so much slower.
const MADE_BY_PYTHON: u64 = 1_000;

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, target, enter| Row {
        name,
        placement: Placement::OneCore,
        unit: Unit::Nanos,
        pick: Pick::Best,
        target,
        needs: None,
        enter,
    };
    vec![
        row("raw_value_fetch_add", Target::at_most_times(1.02, "atomic_u64"), Box::new(additions)),
        row(
            "value_make_drop",
            Target::at_most(200.0),
            Box::new(|setup| made(setup, one_by_one, MADE_ONE_BY_ONE)),
        ),
        row(
            "value_make_drop_100k",
            Target::at_most(200.0),
            Box::new(|setup| made(setup, all_together, MADE_TOGETHER)),
        ),
    ]
}

fn additions(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(ADDITIONS);
    let value = RawValue::new(0_u64)?;
    let page = SharedPage::<AtomicU64>::new()?;
    Ok(vec![
        Contestant::timed("ours", times, move |times| add(&value, times)),
        Contestant::timed("atomic_u64", times, move |times| add_raw(&page, times)),
    ])
}

// The results are used, so that the compiler cannot choose a cheaper instruction without a result.

#[inline(never)]
fn add(value: &RawValue<u64>, times: u64) {
    let value = black_box(value);
    black_box((0..times).fold(0_u64, |sum, _| sum.wrapping_add(value.fetch_add(1))));
}

#[inline(never)]
fn add_raw(word: &AtomicU64, times: u64) {
    let word = black_box(word);
    black_box((0..times).fold(0_u64, |sum, _| sum.wrapping_add(word.fetch_add(1, Ordering::SeqCst))));
}

fn made(setup: &Setup, make: fn(u64), operations: u64) -> Result<Vec<Contestant>> {
    let ours = Contestant::timed("ours", setup.scale.of(operations), make);
    let python = python::contestant(setup, python::MAKE, MADE_BY_PYTHON);
    Ok([ours].into_iter().chain(python).collect())
}

/// Each value is dropped before the next one is made, beside one that lives on.
#[inline(never)]
fn one_by_one(times: u64) {
    let beside = Value::new(0_u64);
    for n in 0..times {
        drop(black_box(Value::new(black_box(n))));
    }
    drop(black_box(beside));
}

/// All values live at the same time.
#[inline(never)]
fn all_together(times: u64) {
    let all: Vec<_> = (0..times).map(Value::new).collect();
    drop(black_box(all));
}
