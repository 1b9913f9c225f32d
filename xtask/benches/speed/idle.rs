//! Rows about waiting for nothing: the CPU time of 500 processes to which nothing happens.
//!
//! No process sleeps for ever in one go, because a wake-up may be lost when the process that should send it dies.
//! (`Lock` is the exception: the kernel reports the death.) The figure is exact, because the kernel counts it for each
//! process. It is the time of the processes themselves, without the interrupts of the timers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use shm_core::{Barrier, Condition, Event, Lock, Semaphore, Value};

use crate::children::Crowd;
use crate::placement::Placement;
use crate::row::{Contestant, Pick, Row, Setup, Target, Unit};

/// The number of waiting processes.
const WAITERS: u64 = 500;
/// The length of one sample: longer than any process rests (`REST_MAX` of `mp_sys::adaptive`).
const SPAN: Duration = Duration::from_secs(5);
/// The time until all processes wait: 500 processes start on two CPUs, the last of them a second after the first.
const START: Duration = Duration::from_secs(2);

pub(crate) fn rows() -> Vec<Row> {
    let row = |name, enter: fn(&Setup) -> Result<Crowd>| Row {
        name,
        placement: Placement::Any,
        unit: Unit::Percent,
        pick: Pick::Median,
        target: Target::at_most(0.5),
        needs: None,
        enter: Box::new(move |setup: &Setup| Ok(vec![watched(enter(setup)?)])),
    };
    vec![
        row("idle_waiters_500_event", at_event),
        row("idle_waiters_500_condition", at_condition),
        row("idle_waiters_500_semaphore", at_semaphore),
        row("idle_waiters_500_barrier", at_barrier),
        row("idle_waiters_500_lock", at_lock),
    ]
}

/// Measures the CPU time of all processes as a share of the time that passes.
fn watched(crowd: Crowd) -> Contestant {
    sleep(START);
    Contestant::new("ours", move || {
        let (before, started) = (crowd.cpu_time()?, Instant::now());
        sleep(SPAN);
        let used = crowd.cpu_time()?.saturating_sub(before);
        Ok(used as f64 / started.elapsed().as_nanos() as f64 * 100.0)
    })
}

fn at_event(setup: &Setup) -> Result<Crowd> {
    let event = Event::new()?;
    Crowd::start(setup, WAITERS, |_| {
        event.wait();
        Ok(())
    })
}

#[expect(clippy::unwrap_used, reason = "as users write it")]
fn at_condition(setup: &Setup) -> Result<Crowd> {
    let (stock, delivered) = (Value::new(0_u32)?, Condition::new()?);
    Crowd::start(setup, WAITERS, |_| {
        drop(delivered.wait_while(stock.lock().unwrap(), |stock| *stock == 0).unwrap());
        Ok(())
    })
}

/// A living process holds the permit, so that a look for the dead has somebody to ask about.
fn at_semaphore(setup: &Setup) -> Result<Crowd> {
    let semaphore = Semaphore::new(1)?;
    Crowd::start(setup, WAITERS + 1, |_| {
        let _permit = semaphore.acquire();
        park()
    })
}

/// One party never arrives.
fn at_barrier(setup: &Setup) -> Result<Crowd> {
    let parties = usize::try_from(WAITERS)? + 1;
    let barrier = Barrier::new(parties)?;
    Crowd::start(setup, WAITERS, |_| {
        barrier.wait()?;
        Ok(())
    })
}

fn at_lock(setup: &Setup) -> Result<Crowd> {
    let lock = Lock::new()?;
    Crowd::start(setup, WAITERS + 1, |_| {
        let _guard = lock.lock();
        park()
    })
}

/// Keeps what the caller holds until the process is killed.
fn park() -> Result<()> {
    loop {
        std::thread::park();
    }
}
