//! Children that cannot be left behind: they are killed at their deadline, and when their parent dies.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mp::Child;
use mp_sys::deadline::{Deadline, now_nanos};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shm_core::RawValue;

use crate::row::Setup;

/// How long the processes of one sample may take; the longest takes two seconds on a busy machine.
pub(crate) const SAMPLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a child returns: its result, or its error as text.
type Outcome<R> = Result<R, String>;

/// Runs `body` in a process of its own, for at most `timeout`.
///
/// What `body` made is freed with the process. If it hangs or crashes, it cannot spoil the next measurement.
pub(crate) fn apart<R>(timeout: Duration, body: impl FnOnce() -> Result<R>) -> Result<R>
where
    R: Serialize + DeserializeOwned,
{
    let child = start(body)?;
    finish(&child, Deadline::after(timeout))
}

/// Returns the nanoseconds from the first start to the last end of `count` processes that begin `body` together.
///
/// Each process gets its index, and is pinned to its CPU. The caller sleeps meanwhile.
pub(crate) fn together(setup: &Setup, count: u64, body: impl Fn(u64) -> Result<()>) -> Result<f64> {
    Ok(gathered(setup, count, Ok, body)?.0)
}

/// Does what [`together`] does, and also returns what each process returns. Each first makes what it begins with.
pub(crate) fn gathered<T, R>(
    setup: &Setup,
    count: u64,
    prepare: impl Fn(u64) -> Result<T>,
    body: impl Fn(T) -> Result<R>,
) -> Result<(f64, Vec<R>)>
where
    R: Serialize + DeserializeOwned,
{
    let deadline = Deadline::after(SAMPLE_TIMEOUT);
    let arrived = RawValue::new(0_u64)?;
    let mut children = Vec::new();
    for index in 0..count {
        children.push(start(|| {
            setup.cpus.pin(setup.placement, index)?;
            let prepared = prepare(index)?;
            wait_for_all(&arrived, count, deadline)?;
            let started = now_nanos();
            let result = body(prepared)?;
            Ok((started, now_nanos(), result))
        })?);
    }
    // It waits for all of them, so that none runs on into the next sample if one fails.
    let spans: Vec<_> = children.iter().map(|child| finish(child, deadline)).collect();
    let spans = spans.into_iter().collect::<Result<Vec<_>>>()?;
    let first = spans.iter().map(|(started, ..)| *started).min().unwrap_or(0);
    let last = spans.iter().map(|(_, ended, _)| *ended).max().unwrap_or(0);
    let results = spans.into_iter().map(|(.., result)| result).collect();
    Ok((last.saturating_sub(first) as f64, results))
}

/// Processes that wait for something, until this is dropped: then they are killed.
pub(crate) struct Crowd(Vec<Child<Outcome<()>>>);

impl Crowd {
    /// Starts `count` processes. Each gets its index, and is pinned to its CPU.
    pub(crate) fn start(setup: &Setup, count: u64, body: impl Fn(u64) -> Result<()>) -> Result<Self> {
        let mut crowd = Self(Vec::new());
        for index in 0..count {
            crowd.0.push(start(|| {
                setup.cpus.pin(setup.placement, index)?;
                body(index)
            })?);
        }
        Ok(crowd)
    }

    /// Starts one process, pinned to the CPU of member 1 of the row's processes: a server, whose client is the caller.
    pub(crate) fn peer(setup: &Setup, body: impl FnOnce() -> Result<()>) -> Result<Self> {
        let child = start(|| {
            setup.cpus.pin(setup.placement, 1)?;
            body()
        })?;
        Ok(Self(vec![child]))
    }

    /// The CPU time in nanoseconds that all of them have used since they started.
    pub(crate) fn cpu_time(&self) -> Result<u64> {
        let times = self.0.iter().map(|child| cpu_time_of(&child.pid()));
        times.sum::<Result<u64>>().context("a waiting process has no CPU time")
    }
}

/// The CPU time in nanoseconds that a process has used.
pub(crate) fn cpu_time_of(pid: &impl std::fmt::Display) -> Result<u64> {
    // This is exact to the nanosecond for a sleeping process; the times in `stat` count in ticks.
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = text.split_whitespace().next().context("no CPU time in schedstat")?;
    Ok(nanos.parse()?)
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &self.0 {
            let _ended_already = child.kill();
        }
        for child in &self.0 {
            let _killed = child.join();
        }
    }
}

fn wait_for_all(arrived: &RawValue<u64>, count: u64, deadline: Deadline) -> Result<()> {
    arrived.fetch_add(1);
    while arrived.load() < count {
        if deadline.has_passed() {
            bail!("not all processes of a sample have started");
        }
        // There may be more processes than CPUs, so a waiting process lets the others start.
        std::thread::yield_now();
    }
    Ok(())
}

fn start<R>(body: impl FnOnce() -> Result<R>) -> Result<Child<Outcome<R>>>
where
    R: Serialize + DeserializeOwned,
{
    let tied = || die_with_parent().and_then(|()| body()).map_err(|error| format!("{error:#}"));
    mp::fork(tied).context("a child could not be started")
}

fn finish<R>(child: &Child<Outcome<R>>, deadline: Deadline) -> Result<R>
where
    R: Serialize + DeserializeOwned,
{
    match child.join_timeout(deadline.remaining()) {
        Ok(Some(outcome)) => outcome.map_err(|text| anyhow!(text)),
        Ok(None) => {
            child.kill()?;
            let ended = child.join().err().map_or_else(String::new, |error| format!(": {error}"));
            bail!("a child was still running at its deadline{ended}")
        }
        Err(error) => Err(error).context("a child left no result"),
    }
}

fn die_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("a child cannot be tied to its parent")
}
