//! Processes are killed at every counted point on the way: the starter, the started process, and the fork server
//! between them.

use mp::{Child, ExitError, Method, StartError, pipe};
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::forkserver::server_pid;
use mp_sys::testing::{is_in_state, spawn};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{
    Case, Round, alone, end, expect_end, expect_value_or, is_server_idle, start, start_another, start_in_time,
};
use crate::cell::{HANG, Outcome, define_cells, is_asleep};

/// No start has this many points. A cell that reaches this number would never end.
const POINTS_MAX: u64 = 400;

/// Lets one process die at its first point, then at its second, and so on until one survives, in every case of a
/// method.
fn at_every_point(method: Method, round: impl Fn(Case, u64, &mut Outcome) -> bool) -> Outcome {
    alone(method, |out| {
        for case in Case::all(method) {
            let survives = |point: &u64| round(case, *point, out);
            let last = (1..POINTS_MAX).find(survives).expect("a start has fewer points");
            out.kills += u32::try_from(last - 1).unwrap();
        }
    })
}

/// The starter dies. Nothing is left of what it had begun to start, or a process that runs to its end. Nothing is left
/// of a process that must die with it. Returns whether the starter survived.
fn starter_dies(case: Case, point: u64, out: &mut Outcome) -> bool {
    let (round, args) = Round::new(case);
    let starter = spawn(|| {
        crash::die_at(point);
        let child = start(case, &args).unwrap();
        if case.dies {
            child.kill().unwrap();
        }
        let told = child.join_timeout(HANG);
        crash::die_at(0);
        assert_eq!(told, if case.dies { Err(ExitError::Signaled(9)) } else { Ok(Some(case.value())) });
    });
    drop(args);
    let survived = match expect_end(&starter, out) {
        Some(Ended::Signaled(9)) | None => false,
        Some(Ended::Exited(0)) => true,
        Some(other) => {
            eprintln!("{case:?}: the starter ended by {other:?}");
            out.torn += 1;
            false
        }
    };
    drop(starter);
    start_another(case.method, out);
    round.finish(u32::from(survived && !case.dies)..=1, out);
    survived
}

/// The started process dies. Its starter learns of it, and can start another process at once. Returns whether the
/// process survived.
fn started_dies(case: Case, point: u64, out: &mut Outcome) -> bool {
    let is_served = case.method == Method::ForkServer;
    let (mut round, args) = Round::new(case);
    crash::descendant_dies_at(if is_served { 2 } else { 1 }, point);
    let started = start_in_time(case, args, out);
    round.let_go();
    let (survived, runs) = match started {
        Ok(child) => {
            let has_value = expect_value_or(&[ExitError::Signaled(9)], case, &child, out);
            (has_value, u32::from(has_value)..=1)
        }
        // It died before its hello.
        Err(StartError::Killed) if is_served => (false, 0..=0),
        Err(error) => {
            eprintln!("{case:?}: not started: {error:?}");
            out.torn += 1;
            (false, 0..=0)
        }
    };
    if is_served && armed_server().is_none() {
        eprintln!("{case:?}: the server was lost, although nobody killed it");
        out.torn += 1;
    }
    start_another(case.method, out);
    if is_served {
        out.lost += u32::from(!is_server_idle());
    }
    round.finish(runs, out);
    survived
}

/// The fork server dies. There is still a child, which another server starts if necessary. Its value is there, or its
/// end is unknown; a child that must die with the server was killed. Returns whether the server survived.
fn server_dies(case: Case, point: u64, out: &mut Outcome) -> bool {
    let (mut round, args) = Round::new(case);
    crash::descendant_dies_at(1, point);
    let started = start_in_time(case, args, out);
    let runs = match started {
        Ok(child) => {
            if case.dies && !is_settled(&child) {
                eprintln!("{case:?}: the child outlives its server");
                out.lost += 1;
            }
            round.let_go();
            // This process adopts the child, and may see how it ended.
            let told = [ExitError::StatusLost, ExitError::Signaled(9)];
            let has_value = expect_value_or(if case.dies { &told } else { &told[..1] }, case, &child, out);
            u32::from(has_value)..=1
        }
        Err(error) => {
            eprintln!("{case:?}: not started: {error:?}");
            out.torn += 1;
            0..=0
        }
    };
    start_another(case.method, out);
    // The first server has done everything for one process, and all its steps for a second process were tried before.
    let survived = armed_server().is_some();
    round.finish(runs, out);
    survived
}

