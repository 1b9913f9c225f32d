//! Groups: a worker dies at every point of its start and at random moments, and another one takes its place. The group's own
//! process dies, also during a reload, and no worker is left.

use std::time::Duration;

use mp::{Child, Group, GroupEvent, Keep, Method, Slot, StartError};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{Random, hang};

use crate::cell::{HANG, Outcome, define_cells};
use crate::owner::{self, POINTS_MAX};
use crate::starting::{alone, expect_all_ended, expect_no_leaks};

/// The longest time before a group is killed, in nanoseconds: that of a few rounds.
const LONGEST: u64 = 10_000_000;
const NONE: [&std::fs::File; 0] = [];

/// Starts a worker that says that it is ready, and waits for its end.
fn start(slot: &Slot) -> Result<Child<()>, StartError> {
    let ready = slot.ready();
    slot.process().fork(move || {
        ready.set();
        hang()
    })
}

/// Keeps workers that are replaced at once, as often as they end.
fn keep(workers: usize) -> Keep {
    Keep::new(workers).healthy_after(Duration::ZERO)
}

/// Runs a group until so many workers were started, all of them are ready or have ended, and none is missing. Returns whether
/// that has happened in time.
fn settle(group: &mut Group<'_>, workers: usize, started: &mut usize, expected: usize) -> bool {
    let deadline = Deadline::after(HANG);
    let mut ready = 0;
    while *started < expected || ready == 0 || group.health()[0].pids.len() < workers {
        if deadline.has_passed() {
            return false;
        }
        let ran = group.run(NONE, Duration::from_millis(1), |event| match event {
            GroupEvent::Started { .. } => *started += 1,
            GroupEvent::Ready { .. } => ready += 1,
            _ => {}
        });
        if ran.is_err() {
            return false;
        }
    }
    true
}

/// The first worker dies at its first point, then at its second, until one survives.
fn worker_at_every_point(_: u32) -> Outcome {
    alone(Method::Fork, |out| {
        for point in 1..POINTS_MAX {
            let before = Snapshot::take();
            let mut group = Group::new().unwrap();
            crash::descendant_dies_at(1, point);
            group.keep("worker", keep(1), start).unwrap();
            let first = group.health()[0].pids[0];
            let mut started = 0;
            out.hangs += u32::from(!settle(&mut group, 1, &mut started, 1));
            let survived = started == 1;
            out.lost += u32::from(survived != (group.health()[0].pids == [first]));
            out.torn += u32::from(group.stop().is_err());
            drop(group);
            expect_all_ended(out);
            expect_no_leaks(&before, out);
            if survived {
                return;
            }
            out.kills += 1;
        }
        panic!("a worker has {POINTS_MAX} points or more")
    })
}

/// Workers die while they are started and wait. The recovery is the time until another one is ready.
fn worker_at_random_moments(kills: u32) -> Outcome {
    alone(Method::Fork, |out| {
        const WORKERS: usize = 3;
        let before = Snapshot::take();
        let mut random = Random::new();
        let mut group = Group::new().unwrap();
        group.keep("worker", keep(WORKERS), start).unwrap();
        let mut started = 0;
        out.hangs += u32::from(!settle(&mut group, WORKERS, &mut started, WORKERS));
        for _ in 0..kills {
            random.pause(300_000);
            let victim = usize::try_from(random.below(WORKERS as u64)).unwrap();
            if group.kill("worker", victim) != Ok(true) {
                continue;
            }
            out.kills += 1;
            let expected = started + 1;
            if !settle(&mut group, WORKERS, &mut started, expected) {
                out.hangs += 1;
                break;
            }
            out.duplicated += u32::from(started != expected);
        }
        out.torn += u32::from(group.stop().is_err());
        drop(group);
        expect_all_ended(out);
        expect_no_leaks(&before, out);
    })
}

/// Starts workers, replaces all, kills one, has fewer, and stops.
fn run_a_group() {
    let mut group = Group::new().unwrap();
    group.keep("worker", keep(2), start).unwrap();
    group.reload("worker").unwrap();
    assert_eq!(group.kill("worker", 1), Ok(true));
    let mut is_replaced = false;
    while !is_replaced {
        let note = |event| is_replaced |= matches!(event, GroupEvent::Restarting { .. });
        group.run(NONE, Duration::from_millis(1), note).unwrap();
    }
    group.resize("worker", 1).unwrap();
    group.stop().unwrap();
}

/// The group's process dies at its first point, then at its second, until it survives.
fn owner_at_every_point(_: u32) -> Outcome {
    owner::at_every_point(run_a_group)
}

/// The group's process dies while its workers are started, reloaded, replaced and ended.
fn owner_at_random_moments(kills: u32) -> Outcome {
    owner::at_random_moments(run_a_group, LONGEST, kills)
}

define_cells! {
    WORKER_POINTS: "group", "every_point_of_worker", worker_at_every_point;
    WORKER_MOMENTS: "group", "worker", worker_at_random_moments;
    OWNER_POINTS: "group", "every_point_of_owner", owner_at_every_point;
    OWNER_MOMENTS: "group", "owner", owner_at_random_moments;
}
