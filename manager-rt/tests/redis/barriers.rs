//! Barriers whose parties die, give up, or lose their connections.

use std::sync::Arc;

use manager_rt::proto::{BarrierOp, Call, ObjectId, Op, Payload, Reply, Spec, Wait};
use manager_rt::{Backend, Barrier, BarrierError, CallError, InProcess, Manager};
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, kill};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::There;
use crate::alike::make;
use crate::deaths::{Holder, PATIENCE, heard, tell};
use crate::queues::waiters;
use crate::server::Server;

const CASES: u32 = 60;
const STEPS: usize = 40;
const PARTIES: usize = 3;

/// Operations of one client. Whether a token is its own is the number 1.
fn op() -> impl Strategy<Value = BarrierOp> {
    prop_oneof![
        6 => any::<bool>().prop_map(|acts| BarrierOp::Wait { acts }),
        3 => (0_u64..6).prop_map(|round| BarrierOp::EndRound { round }),
        1 => Just(BarrierOp::Register),
        1 => Just(BarrierOp::Unregister),
        2 => Just(BarrierOp::Enrol),
        2 => (0_u64..3).prop_map(|token| BarrierOp::Withdraw { token }),
        1 => Just(BarrierOp::Abort),
        4 => Just(BarrierOp::Reset),
        1 => Just(BarrierOp::Parties),
        1 => Just(BarrierOp::Waiting),
        2 => Just(BarrierOp::IsBroken),
    ]
}

/// Runs an operation, and returns the answer, in which the token of the client is 1.
fn run(
    backend: &dyn Backend,
    object: ObjectId,
    own: &mut Option<u64>,
    op: BarrierOp,
) -> Result<Reply<Payload>, CallError> {
    let op = match op {
        BarrierOp::Withdraw { token: 1 } => BarrierOp::Withdraw { token: own.unwrap_or(u64::MAX) },
        BarrierOp::Withdraw { .. } => BarrierOp::Withdraw { token: u64::MAX },
        op => op,
    };
    let answer = backend.call(Call { object, thread: 1, wait: Wait::No, op: Op::Barrier(op) })?;
    if let Reply::Granted { token, owner_died, timed_out } = answer {
        *own = Some(token);
        return Ok(Reply::Granted { token: 1, owner_died, timed_out });
    }
    Ok(answer)
}

#[test]
fn barriers_are_alike() {
    let server = Server::start(&[]);
    let there: Manager = There::new(&server).connect();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(1_u64..3, prop::collection::vec(op(), STEPS)), |(parties, ops)| {
        let here: Arc<dyn Backend> = Arc::new(InProcess::new().unwrap());
        let there = there.backend();
        let spec = || Spec::Barrier(parties);
        let (one, other) = (make(&*here, spec()), make(&**there, spec()));
        let (mut own, mut others) = (None, None);
        for op in ops {
            let shown = format!("{op:?}");
            let expected = run(&*here, one, &mut own, op.clone());
            prop_assert_eq!(run(&**there, other, &mut others, op), expected, "{}", shown);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn barrier(manager: &Manager) -> Barrier {
    manager.named("barrier").barrier(PARTIES).unwrap()
}

/// The main function of a party, which waits, registers, or runs the action until it is killed.
fn party(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    tell(handed.endpoint(), "held");
    let what = heard(&handed);
    let barrier = barrier(&manager);
    let party = (what == "register").then(|| barrier.party().unwrap());
    tell(handed.endpoint(), "held");
    match &*what {
        "wait" => drop(barrier.wait()),
        "act" => drop(barrier.clone().with_action(|| std::thread::park_timeout(PATIENCE)).wait()),
        _ => drop(heard(&handed)),
    }
    drop(party);
    0
}

/// Returns whether a party runs the action.
const ACTS: &str = r"
    for _, key in ipairs(redis.call('keys', '*:o:*')) do
        if redis.call('type', key).ok == 'hash' and redis.call('hexists', key, 't') == 1 then return 1 end
    end
    return 0";

/// Lets a party die in some way, and checks that those that wait for it learn of it.
fn death_breaks(what: &str, lease: &str, die: impl FnOnce(&Holder)) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let shared = barrier(&manager);
    let dying = Holder::start(party, &there.leased(lease));
    let wait = || barrier(&Manager::connect(&there.leased("3600s")).unwrap()).wait_timeout(PATIENCE);
    let arrived = |count: u64| waiters(&manager, count);
    std::thread::scope(|scope| {
        let others = match what {
            "act" => {
                let others = vec![scope.spawn(wait), scope.spawn(wait)];
                arrived(2);
                dying.ask(what);
                eventually("it runs the action", || server.cli(&["eval", ACTS, "0"]) == "1");
                // It has arrived last, so the next call belongs to the next round.
                let early = scope.spawn(wait);
                arrived(3);
                others.into_iter().chain([early]).collect()
            }
            _ => {
                dying.ask(what);
                let other = scope.spawn(wait);
                arrived(if what == "wait" { 2 } else { 1 });
                vec![other]
            }
        };
        die(&dying);
        kill(&dying.child);
        for other in others {
            assert_eq!(other.join().unwrap(), Err(BarrierError::Broken), "{what}");
        }
    });
    assert!(shared.is_broken().unwrap());
    shared.reset().unwrap();
    std::thread::scope(|scope| {
        let all = [(); PARTIES].map(|()| scope.spawn(wait));
        let mut places = all.map(|one| one.join().unwrap().unwrap());
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
    });
}

#[test]
fn the_death_of_a_party_that_a_round_needs_breaks_it() {
    // With a lease of an hour, only the keeper can have said so.
    for what in ["wait", "register", "act"] {
        death_breaks(what, "3600s", |_| {});
    }
}

#[test]
fn the_death_of_a_host_breaks_a_barrier_after_the_lease() {
    for what in ["wait", "register", "act"] {
        death_breaks(what, "1s", Holder::kill_keeper);
    }
}

#[test]
fn cut_connections_cost_no_place() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let managers = [(); PARTIES].map(|()| there.connect());
    let [one, other, last] = managers.each_ref().map(barrier);
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let waiting = [&one, &other].map(|party| scope.spawn(|| party.wait_timeout(PATIENCE)));
            eventually("both wait", || last.n_waiting() == Ok(2));
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["script", "flush"]);
            let arrived = last.wait_timeout(PATIENCE);
            server.cli(&["client", "kill", "type", "normal"]);
            let mut places = waiting.map(|party| party.join().unwrap().unwrap());
            places.sort_unstable();
            assert_eq!((places, arrived), ([0, 1], Ok(2)));
        });
    }
}
