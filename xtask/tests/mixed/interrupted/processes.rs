//! Children, and the fork server.

use mp::{Event, Group, Keep, Method, Pool, Process, StartError, TaskError, active_children};
use mp_sys::testing::{eventually, hang};
use rustix::process::{Pid, Signal, kill_process};

use super::{Case, Storm, TIMEOUT};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case { file: "mp-facade/src/child.rs", method: "join_timeout", run: join_timeout },
        Case { file: "mp-facade/src/child.rs", method: "join_timeout", run: served_join_timeout },
        Case { file: "mp-facade/src/child.rs", method: "join", run: join },
        Case { file: "mp-facade/src/child.rs", method: "join", run: served_join },
        Case { file: "mp-facade/src/child.rs", method: "join", run: join_beside_a_stopped_server },
        Case { file: "mp-facade/src/child.rs", method: "join_timeout", run: start_by_a_stopped_server },
        Case { file: "mp-facade/src/pool/job.rs", method: "wait_timeout", run: job },
        Case { file: "mp-facade/src/pool/builder.rs", method: "timeout", run: late_item },
        Case { file: "mp-facade/src/group.rs", method: "run", run: group_run },
        Case { file: "mp-facade/src/group/keep.rs", method: "ready_timeout", run: replacement_not_ready },
        Case { file: "mp-facade/src/active.rs", method: "wait_timeout", run: active },
        Case { file: "mp-facade/src/current.rs", method: "wait_timeout", run: parent },
    ]
}

fn join_timeout(storm: Storm) {
    let child = mp::fork(|| -> () { hang() }).unwrap();
    storm.outlasts(|timeout| child.join_timeout(timeout) == Ok(None));
    child.kill().unwrap();
    child.join().unwrap_err();
}

fn job(storm: Storm) {
    let pool = Pool::builder().workers(1).method(Method::Fork).start(|_: u32| -> () { hang() }).unwrap();
    let mut job = pool.submit(1).unwrap();
    storm.outlasts(|timeout| job.wait_timeout(timeout) == Ok(None));
}

fn late_item(storm: Storm) {
    storm.outlasts(|timeout| {
        let late = Pool::builder().workers(1).timeout(timeout).map_each(&[1], |_| -> () { hang() });
        late == Ok(vec![Err(TaskError::TimedOut(timeout))])
    });
}

const NONE: [&std::fs::File; 0] = [];

fn group_run(storm: Storm) {
    let mut group = Group::new().unwrap();
    group.keep("worker", 1, |slot| slot.process().fork(|| -> () { hang() })).unwrap();
    storm.outlasts(|timeout| group.run(NONE, timeout, drop) == Ok(vec![]));
}

fn replacement_not_ready(storm: Storm) {
    storm.outlasts(|timeout| {
        let start = |slot: &mp::Slot| {
            let _never_set = slot.ready();
            slot.process().fork(|| -> () { hang() })
        };
        let mut group = Group::new().unwrap();
        group.keep("worker", Keep::new(1).ready_timeout(timeout), start).unwrap();
        group.reload("worker") == Ok(())
    });
}

fn served() -> Process {
    Process::new().method(Method::ForkServer)
}

fn worker(ends: bool) {
    let event = Event::new().unwrap();
    if ends {
        assert!(!event.wait_timeout(TIMEOUT));
    } else {
        hang();
    }
}

fn served_join_timeout(storm: Storm) {
    let child = served().start(worker, false).unwrap();
    storm.outlasts(|timeout| child.join_timeout(timeout) == Ok(None));
    child.kill().unwrap();
    child.join().unwrap_err();
    mp::release_unused_memory();
}

fn join(storm: Storm) {
    let child = mp::fork(|| worker(true)).unwrap();
    storm.ends(|| child.join() == Ok(()));
}

fn served_join(storm: Storm) {
    let child = served().start(worker, true).unwrap();
    storm.ends(|| child.join() == Ok(()));
    mp::release_unused_memory();
}

/// Continues the server, and ends it once it has no children left to reap.
fn go_on() {
    signal_server(Signal::CONT);
    // The server works in order, so the earlier requests are done.
    served().start(worker, true).unwrap().join().unwrap();
    let server = mp_sys::forkserver::server_pid().unwrap();
    let children = format!("/proc/{server}/task/{server}/children");
    eventually("all were reaped", || std::fs::read_to_string(&children).is_ok_and(|ids| ids.is_empty()));
    mp::release_unused_memory();
}

fn signal_server(signal: Signal) {
    let server = mp_sys::forkserver::server_pid().and_then(|pid| Pid::from_raw(pid.try_into().unwrap()));
    kill_process(server.unwrap(), signal).unwrap();
}

/// No process reports how the child ended; the wait for it lasts at most a second.
fn join_beside_a_stopped_server(storm: Storm) {
    let child = served().start(worker, true).unwrap();
    signal_server(Signal::STOP);
    storm.ends(|| child.join() == Ok(()));
    go_on();
}

/// There is no answer; the wait for it lasts at most a second.
fn start_by_a_stopped_server(storm: Storm) {
    let child = served().start(worker, true).unwrap();
    child.join().unwrap();
    signal_server(Signal::STOP);
    storm.ends(|| matches!(served().start(worker, true), Err(StartError::ServerSilent { .. })));
    go_on();
}

fn active(storm: Storm) {
    let child = mp::fork(|| -> () { hang() }).unwrap();
    let active = active_children();
    storm.outlasts(|timeout| active[0].wait_timeout(timeout) == Ok(false));
    child.kill().unwrap();
    child.join().unwrap_err();
}

fn parent(storm: Storm) {
    let child = mp::fork(|| {
        let parent = mp::parent_process().unwrap().expect("it was started by this library");
        storm.outlasts(|timeout| parent.wait_timeout(timeout) == Ok(false));
    });
    child.unwrap().join().unwrap();
}
