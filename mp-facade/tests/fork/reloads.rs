//! Groups whose workers are replaced one by one, become more or fewer, or wait in a loop of their owner.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mp::{
    ExitError, Failure, GROUP_WORKERS_MAX, Group, GroupError, GroupEvent, Keep, RawValue, Ready, Slot,
    StartError,
};
use mp_sys::testing::{PATIENCE, eventually, hang, is_in_state, tests};
use rustix::process::Signal;

use crate::groups::{NONE, idle, pids, run_until, send, stubborn};

tests! {
    a_reload_replaces_one_worker_after_the_other,
    a_replacement_that_dies_leaves_the_old_worker,
    a_replacement_that_is_never_ready_takes_over_at_its_time,
    a_worker_killed_during_its_reload_is_replaced_once,
    a_replacement_killed_during_its_reload_ends_the_reload,
    a_reload_of_workers_that_ignore_sigterm,
    a_reload_asked_for_twice_begins_again,
    a_reload_asked_for_while_another_one_fails_begins,
    crashes_before_a_worker_was_healthy_are_forgotten_at_a_reload,
    a_stop_during_a_reload_ends_both_workers,
    workers_become_more_and_fewer,
    a_resize_during_a_reload,
    a_group_in_a_loop_of_its_owner,
}

/// Starts a worker that becomes ready when the gate is open, and aborts if it is closed for good.
fn gated<'a>(gate: &'a RawValue<u32>) -> impl FnMut(&Slot) -> Result<mp::Child<()>, StartError> + use<'a> {
    move |slot| {
        let ready: Ready = slot.ready();
        slot.process().fork(move || -> () {
            while gate.load() == CLOSED {
                std::thread::yield_now();
            }
            if gate.load() == BROKEN {
                std::process::abort();
            }
            ready.set();
            hang()
        })
    }
}

const OPEN: u32 = 0;
const CLOSED: u32 = 1;
const BROKEN: u32 = 2;

pub(crate) fn take(group: &mut Group<'_>) -> Vec<GroupEvent> {
    std::iter::from_fn(|| group.poll().unwrap()).collect()
}

pub(crate) fn started(events: &[GroupEvent]) -> Vec<u32> {
    let pid = |event: &GroupEvent| match event {
        GroupEvent::Started { pid, .. } => Some(*pid),
        _ => None,
    };
    events.iter().filter_map(pid).collect()
}

fn a_reload_replaces_one_worker_after_the_other() {
    let gate = RawValue::new(OPEN).unwrap();
    let mut group = Group::new().unwrap();
    group.keep("a", 3, gated(&gate)).unwrap().keep("b", 1, idle).unwrap();
    let before = pids(&group);
    take(&mut group);
    group.reload("a").unwrap();
    let after = pids(&group);
    assert!(after[..3].iter().all(|pid| !before.contains(pid)) && after[3] == before[3]);
    let events = take(&mut group);
    let steps: Vec<_> = events.iter().filter(|event| event.kind() == "a").collect();
    // The first workers may say that they are ready only now.
    let steps: Vec<_> = steps
        .into_iter()
        .filter(|event| !matches!(event, GroupEvent::Ready { pid, .. } if before.contains(pid)))
        .collect();
    for (index, step) in steps[..9].chunks(3).enumerate() {
        let [
            GroupEvent::Started { place, pid },
            GroupEvent::Ready { pid: ready, .. },
            GroupEvent::Stopped { pid: old, outcome, .. },
        ] = step
        else {
            panic!("{events:?}")
        };
        assert_eq!((place.index(), *pid, *ready, *old), (index, after[index], after[index], before[index]));
        assert_eq!(*outcome, Err(ExitError::Signaled(15)));
    }
    assert!(matches!(steps[9..], [GroupEvent::Reloaded { .. }]));
    assert_eq!(group.health()[0].restarts, 0);
    assert_eq!(group.reload("c"), Err(GroupError::NoSuchKind("c".to_owned())));
}

