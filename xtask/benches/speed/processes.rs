//! Rows about starting processes.

use std::time::Instant;

use anyhow::Result;

use crate::placement::Placement;
use crate::reference::{fork_and_wait, spawn_and_wait};
use crate::row::{Contestant, Enter, Pick, Row, Setup, Target, Unit, per_operation};

const FORKS: u64 = 400;

const SPAWNS: u64 = 100;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("fork_join", Target::at_most_times(1.25, "raw_fork"), Box::new(forks)),
        row("spawn_join", Target::at_most_times(1.3, "posix_spawn"), Box::new(spawns)),
        row("forkserver_join", Target::at_most_times(1.3, "fork_join"), Box::new(served)),
    ]
}

fn row(name: &'static str, target: Target, enter: Enter) -> Row {
    Row {
        name,
        placement: Placement::OneCore,
        unit: Unit::Micros,
        pick: Pick::Best,
        target,
        needs: None,
        enter,
    }
}

fn forks(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(FORKS);
    Ok(vec![repeated("ours", times, fork_and_join), repeated("raw_fork", times, fork_and_wait)])
}

/// Measures microseconds per call.
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

fn spawns(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(SPAWNS);
    Ok(vec![repeated("ours", times, spawn_and_join), repeated("posix_spawn", times, spawn_and_wait)])
}

fn spawn_and_join() -> Result<()> {
    Ok(mp::spawn(|()| (), ())?.join()?)
}

fn served(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(FORKS);
    Ok(vec![repeated("ours", times, start_and_join), repeated("fork_join", times, fork_and_join)])
}

fn start_and_join() -> Result<()> {
    Ok(mp::Process::new().method(mp::Method::ForkServer).start(|()| (), ())?.join()?)
}
