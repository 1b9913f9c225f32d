//! A lock that one client takes and releases.

use anyhow::{Result, anyhow};
use manager_rt::proto::{LockOp, Op, Reply};

use super::round_trips::{Echo, for_sleepers, lens, of_python, repeated};
use super::started;
use crate::reference::raw_stream::serve;
use crate::row::{Contestant, Setup};

const PAIRS: u64 = 20_000;

pub(super) fn pair(setup: &Setup) -> Result<Vec<Contestant>> {
    let times = setup.scale.of(PAIRS);
    let manager = started(setup)?;
    let lock = manager.lock()?;
    let ours = repeated("ours", times, move || {
        let _kept = &manager;
        drop(lock.lock().map_err(|error| anyhow!("a lock was not taken: {error}"))?);
        Ok(())
    });
    let granted = Reply::Granted { token: 1, owner_died: false, timed_out: false };
    let mut acquire = Echo::start(setup, lens(Op::Lock(LockOp::Acquire { lease: 0 }), &granted)?, serve)?;
    let mut release = Echo::start(setup, lens(Op::Lock(LockOp::Release { token: 1 }), &Reply::Done)?, serve)?;
    let times = for_sleepers(setup, PAIRS);
    let raw = repeated("two_raw_streams", times, move || {
        acquire.ask()?;
        release.ask()
    });
    let mut contestants = vec![ours, raw];
    contestants.extend(of_python(setup, "lock = manager.Lock()", "lock.acquire(); lock.release()"));
    Ok(contestants)
}