/// The fork server dies, and then the process, so that no process sees how the latter ends. Its value is whole, or not
/// there. Returns whether the process survived.
fn unwatched_dies(case: Case, point: u64, out: &mut Outcome) -> bool {
    if case.dies {
        // The kernel kills the process when the server is killed.
        return true;
    }
    let (mut round, (bytes, runs, _)) = Round::new(case);
    let (hold, until) = pipe::<()>().unwrap();
    crash::descendant_dies_at(2, point);
    let started = start_in_time(case, (bytes, runs, Some(until)), out);
    let server = server_pid().unwrap();
    end(server);
    // A zombie has already lost its children to another parent.
    out.hangs += u32::from(!becomes(server, 'Z'));
    // The worker goes on only now, unless it was killed before.
    drop(hold);
    let (survived, expected) = match started {
        Ok(child) => {
            let told = [ExitError::StatusLost, ExitError::Signaled(9)];
            let survived = is_returned_by(child.pid());
            let has_value = expect_value_or(&told, case, &child, out);
            out.lost += u32::from(survived && !has_value);
            (survived, u32::from(has_value)..=1)
        }
        Err(StartError::Killed) => (false, 0..=0),
        Err(error) => {
            eprintln!("{case:?}: not started: {error:?}");
            out.torn += 1;
            (false, 0..=0)
        }
    };
    start_another(case.method, out);
    round.let_go();
    round.finish(expected, out);
    survived
}

/// Waits until a process is in this state; returns `false` if it does not reach it.
fn becomes(pid: u32, state: char) -> bool {
    let deadline = Deadline::after(HANG);
    while !is_in_state(pid, state) {
        if deadline.has_passed() {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Whether a process, which became a child of this one, ends by itself. If its server has reaped it, it was killed. Its
/// status stays for the process that joins it.
fn is_returned_by(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let status = waitid(WaitId::Pid(pid.unwrap()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    status.is_ok_and(|status| status.is_some_and(|status| status.exit_status() == Some(0)))
}

/// The fork server, if it is the one that was meant to die and it lives.
fn armed_server() -> Option<u32> {
    let environment = |pid| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let is_armed = |variable: &[u8]| variable.starts_with(crash::VARIABLE.as_bytes());
    server_pid().filter(|pid| environment(*pid).split(|byte| *byte == 0).any(is_armed))
}

/// Waits until a child that dies with its server has died with it, or until the server waits for the next request;
/// returns `false` if neither happens.
fn is_settled(child: &Child<Vec<u8>>) -> bool {
    let deadline = Deadline::after(HANG);
    while !deadline.has_passed() {
        let has_ended = !child.is_alive().unwrap();
        if has_ended || armed_server().is_some_and(is_asleep) {
            return true;
        }
        // A server that was not meant to die: the first one was killed before there was a child.
        if armed_server().is_none() && server_pid().is_some_and(is_asleep) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

define_cells! {
    FORK_PARENT: "fork", "every_point_of_parent", |_| at_every_point(Method::Fork, starter_dies);
    FORK_CHILD: "fork", "every_point_of_child", |_| at_every_point(Method::Fork, started_dies);
    SPAWN_PARENT: "spawn", "every_point_of_parent", |_| at_every_point(Method::Spawn, starter_dies);
    SPAWN_CHILD: "spawn", "every_point_of_child", |_| at_every_point(Method::Spawn, started_dies);
    FORKSERVER_ASKER: "forkserver", "every_point_of_asker", |_| at_every_point(Method::ForkServer, starter_dies);
    FORKSERVER_SERVER: "forkserver", "every_point_of_server", |_| at_every_point(Method::ForkServer, server_dies);
    FORKSERVER_CHILD: "forkserver", "every_point_of_child", |_| at_every_point(Method::ForkServer, started_dies);
    FORKSERVER_UNWATCHED: "forkserver", "every_point_while_unwatched", |_| at_every_point(Method::ForkServer, unwatched_dies);
}
