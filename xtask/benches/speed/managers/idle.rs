//! CPU time while nothing happens: of the server, and of processes that wait at one of its objects.

use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::frames::Wire;
use super::started;
use crate::children::{Crowd, cpu_time_of};
use crate::row::{Contestant, Setup};

/// The number of waiting processes, each with its own connection.
const WAITERS: u64 = 500;
/// The length of one sample.
const SPAN: Duration = Duration::from_millis(500);
/// The time until all processes wait.
const START: Duration = Duration::from_secs(2);

/// The share of a CPU that is used, according to `time`.
fn share(time: impl Fn() -> Result<u64>) -> Result<f64> {
    let (before, started) = (time()?, Instant::now());
    sleep(SPAN);
    let used = time()?.saturating_sub(before);
    Ok(used as f64 / started.elapsed().as_nanos() as f64 * 100.0)
}

pub(super) fn server(setup: &Setup) -> Result<Vec<Contestant>> {
    let manager = started(setup)?;
    let wire = Wire::connect(&manager)?;
    let pid = wire.server()?;
    let sample = move || {
        let _kept = (&manager, &wire);
        share(|| cpu_time_of(&pid))
    };
    Ok(vec![Contestant::new("ours", sample)])
}

/// Measures the server's time, and that of the waiting processes.
fn waiting(setup: &Setup) -> Result<(Contestant, Contestant)> {
    let manager = started(setup)?;
    let pid = Wire::connect(&manager)?.server()?;
    let event = manager.event()?;
    let crowd = Rc::new(Crowd::start(setup, WAITERS, |_| Ok(event.wait()?))?);
    sleep(START);
    anyhow::ensure!(manager.info()?.waiters == WAITERS, "not all wait");
    let kept = (manager, event, Rc::clone(&crowd));
    let server = move || {
        let _kept = &kept;
        share(|| cpu_time_of(&pid))
    };
    let waiters = move || share(|| crowd.cpu_time());
    Ok((Contestant::new("ours", server), Contestant::new("ours", waiters)))
}

pub(super) fn server_of_waiters(setup: &Setup) -> Result<Vec<Contestant>> {
    let (server, waiters) = waiting(setup)?;
    Ok(vec![server, Contestant { name: "all_waiters", ..waiters }])
}

pub(super) fn waiters(setup: &Setup) -> Result<Vec<Contestant>> {
    let (server, waiters) = waiting(setup)?;
    Ok(vec![waiters, Contestant { name: "server", ..server }])
}
