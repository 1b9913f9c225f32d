//! Processes are killed at random moments: the starter, the started process, and the fork server between them.

use mp::{ExitError, Method, Receiver, pipe};
use mp_sys::child::Ended;
use mp_sys::forkserver::server_pid;
use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{Random, spawn, succeeded};

use super::{
    Case, LONG, Round, SHORT, alone, end, expect_all_ended, expect_end, expect_no_leaks, expect_value_or,
    start, start_another, start_in_time,
};
use crate::cell::{Outcome, define_cells};

/// The longest that a starter works before it is killed, in nanoseconds: the time of a few starts.
fn longest(method: Method) -> u64 {
    if method == Method::Fork { 3_000_000 } else { 12_000_000 }
}

fn case(method: Method, len: usize, dies: bool) -> Case {
    Case { method, len, dies, is_closure: false }
}

/// Starts processes one after the other, until it is killed. Half of them wait, and must die with it.
fn start_for_ever(method: Method, until: Receiver<()>) {
    let (waits, returns) = (case(method, LONG, true), case(method, SHORT, false));
    let (waiting, returning) = ((waits.value(), None, Some(until)), (returns.value(), None, None));
    loop {
        let waiting = start(waits, &waiting).unwrap();
        let child = start(returns, &returning).unwrap();
        assert_eq!(child.join(), Ok(returns.value()));
        waiting.kill().unwrap();
        assert_eq!(waiting.join(), Err(ExitError::Signaled(9)));
    }
}

/// The starter dies while it starts processes. The recovery is the time until another process has the value of a child.
fn mid_start(method: Method, kills: u32) -> Outcome {
    alone(method, |out| {
        let mut random = Random::new();
        for _ in 0..kills {
            let before = Snapshot::take();
            let (hold, until) = pipe::<()>().unwrap();
            let victim = spawn(|| start_for_ever(method, until));
            random.pause(longest(method));
            let mut seen = Outcome::default();
            out.recover(&victim, || start_another(method, &mut seen));
            out.hangs += seen.hangs;
            out.torn += seen.torn + u32::from(expect_end(&victim, &mut seen) != Some(Ended::Signaled(9)));
            drop(victim);
            expect_all_ended(out);
            drop(hold);
            expect_no_leaks(&before, out);
        }
    })
}

/// The started process dies, in most rounds while it works or stores its value: the value is whole, or there is none.
fn mid_result(method: Method, kills: u32) -> Outcome {
    alone(method, |out| {
        let mut random = Random::new();
        // The pause is halved after each kill that was too late.
        let mut pause = longest(method);
        for _ in 0..kills {
            let case = case(method, LONG, false);
            let (round, args) = Round::new(case);
            let child = start(case, &args).unwrap();
            drop(args);
            random.pause(pause);
            child.kill().unwrap();
            out.kills += 1;
            let has_value = expect_value_or(&[ExitError::Signaled(9)], case, &child, out);
            pause = if has_value { pause / 2 } else { pause.saturating_mul(2).clamp(1, longest(method)) };
            drop(child);
            round.finish(u32::from(has_value)..=1, out);
        }
    })
}

/// The fork server dies during a request for a process.
fn server_mid_start(kills: u32) -> Outcome {
    alone(Method::ForkServer, |out| {
        let mut random = Random::new();
        for _ in 0..kills {
            let case = case(Method::ForkServer, LONG, false);
            let (round, args) = Round::new(case);
            start_another(Method::ForkServer, out);
            let server = server_pid().unwrap();
            let moment = random.below(2_000_000);
            let killer = spawn(|| {
                Random::seeded(moment).pause(moment);
                end(server);
            });
            let started = start_in_time(case, args, out);
            let has_value = match started {
                Ok(child) => expect_value_or(&[ExitError::StatusLost], case, &child, out),
                Err(error) => {
                    eprintln!("not started: {error:?}");
                    out.torn += 1;
                    false
                }
            };
            succeeded(&killer);
            drop(killer);
            out.kills += 1;
            start_another(Method::ForkServer, out);
            round.finish(u32::from(has_value)..=1, out);
        }
    })
}

define_cells! {
    FORK_MID_START: "fork", "mid_start", |kills| mid_start(Method::Fork, kills);
    SPAWN_MID_START: "spawn", "mid_start", |kills| mid_start(Method::Spawn, kills);
    FORKSERVER_MID_START: "forkserver", "mid_start", |kills| mid_start(Method::ForkServer, kills);
    FORKSERVER_SERVER_MID_START: "forkserver", "server_mid_start", server_mid_start;
    FORK_MID_RESULT: "fork", "mid_result", |kills| mid_result(Method::Fork, kills);
    SPAWN_MID_RESULT: "spawn", "mid_result", |kills| mid_result(Method::Spawn, kills);
    FORKSERVER_MID_RESULT: "forkserver", "mid_result", |kills| mid_result(Method::ForkServer, kills);
}