fn a_replacement_that_dies_leaves_the_old_worker() {
    let gate = RawValue::new(OPEN).unwrap();
    let mut group = Group::new().unwrap();
    group.keep("worker", 2, gated(&gate)).unwrap();
    let mut ready = 0;
    while ready < 2 {
        let events = run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
        ready += events.iter().filter(|event| matches!(event, GroupEvent::Ready { .. })).count();
    }
    let before = pids(&group);
    gate.store(BROKEN);
    let error = group.reload("worker").unwrap_err();
    let GroupError::Reload { place, end } = &error else { panic!("{error}") };
    assert_eq!((place.index(), end), (0, &Failure::Ended(Err(ExitError::Signaled(6)))));
    assert_eq!(pids(&group), before);
    let events = take(&mut group);
    assert!(matches!(events.last(), Some(GroupEvent::NotReloaded { .. })), "{events:?}");
    assert!(group.run(NONE, Duration::ZERO, drop).is_ok());
    // The same workers can be reloaded later.
    gate.store(OPEN);
    group.reload("worker").unwrap();
    assert!(pids(&group).iter().all(|pid| !before.contains(pid)));
}

fn a_replacement_that_is_never_ready_takes_over_at_its_time() {
    let gate = RawValue::new(CLOSED).unwrap();
    let mut group = Group::new().unwrap();
    let patience = Duration::from_millis(60);
    group.keep("worker", Keep::new(1).ready_timeout(patience), gated(&gate)).unwrap();
    let before = pids(&group);
    let begun = Instant::now();
    group.reload("worker").unwrap();
    assert!(begun.elapsed() >= patience);
    assert_ne!(pids(&group), before);
}

/// Begins a reload of one worker whose replacement is not ready, and returns the ids of both.
fn half_reloaded<'a>(gate: &'a RawValue<u32>) -> (Group<'a>, u32, u32) {
    let mut group = Group::new().unwrap();
    group.keep("worker", Keep::new(1).ready_timeout(PATIENCE), gated(gate)).unwrap();
    take(&mut group);
    let old = pids(&group)[0];
    gate.store(CLOSED);
    group.begin_reload("worker").unwrap();
    let new = started(&take(&mut group))[0];
    (group, old, new)
}

fn a_worker_killed_during_its_reload_is_replaced_once() {
    let gate = RawValue::new(CLOSED).unwrap();
    let (mut group, old, new) = half_reloaded(&gate);
    send(old, Signal::KILL);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Exited { .. }));
    assert!(!events.iter().any(|event| matches!(event, GroupEvent::Restarting { .. })), "{events:?}");
    assert_eq!(pids(&group), [new]);
    gate.store(OPEN);
    run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
    assert_eq!((pids(&group), group.health()[0].restarts), (vec![new], 0));
}

fn a_replacement_killed_during_its_reload_ends_the_reload() {
    let gate = RawValue::new(CLOSED).unwrap();
    let (mut group, old, new) = half_reloaded(&gate);
    send(new, Signal::KILL);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::NotReloaded { .. }));
    let end = Failure::Ended(Err(ExitError::Signaled(9)));
    assert!(matches!(events.last(), Some(GroupEvent::NotReloaded { end: found, .. }) if *found == end));
    assert_eq!(pids(&group), [old]);
    // Both at the same time: the place is filled again.
    let (mut group, old, new) = half_reloaded(&gate);
    send(old, Signal::KILL);
    send(new, Signal::KILL);
    gate.store(OPEN);
    let mut events = run_until(&mut group, |event| matches!(event, GroupEvent::NotReloaded { .. }));
    if started(&events).is_empty() {
        events.extend(run_until(&mut group, |event| matches!(event, GroupEvent::Started { .. })));
    }
    assert_eq!(pids(&group), started(&events));
}

