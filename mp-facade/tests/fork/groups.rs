//! Groups whose workers are killed, stopped, or end in other ways.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mp::{
    ExitError, Failure, Group, GroupError, GroupEvent, Keep, OnReturn, Process, RawValue, Slot, StartError,
    pipe,
};
use mp_sys::deadline::TICK_MAX;
use mp_sys::testing::{PATIENCE, eventually, hang, is_in_state, tests};
use rustix::process::{Pid, Signal, kill_process};

use crate::processes::with_orphans;

tests! {
    a_killed_worker_is_replaced_in_its_place,
    workers_of_each_method_are_kept,
    a_crash_loop_ends_the_group_and_says_what_crashed,
    pauses_between_crashes_grow,
    a_worker_that_was_healthy_is_replaced_at_once,
    workers_that_return_are_replaced_or_have_finished,
    a_worker_that_ignores_sigterm_is_killed_after_its_grace,
    a_stopped_worker_can_end_in_order,
    a_start_that_fails_ends_nothing_that_runs,
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

fn a_killed_worker_is_replaced_in_its_place() {
    let mut group = Group::new().unwrap();
    group.keep("a", 2, idle).unwrap().keep("b", 1, idle).unwrap();
    let before = pids(&group);
    assert_eq!(before.len(), 3);
    send(before[1], Signal::KILL);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Restarting { .. }));
    let exited = events.iter().find_map(|event| match event {
        GroupEvent::Exited { place, pid, outcome } => Some((place.to_string(), *pid, outcome.clone())),
        _ => None,
    });
    assert_eq!(exited, Some(("a 1".to_owned(), before[1], Err(ExitError::Signaled(9)))));
    let started = run_until(&mut group, |event| matches!(event, GroupEvent::Started { .. }));
    let after = pids(&group);
    assert_eq!((after[0], after[2]), (before[0], before[2]));
    let place = match &started[0] {
        GroupEvent::Started { place, pid } if *pid == after[1] => (place.kind().to_owned(), place.index()),
        event => panic!("{event}"),
    };
    assert_eq!(place, ("a".to_owned(), 1));
    let health = group.health();
    assert_eq!((health[0].restarts, health[1].restarts), (1, 0));
    assert_eq!(health[0].last_failure.as_ref().unwrap().1, Failure::Ended(Err(ExitError::Signaled(9))));
    group.stop().unwrap();
    assert!(group.is_over() && mp::active_children().is_empty());
}

fn workers_of_each_method_are_kept() {
    for method in crate::METHODS {
        let mut group = Group::new().unwrap();
        let start = |slot: &Slot| {
            let work = |ready: mp::Ready| -> () {
                ready.set();
                hang()
            };
            slot.process().method(method).start(work, slot.ready())
        };
        group.keep("worker", 2, start).unwrap();
        let events = run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
        assert!(
            matches!(events[..2], [GroupEvent::Started { .. }, GroupEvent::Started { .. }]),
            "{method:?}"
        );
        send(pids(&group)[0], Signal::KILL);
        run_until(&mut group, |event| matches!(event, GroupEvent::Started { .. }));
        drop(group);
        assert!(mp::active_children().is_empty(), "{method:?}");
    }
}

fn a_crash_loop_ends_the_group_and_says_what_crashed() {
    let mut group = Group::new().unwrap();
    group.keep("good", 1, idle).unwrap();
    let good = pids(&group);
    let keep = Keep::new(1).crashes(3).pause(Duration::from_millis(1), Duration::from_millis(2));
    group.keep("bad", keep, |slot| slot.process().fork(|| -> () { std::process::abort() })).unwrap();
    let mut events = Vec::new();
    let error = group.run(NONE, PATIENCE, |event| events.push(event)).unwrap_err();
    let GroupError::Crashes { place, crashes: 3, end } = &error else { panic!("{error}") };
    assert_eq!((place.kind(), end), ("bad", &Failure::Ended(Err(ExitError::Signaled(6)))));
    assert!(
        error.to_string().contains("3 workers of bad 0") && error.to_string().contains("SIGABRT"),
        "{error}"
    );
    let exits = events.iter().filter(|event| matches!(event, GroupEvent::Exited { .. })).count();
    assert_eq!(exits, 3);
    // The others were asked to end.
    assert_eq!(group.keep("more", 1, idle).map(drop), Err(GroupError::Stopping));
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Stopped { .. }));
    assert!(matches!(&events[0], GroupEvent::Stopped { pid, .. } if *pid == good[0]), "{events:?}");
    assert!(group.is_over());
}

