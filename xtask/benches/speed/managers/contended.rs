//! One lock in Redis that eight processes take and release all the time, beside the crate `rslock` with its own settings.
//!
//! A process of `rslock` that finds the lock taken tries again after a random time of up to 0.2 s. So whoever has released it mostly takes it
//! again, while the others sleep, and the shares differ.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use manager_rt::Manager;
use rslock::LockManager;

use super::redis::Redis;
use super::round_trips::keeping;
use crate::children::gathered;
use crate::row::{Contestant, Setup, per_operation};

const PROCESSES: u64 = 8;
/// How long each process takes the lock, in milliseconds.
const SPAN_MILLIS: u64 = 500;
/// How long `rslock` lets a process have the lock that has died.
const LEASE: Duration = Duration::from_secs(10);

/// Microseconds per acquisition of all processes together.
pub(super) fn time(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, |nanos, counts| per_operation(nanos / 1e3, counts.iter().sum()))
}

/// By how many percent of the largest share the smallest one is smaller.
pub(super) fn difference(setup: &Setup) -> Result<Vec<Contestant>> {
    contestants(setup, |_, counts| {
        let most = counts.iter().max().copied().unwrap_or(1).max(1) as f64;
        let least = counts.iter().min().copied().unwrap_or(0) as f64;
        (most - least) / most * 100.0
    })
}

fn contestants(setup: &Setup, figure: fn(f64, &[u64]) -> f64) -> Result<Vec<Contestant>> {
    let redis = Redis::start(setup)?;
    let socket = redis.socket().display().to_string();
    let manager = Manager::connect(&format!("redis+unix://{socket}?ns=bench"))?;
    let lock = manager.lock()?;
    let span = Duration::from_millis(setup.scale.of(SPAN_MILLIS));
    let ours_setup = setup.clone();
    let ours = move || {
        let take = || {
            drop(lock.lock().map_err(|error| anyhow!("a lock was not taken: {error}"))?);
            Ok(())
        };
        // The first call makes the connection and the session.
        let (nanos, counts) = gathered(&ours_setup, PROCESSES, |_| take(), |()| count(span, take))?;
        Ok(figure(nanos, &counts))
    };
    let setup = setup.clone();
    let rslock = move || {
        let prepare = |_| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok((runtime, LockManager::new(vec![format!("redis+unix://{socket}")])))
        };
        let (nanos, counts) = gathered(&setup, PROCESSES, prepare, |(runtime, locks)| {
            count(span, || {
                runtime.block_on(async {
                    let held = locks.acquire_no_guard(b"lock", LEASE).await.context("rslock has no lock")?;
                    locks.unlock(&held).await;
                    Ok(())
                })
            })
        })?;
        Ok(figure(nanos, &counts))
    };
    let kept = (manager, redis);
    Ok(vec![
        Contestant { name: "ours", sample: keeping(kept, Box::new(ours)) },
        Contestant::new("rslock", rslock),
    ])
}

/// Returns how often something can be done in this time.
fn count(span: Duration, mut action: impl FnMut() -> Result<()>) -> Result<u64> {
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < span {
        action()?;
        count += 1;
    }
    Ok(count)
}
