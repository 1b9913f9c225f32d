//! Rows about starting processes.

use std::time::Instant;

use anyhow::Result;

use crate::placement::Placement;
use crate::reference::fork_and_wait;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit, per_operation};

const FORKS: u64 = 400;

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "fork_join",
        placement: Placement::OneCore,
        unit: Unit::Micros,
        pick: Pick::Best,
        target: Target::at_most_times(1.2, "raw_fork"),
        needs_python: false,
        enter: Box::new(forks),
    }]
}

fn forks(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(FORKS);
    Ok(vec![repeated("ours", times, fork_and_join), repeated("raw_fork", times, fork_and_wait)])
}

/// Microseconds per call.
fn repeated(name: &'static str, times: u64, call: fn() -> Result<()>) -> Contestant {
    Contestant::new(name, move || {
        let started = Instant::now();
        for _ in 0..times {
            call()?;
        }
        Ok(per_operation(started.elapsed().as_secs_f64() * 1e6, times))
    })
}

fn fork_and_join() -> Result<()> {
    Ok(mp::fork(|| ())?.join()?)
}
