//! Groups whose workers are killed, stopped, or end in other ways.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mp::{ExitError, Group, GroupError, GroupEvent, Keep, Slot, StartError, pipe};
use mp_sys::testing::{PATIENCE, hang, tests};
use rustix::process::{Pid, Signal, kill_process};

use crate::processes::with_orphans;

tests! {
    a_stopped_worker_can_end_in_order,
    run_returns_when_a_source_is_ready_and_at_its_timeout,
    a_forked_child_does_not_disturb_the_group,
    workers_end_with_a_killed_parent,
}

pub(crate) const NONE: [&std::fs::File; 0] = [];

pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Runs a group until an event for which `is_last` holds, and returns all events with it.
pub(crate) fn run_until(group: &mut Group<'_>, is_last: impl Fn(&GroupEvent) -> bool) -> Vec<GroupEvent> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while !events.iter().any(&is_last) {
        assert!(Instant::now() < deadline, "{events:?}");
        group.run(NONE, Duration::from_millis(20), |event| events.push(event)).unwrap();
    }
    events
}

pub(crate) fn pids(group: &Group<'_>) -> Vec<u32> {
    group.health().into_iter().flat_map(|kind| kind.pids).collect()
}

pub(crate) fn idle(slot: &Slot) -> Result<mp::Child<()>, StartError> {
    slot.process().fork(|| hang())
}

fn a_stopped_worker_can_end_in_order() {
    let mut group = Group::new().unwrap();
    group.keep("worker", Keep::new(1).grace(PATIENCE), idle).unwrap();
    send(pids(&group)[0], Signal::STOP);
    group.begin_stop().unwrap();
    let mut events = Vec::new();
    group.run(NONE, PATIENCE, |event| events.push(event)).unwrap();
    let stopped = |event: &GroupEvent| {
        matches!(event, GroupEvent::Stopped { outcome: Err(ExitError::Signaled(15)), .. })
    };
    assert!(events.iter().any(stopped), "{events:?}");
}

fn run_returns_when_a_source_is_ready_and_at_its_timeout() {
    let mut group = Group::new().unwrap();
    group.keep("worker", 1, idle).unwrap();
    let ((tx, rx), (_quiet, silent)) = (pipe::<u8>().unwrap(), pipe::<u8>().unwrap());
    let sources = || [("quiet", &silent as &dyn AsFd), ("busy", &rx)];
    assert!(group.run(sources(), Duration::from_millis(5), drop).unwrap().is_empty());
    tx.send(&1).unwrap();
    assert_eq!(group.run(sources(), PATIENCE, drop), Ok(vec!["busy"]));
    assert_eq!(group.run([&rx], PATIENCE, drop), Ok(vec![0]));
}

fn a_forked_child_does_not_disturb_the_group() {
    let group = RefCell::new(Group::new().unwrap());
    group.borrow_mut().keep("worker", 1, idle).unwrap();
    let child = mp::fork(|| {
        let mut group = group.borrow_mut();
        let errors = [
            group.run(NONE, PATIENCE, drop).err(),
            group.poll().err(),
            group.stop().err(),
            group.keep("more", 1, idle).err(),
        ];
        let own = Group::new().map(|mut own| own.keep("own", 1, idle).map(drop));
        (errors.map(|error| error == Some(GroupError::NotParent)), own == Ok(Ok(())))
    });
    assert_eq!(child.unwrap().join(), Ok(([true; 4], true)));
    let mut group = group.into_inner();
    assert!(group.run(NONE, Duration::ZERO, drop).is_ok());
    send(pids(&group)[0], Signal::KILL);
    run_until(&mut group, |event| matches!(event, GroupEvent::Exited { .. }));
}

fn workers_end_with_a_killed_parent() {
    with_orphans(|| {
        let (held, ends) = pipe::<u8>().unwrap();
        let parent = mp::fork_with(held, |held| -> () {
            let mut group = Group::new().unwrap();
            let start = |slot: &Slot| {
                let held = &held;
                slot.process().fork(move || -> () {
                    held.send(&1).unwrap();
                    hang()
                })
            };
            group.keep("worker", 3, start).unwrap();
            loop {
                group.run(NONE, Duration::MAX, drop).unwrap();
            }
        });
        let parent = parent.unwrap();
        for _ in 0..3 {
            assert_eq!(ends.recv_timeout(PATIENCE), Ok(1));
        }
        parent.kill().unwrap();
        assert_eq!(ends.recv_timeout(PATIENCE), Err(mp::RecvError::Closed), "no worker holds the other end");
        assert!(parent.join().is_err());
    });
}
