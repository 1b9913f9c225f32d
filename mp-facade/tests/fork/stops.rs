//! Programs that are stopped and continued, as by Ctrl-Z and `fg`: the time between does not count in a group.

use std::time::{Duration, Instant};

use mp::{Child, Group, GroupEvent, Keep, RawValue, Slot, StartError};
use mp_sys::testing::{eventually, is_in_state, tests};
use rustix::process::Signal;
use signal_hook::consts::SIGTERM;

use crate::groups::{pids, run_until, send};
use crate::reloads::{started, take};

tests! {
    a_grace_period_does_not_pass_while_the_program_is_stopped,
    a_worker_that_stays_stopped_is_killed,
    a_stop_before_the_end_is_no_excuse,
    a_replacement_has_its_time_although_the_program_was_stopped,
}

/// The time of a worker to become ready, and to end.
const TIME: Duration = Duration::from_secs(1);
const CLOSED: u32 = 0;
const OPEN: u32 = 1;

/// Starts a worker that waits for the gate before it is ready, and ends in order when it is asked to and the gate is open.
fn gated<'a>(gate: &'a RawValue<u32>) -> impl FnMut(&Slot) -> Result<Child<()>, StartError> + use<'a> {
    move |slot| {
        let ready = slot.ready();
        slot.process().fork(move || {
            let is_asked = std::sync::Arc::default();
            signal_hook::flag::register(SIGTERM, std::sync::Arc::clone(&is_asked)).unwrap();
            let wait = || eventually("the gate is open", || gate.load() == OPEN);
            wait();
            ready.set();
            eventually("it is asked to end", || is_asked.load(std::sync::atomic::Ordering::Relaxed));
            wait();
        })
    }
}

fn keep() -> Keep {
    Keep::new(1).grace(TIME).ready_timeout(TIME)
}

fn stop(pid: u32) {
    send(pid, Signal::STOP);
    eventually("it is stopped", || is_in_state(pid, 'T'));
}

/// Lets the time of a worker pass, while the owner of the group does nothing.
fn pass() {
    let begun = Instant::now();
    eventually("its time has passed", || begun.elapsed() > TIME);
}

/// Makes a group with a worker that is ready and cannot end.
fn with_busy_worker(gate: &RawValue<u32>) -> (Group<'_>, u32) {
    let mut group = Group::new().unwrap();
    group.keep("worker", keep(), gated(gate)).unwrap();
    run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
    gate.store(CLOSED);
    let pid = pids(&group)[0];
    (group, pid)
}

fn a_grace_period_does_not_pass_while_the_program_is_stopped() {
    let gate = RawValue::new(OPEN).unwrap();
    // The group is continued after the worker, and before it.
    for is_first in [true, false] {
        gate.store(OPEN);
        let (mut group, pid) = with_busy_worker(&gate);
        group.begin_stop().unwrap();
        stop(pid);
        pass();
        if !is_first {
            assert_eq!(take(&mut group), [], "it has a moment to be continued");
        }
        send(pid, Signal::CONT);
        if is_first {
            assert_eq!(take(&mut group), [], "it has its time again");
        }
        gate.store(OPEN);
        let events = run_until(&mut group, |event| matches!(event, GroupEvent::Stopped { .. }));
        assert!(matches!(events[..], [GroupEvent::Stopped { outcome: Ok(()), .. }]), "{events:?}");
    }
}

fn a_worker_that_stays_stopped_is_killed() {
    let gate = RawValue::new(OPEN).unwrap();
    let (mut group, pid) = with_busy_worker(&gate);
    group.begin_stop().unwrap();
    stop(pid);
    // Both events may come in one call.
    let events = run_until(&mut group, |event| matches!(event, GroupEvent::Stopped { outcome: Err(_), .. }));
    assert!(events.iter().any(|event| matches!(event, GroupEvent::Killed { .. })), "{events:?}");
}

fn a_stop_before_the_end_is_no_excuse() {
    let gate = RawValue::new(OPEN).unwrap();
    let (mut group, pid) = with_busy_worker(&gate);
    stop(pid);
    // This continues it.
    group.begin_stop().unwrap();
    eventually("it goes on", || !is_in_state(pid, 'T'));
    pass();
    let events = take(&mut group);
    assert!(matches!(events[..], [GroupEvent::Killed { .. }, ..]), "{events:?}");
}

fn a_replacement_has_its_time_although_the_program_was_stopped() {
    let gate = RawValue::new(OPEN).unwrap();
    for is_first in [true, false] {
        gate.store(OPEN);
        let mut group = Group::new().unwrap();
        group.keep("worker", keep(), gated(&gate)).unwrap();
        run_until(&mut group, |event| matches!(event, GroupEvent::Ready { .. }));
        gate.store(CLOSED);
        let old = pids(&group);
        group.begin_reload("worker").unwrap();
        let new = started(&take(&mut group))[0];
        stop(new);
        pass();
        if !is_first {
            assert_eq!(take(&mut group), []);
        }
        send(new, Signal::CONT);
        if is_first {
            assert_eq!(take(&mut group), []);
        }
        assert_eq!(pids(&group), old, "the new worker is not ready");
        gate.store(OPEN);
        let events = run_until(&mut group, |event| matches!(event, GroupEvent::Reloaded { .. }));
        assert!(matches!(events[0], GroupEvent::Ready { pid, .. } if pid == new), "{events:?}");
    }
}