fn a_reload_of_workers_that_ignore_sigterm() {
    let mut group = Group::new().unwrap();
    group.keep("worker", Keep::new(2).grace(Duration::from_millis(20)), stubborn).unwrap();
    let before = pids(&group);
    // Before that, a worker does not ignore it yet.
    let is_ready = |event: &GroupEvent| matches!(event, GroupEvent::Ready { .. });
    if run_until(&mut group, is_ready).iter().filter(|event| is_ready(event)).count() < 2 {
        run_until(&mut group, is_ready);
    }
    group.reload("worker").unwrap();
    let killed = take(&mut group).iter().filter(|event| matches!(event, GroupEvent::Killed { .. })).count();
    assert_eq!((killed, pids(&group).len()), (2, 2));
    assert!(pids(&group).iter().all(|pid| !before.contains(pid)));
}

fn a_reload_asked_for_twice_begins_again() {
    let gate = RawValue::new(CLOSED).unwrap();
    let (mut group, old, new) = half_reloaded(&gate);
    group.begin_reload("worker").unwrap();
    gate.store(OPEN);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
    let last = started(&events);
    assert_eq!((last.len(), pids(&group)), (1, last));
    assert!(!pids(&group).contains(&old) && !pids(&group).contains(&new));
}

fn a_reload_asked_for_while_another_one_fails_begins() {
    let gate = RawValue::new(OPEN).unwrap();
    // The replacement ends.
    let (mut group, old, new) = half_reloaded(&gate);
    group.begin_reload("worker").unwrap();
    send(new, Signal::KILL);
    gate.store(OPEN);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
    assert!(events.iter().any(|event| matches!(event, GroupEvent::NotReloaded { .. })), "{events:?}");
    assert!(!pids(&group).contains(&old) && !pids(&group).contains(&new));
    drop(group);

    // A replacement of a later place cannot be started.
    let starts = std::cell::Cell::new(0);
    let mut start = gated(&gate);
    let fourth_fails = |slot: &Slot| {
        starts.set(starts.get() + 1);
        if starts.get() == 4 { Err(StartError::Killed) } else { start(slot) }
    };
    let mut group = Group::new().unwrap();
    group.keep("worker", Keep::new(2).ready_timeout(PATIENCE), fourth_fails).unwrap();
    let before = pids(&group);
    gate.store(CLOSED);
    group.begin_reload("worker").unwrap();
    group.begin_reload("worker").unwrap();
    gate.store(OPEN);
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
    assert!(events.iter().any(|event| matches!(event, GroupEvent::NotReloaded { .. })), "{events:?}");
    assert!(pids(&group).iter().all(|pid| !before.contains(pid)));
}

fn crashes_before_a_worker_was_healthy_are_forgotten_at_a_reload() {
    const HEALTHY: Duration = Duration::from_secs(1);
    let gate = RawValue::new(OPEN).unwrap();
    let mut group = Group::new().unwrap();
    let keep = Keep::new(1).crashes(2).healthy_after(HEALTHY).pause(Duration::ZERO, Duration::ZERO);
    group.keep("worker", keep, gated(&gate)).unwrap();
    let first = pids(&group)[0];
    send(first, Signal::KILL);
    run_until(&mut group, |event| matches!(event, GroupEvent::Ready { pid, .. } if *pid != first));
    let begun = Instant::now();
    eventually("the worker is healthy", || begun.elapsed() > HEALTHY);
    group.reload("worker").unwrap();
    send(pids(&group)[0], Signal::KILL);
    // Another crash in a row would be one too many.
    run_until(&mut group, |event| matches!(event, GroupEvent::Restarting { .. }));
}

fn a_stop_during_a_reload_ends_both_workers() {
    let gate = RawValue::new(CLOSED).unwrap();
    let (mut group, old, new) = half_reloaded(&gate);
    group.stop().unwrap();
    let stopped = |event: GroupEvent| match event {
        GroupEvent::Stopped { pid, .. } => Some(pid),
        _ => None,
    };
    let ended: HashSet<u32> = take(&mut group).into_iter().filter_map(stopped).collect();
    assert_eq!(ended, HashSet::from([old, new]));
    assert_eq!(group.reload("worker"), Err(GroupError::Stopping));
}

