//! Pools: a worker dies at every point and at random moments, and each item has its one result all the same. The pool's own
//! process dies, and no worker is left.

use std::time::Instant;

use mp::{Method, Pool, PoolBuilder, PoolError, RawValue, TaskError};
use mp_sys::crash;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{Random, eventually};

use crate::cell::{HANG, Outcome, define_cells};
use crate::owner::{self, POINTS_MAX};
use crate::starting::{alone, expect_all_ended, expect_no_leaks};

/// Items of a round: a few chunks.
const ITEMS: u64 = 6;
/// The longest time before a pool is killed, in nanoseconds: that of a few rounds.
const LONGEST: u64 = 5_000_000;

fn builder(workers: usize) -> PoolBuilder {
    Pool::builder().workers(workers).method(Method::Fork).chunk(2)
}

fn twice(n: u64) -> u64 {
    2 * n
}

fn is_right(results: &[u64]) -> bool {
    results.iter().copied().eq((0..ITEMS).map(twice))
}

/// The first worker dies at its first point, then at its second, until one survives.
fn worker_at_every_point(_: u32) -> Outcome {
    alone(Method::Fork, |out| {
        for point in 1..POINTS_MAX {
            let before = Snapshot::take();
            crash::descendant_dies_at(1, point);
            let begin = Instant::now();
            let pool = builder(1).start(twice).unwrap();
            let results = pool.map(0..ITEMS).unwrap_or_default();
            let restarts = pool.health().map_or(0, |health| health.restarts);
            out.hangs += u32::from(begin.elapsed() > HANG);
            if !is_right(&results) || pool.close().is_err() {
                eprintln!("point {point}: {results:?}");
                out.torn += 1;
            }
            expect_all_ended(out);
            expect_no_leaks(&before, out);
            if restarts == 0 {
                return;
            }
            out.kills += 1;
        }
        panic!("a worker has {POINTS_MAX} points or more")
    })
}

/// The worker dies at every point of one item, and the item's job is cancelled before the pool knows. It gets an outcome.
fn worker_of_a_cancelled_job(_: u32) -> Outcome {
    alone(Method::Fork, |out| {
        for point in 1..POINTS_MAX {
            let before = Snapshot::take();
            crash::descendant_dies_at(1, point);
            let done = RawValue::new(0_u32).unwrap();
            let begin = |done: RawValue<u32>| move |()| done.store(1);
            let pool = builder(1).start_with(begin, done.clone()).unwrap();
            let mut job = pool.submit(()).unwrap();
            // Neither of these lets the pool go on.
            eventually("the worker has ended", || done.load() == 1 || pool.health().unwrap().alive == 0);
            let is_cancelled = job.cancel().unwrap();
            match job.wait_timeout(HANG) {
                Ok(None) => {
                    eprintln!("point {point}: cancelled: {is_cancelled}, and no outcome");
                    out.hangs += 1;
                }
                Ok(Some(()))
                | Err(PoolError::Task { error: TaskError::Cancelled | TaskError::Crashed { .. }, .. }) => {}
                Err(error) => panic!("{error}"),
            }
            pool.poll().unwrap();
            let restarts = pool.health().unwrap().restarts;
            drop(job);
            drop(pool);
            drop(done);
            expect_all_ended(out);
            expect_no_leaks(&before, out);
            if restarts == 0 {
                return;
            }
            out.kills += u32::try_from(restarts).unwrap();
        }
        panic!("a worker has {POINTS_MAX} points or more")
    })
}

/// Workers die while they work. Every item is reported once, in order.
fn worker_at_random_moments(kills: u32) -> Outcome {
    alone(Method::Fork, |out| {
        const ITEMS_PER_KILL: u32 = 20;
        let before = Snapshot::take();
        let mut random = Random::new();
        let pool = builder(2).tries(u32::MAX).crashes(u32::MAX).start(|n: u32| n + 1).unwrap();
        let mut next = 0;
        for result in pool.map_iter(0..kills * ITEMS_PER_KILL) {
            next += 1;
            if result != Ok(Ok(next)) {
                eprintln!("item {next}: {result:?}");
                out.lost += 1;
            }
            if next % ITEMS_PER_KILL == 0 {
                random.pause(300_000);
                let workers = mp::active_children();
                let victim = usize::try_from(random.below(workers.len().max(1) as u64)).unwrap();
                out.kills += u32::from(workers.get(victim).is_some_and(|worker| worker.kill() == Ok(true)));
            }
        }
        out.lost += u32::from(next != kills * ITEMS_PER_KILL);
        drop(pool);
        expect_all_ended(out);
        expect_no_leaks(&before, out);
    })
}

fn run_a_pool() {
    let pool = builder(2).start(twice).unwrap();
    assert!(is_right(&pool.map(0..ITEMS).unwrap()));
    pool.close().unwrap();
}

/// The pool's process dies at its first point, then at its second, until it survives.
fn owner_at_every_point(_: u32) -> Outcome {
    owner::at_every_point(run_a_pool)
}

/// The pool's process dies while its workers are started, work, and end.
fn owner_at_random_moments(kills: u32) -> Outcome {
    owner::at_random_moments(run_a_pool, LONGEST, kills)
}

define_cells! {
    WORKER_POINTS: "pool", "every_point_of_worker", worker_at_every_point;
    CANCELLED_POINTS: "pool", "every_point_of_worker_of_cancelled_job", worker_of_a_cancelled_job;
    WORKER_MOMENTS: "pool", "worker", worker_at_random_moments;
    OWNER_POINTS: "pool", "every_point_of_owner", owner_at_every_point;
    OWNER_MOMENTS: "pool", "owner", owner_at_random_moments;
}