fn pauses_between_crashes_grow() {
    let mut group = Group::new().unwrap();
    let keep = Keep::new(1).pause(Duration::from_millis(1), Duration::from_millis(4)).crashes(6);
    group.keep("bad", keep, |slot| slot.process().fork(|| -> () { std::process::abort() })).unwrap();
    let mut pauses = Vec::new();
    let failed = group.run(NONE, PATIENCE, |event| {
        if let GroupEvent::Restarting { after, .. } = event {
            pauses.push(after.as_millis());
        }
    });
    assert!(failed.is_err());
    assert_eq!(pauses, [1, 2, 4, 4, 4]);
}

fn a_worker_that_was_healthy_is_replaced_at_once() {
    let mut group = Group::new().unwrap();
    // Without this, the fourth crash would be one too many.
    let keep = Keep::new(1).healthy_after(Duration::ZERO).pause(PATIENCE, PATIENCE).crashes(1);
    group.keep("worker", keep, idle).unwrap();
    for _ in 0..4 {
        send(pids(&group)[0], Signal::KILL);
        let events = run_until(&mut group, |event| matches!(event, GroupEvent::Restarting { .. }));
        assert!(
            events.iter().any(|event| matches!(event, GroupEvent::Restarting { after: Duration::ZERO, .. }))
        );
        let is_started = |event: &GroupEvent| matches!(event, GroupEvent::Started { .. });
        if !events.iter().skip_while(|event| !matches!(event, GroupEvent::Exited { .. })).any(is_started) {
            run_until(&mut group, is_started);
        }
    }
    assert_eq!(group.health()[0].restarts, 4);
}

fn workers_that_return_are_replaced_or_have_finished() {
    let runs = RawValue::new(0_u32).unwrap();
    let work = || {
        runs.fetch_add(1);
    };
    let mut group = Group::new().unwrap();
    let keep = Keep::new(3).on_return(OnReturn::Finish);
    group.keep("once", keep, |slot| slot.process().fork(work)).unwrap();
    assert!(!group.is_over());
    let keys = group.run(NONE, PATIENCE, drop).unwrap();
    assert!(group.is_over() && keys.is_empty());
    assert_eq!(runs.load(), 3);
    assert_eq!(group.health()[0].workers, 0);

    let keep = Keep::new(1).pause(Duration::from_millis(1), Duration::from_millis(1)).crashes(u32::MAX);
    group.keep("again", keep, |slot| slot.process().fork(work)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while runs.load() < 6 {
        assert!(Instant::now() < deadline);
        group.run(NONE, Duration::from_millis(5), drop).unwrap();
    }
}

/// Ignores SIGTERM from the moment when it says that it is ready.
pub(crate) fn stubborn(slot: &Slot) -> Result<mp::Child<()>, StartError> {
    let ready = slot.ready();
    slot.process().fork(move || -> () {
        mp_sys::testing::block_termination();
        ready.set();
        hang()
    })
}

fn a_worker_that_ignores_sigterm_is_killed_after_its_grace() {
    let mut group = Group::new().unwrap();
    let grace = Duration::from_millis(30);
    group.keep("stubborn", Keep::new(1).grace(grace), stubborn).unwrap().keep("good", 1, idle).unwrap();
    run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
    let asked = Instant::now();
    group.begin_stop().unwrap();
    let mut events = Vec::new();
    group.run(NONE, PATIENCE, |event| events.push(event)).unwrap();
    assert!(group.is_over() && asked.elapsed() >= grace);
    let end_of = |kind: &str| {
        let outcome = events.iter().find_map(|event| match event {
            GroupEvent::Stopped { place, outcome, .. } if place.kind() == kind => Some(outcome.clone()),
            _ => None,
        });
        outcome.unwrap()
    };
    assert_eq!(end_of("stubborn"), Err(ExitError::Signaled(9)));
    assert_eq!(end_of("good"), Err(ExitError::Signaled(15)));
    let killed = events.iter().filter(|event| matches!(event, GroupEvent::Killed { .. }));
    assert_eq!(killed.map(GroupEvent::kind).collect::<Vec<_>>(), ["stubborn"]);
}

/// Returns when it gets SIGTERM.
fn obedient(slot: &Slot) -> Result<mp::Child<()>, StartError> {
    let ready = slot.ready();
    slot.process().fork(move || {
        let is_asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&is_asked)).unwrap();
        ready.set();
        while !is_asked.load(Ordering::Relaxed) {
            std::thread::sleep(TICK_MAX);
        }
    })
}