fn workers_become_more_and_fewer() {
    let mut group = Group::new().unwrap();
    group.keep("worker", 1, idle).unwrap();
    let first = pids(&group);
    group.resize("worker", 4).unwrap();
    let four = pids(&group);
    assert_eq!((four.len(), four[0]), (4, first[0]));
    group.resize("worker", 2).unwrap();
    assert_eq!(pids(&group), four[..2]);
    // The places are there again, with other workers, while the old ones still end.
    group.resize("worker", 3).unwrap();
    assert_eq!(pids(&group).len(), 3);
    group.resize("worker", 0).unwrap();
    assert!(!group.is_over(), "workers may become more again");
    assert_eq!(group.resize("none", 1), Err(GroupError::NoSuchKind("none".to_owned())));
    let too_many = GROUP_WORKERS_MAX + 1;
    assert!(
        matches!(group.resize("worker", too_many), Err(GroupError::Settings(why)) if why.contains("GROUP_WORKERS_MAX"))
    );
    let refused =
        [Keep::new(too_many), Keep::new(1).crashes(0), Keep::new(1).pause(PATIENCE, Duration::ZERO)];
    for keep in refused {
        assert!(matches!(group.keep("other", keep, idle).map(drop), Err(GroupError::Settings(_))));
    }
    // The limit itself is accepted: without processes, because the first start fails.
    let failed = group.keep("limit", GROUP_WORKERS_MAX, |_| Err::<mp::Child<()>, _>(StartError::Killed));
    assert!(matches!(failed.map(drop), Err(GroupError::Start { .. })));
    group.stop().unwrap();
    assert!(mp::active_children().is_empty());
}

fn a_resize_during_a_reload() {
    let gate = RawValue::new(CLOSED).unwrap();
    let (mut group, old, new) = half_reloaded(&gate);
    group.resize("worker", 0).unwrap();
    assert!(pids(&group).is_empty());
    group.resize("worker", 1).unwrap();
    gate.store(OPEN);
    run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
    assert!(!pids(&group).contains(&old) && !pids(&group).contains(&new));
    assert_eq!(pids(&group).len(), 1);
}

fn a_group_in_a_loop_of_its_owner() {
    let mut group = Group::new().unwrap();
    let keep = Keep::new(2)
        .pause(Duration::from_millis(20), Duration::from_millis(20))
        .grace(Duration::from_millis(20));
    group.keep("worker", keep, stubborn).unwrap();
    let mut events = Vec::new();
    // Every moment at which there is something to do makes the descriptor readable: an event, an end, and the time.
    let mut seen = 0;
    let mut step = |group: &mut Group<'_>, is_last: fn(&GroupEvent) -> bool| {
        loop {
            // An earlier step may have taken the event already.
            if let Some(found) = events[seen..].iter().position(is_last) {
                seen += found + 1;
                break;
            }
            assert_eq!(mp::wait([&*group], PATIENCE).unwrap(), [0]);
            events.extend(std::iter::from_fn(|| group.poll().unwrap()));
        }
    };
    step(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
    let pid = pids(&group)[0];
    send(pid, Signal::KILL);
    step(&mut group, |event| matches!(event, GroupEvent::Restarting { .. }));
    step(&mut group, |event| matches!(event, GroupEvent::Started { .. }));
    group.resize("worker", 3).unwrap();
    step(&mut group, |event| matches!(event, GroupEvent::Started { .. }));
    step(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
    group.begin_stop().unwrap();
    step(&mut group, |event| matches!(event, GroupEvent::Stopped { .. }));
    while !group.is_over() {
        step(&mut group, |event| matches!(event, GroupEvent::Stopped { .. }));
    }
    // The rest of the time it is not: the loop sleeps.
    while group.poll().unwrap().is_some() {}
    assert!(mp::wait([&group], Duration::ZERO).unwrap().is_empty());
    assert!(!is_in_state(pid, 'Z'), "it was reaped");
}