fn a_stopped_worker_can_end_in_order() {
    let mut group = Group::new().unwrap();
    group.keep("worker", Keep::new(1).grace(Duration::from_secs(5)), obedient).unwrap();
    run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
    let pid = pids(&group)[0];
    send(pid, Signal::STOP);
    eventually("it is stopped", || is_in_state(pid, 'T'));
    group.begin_stop().unwrap();
    let mut events = Vec::new();
    group.run(NONE, PATIENCE, |event| events.push(event)).unwrap();
    // Without SIGCONT, the handler would never run, and the group would kill the worker in the end.
    assert!(
        events.iter().any(|event| matches!(event, GroupEvent::Stopped { outcome: Ok(()), .. })),
        "{events:?}"
    );
}

fn a_start_that_fails_ends_nothing_that_runs() {
    let can = RefCell::new(true);
    let mut group = Group::new().unwrap();
    group.keep("good", 1, idle).unwrap();
    let place = |error: GroupError| match error {
        GroupError::Start { place, error: StartError::Name } => place.to_string(),
        error => panic!("{error}"),
    };
    let bad = |slot: &Slot| match slot.index() {
        0 => idle(slot),
        _ => Process::new().name("a\0b").fork(|| ()),
    };
    assert_eq!(group.keep("bad", 3, bad).map(drop).map_err(place), Err("bad 1".to_owned()));
    assert_eq!(group.health().len(), 1);
    assert_eq!(group.keep("good", 1, idle).map(drop), Err(GroupError::KindExists("good".to_owned())));
    // Later, it is tried again after a pause, up to the limit.
    let sometimes = |slot: &Slot| if *can.borrow() { idle(slot) } else { Err(StartError::Killed) };
    let keep = Keep::new(1).pause(Duration::from_millis(1), Duration::from_millis(1)).crashes(3);
    group.keep("sometimes", keep, sometimes).unwrap();
    *can.borrow_mut() = false;
    send(pids(&group)[1], Signal::KILL);
    let error = group.run(NONE, PATIENCE, drop).unwrap_err();
    assert!(
        matches!(
            &error,
            GroupError::Crashes { crashes: 3, end: Failure::NotStarted(StartError::Killed), .. }
        ),
        "{error}"
    );
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
            group.resize("worker", 0).err(),
            group.keep("more", 1, idle).err(),
        ];
        let own = Group::new().map(|mut own| own.keep("own", 1, idle).map(drop));
        (errors.map(|error| error == Some(GroupError::NotParent)), own == Ok(Ok(())))
    });
    assert_eq!(child.unwrap().join(), Ok(([true; 5], true)));
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
