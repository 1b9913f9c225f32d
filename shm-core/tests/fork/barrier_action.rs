//! The action that one party of a `Barrier` runs before the others go on, and the default timeout.

use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::testing::{PATIENCE, eventually, spawn, succeeded, tests};
use shm_core::{Barrier, BarrierError, RawValue};

use crate::barrier::pass;

tests! {
    one_party_acts_before_the_others_go_on,
    an_action_that_panics_breaks_the_barrier,
    a_caller_during_the_action_is_a_party_of_the_next_round,
    a_barrier_that_is_reset_while_the_action_runs,
    a_wait_ends_with_the_default_timeout,
}

fn one_party_acts_before_the_others_go_on() {
    const ROUNDS: u32 = 200;
    let runs = Arc::new(RawValue::new(0_u32).unwrap());
    let counted = Arc::clone(&runs);
    let barrier = Barrier::new(3).unwrap().with_action(move || {
        counted.fetch_add(1);
    });
    let party = || {
        for round in 1..=ROUNDS {
            pass(&barrier);
            let runs = runs.load();
            assert!(runs == round || runs == round + 1, "{runs} runs in round {round}");
        }
    };
    let parties = [(); 3].map(|()| spawn(party));
    parties.iter().for_each(succeeded);
    assert_eq!(runs.load(), ROUNDS);
}

fn an_action_that_panics_breaks_the_barrier() {
    let panics = || resume_unwind(Box::new("on purpose"));
    let barrier = Barrier::new(2).unwrap().with_action(panics);
    let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    assert!(catch_unwind(|| barrier.wait_timeout(PATIENCE)).is_err(), "the panic goes on");
    succeeded(&other);
    assert_eq!(barrier.is_broken(), Ok(true));
}

/// Makes a barrier for two parties, whose action reports that it runs, and then waits for a signal to go on.
struct Stage {
    barrier: Barrier,
    acts: Arc<RawValue<u32>>,
    ends: Arc<RawValue<bool>>,
}

impl Stage {
    fn new() -> Self {
        let (acts, ends) = (Arc::new(RawValue::new(0).unwrap()), Arc::new(RawValue::new(false).unwrap()));
        let (told, until) = (Arc::clone(&acts), Arc::clone(&ends));
        let barrier = Barrier::new(2).unwrap().with_action(move || {
            told.fetch_add(1);
            eventually("the action may end", || until.load());
        });
        Self { barrier, acts, ends }
    }
}

fn a_caller_during_the_action_is_a_party_of_the_next_round() {
    let Stage { barrier, acts, ends } = Stage::new();
    let waits = || assert!(pass(&barrier) < 2);
    let set = [(); 2].map(|()| spawn(waits));
    eventually("the action runs", || acts.load() == 1);
    assert_eq!(barrier.n_waiting(), Ok(1));
    assert_eq!(barrier.wait_timeout(Duration::from_millis(10)), Err(BarrierError::TimedOut));
    assert_eq!(barrier.is_broken(), Ok(false), "it had no place yet");
    let next = spawn(waits);
    ends.store(true);
    waits();
    set.iter().chain([&next]).for_each(succeeded);
    assert_eq!(acts.load(), 2);
}

fn a_barrier_that_is_reset_while_the_action_runs() {
    let Stage { barrier, acts, ends } = Stage::new();
    let set =
        [(); 2].map(|()| spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken))));
    eventually("the action runs", || acts.load() == 1);
    barrier.reset().unwrap();
    ends.store(true);
    set.iter().for_each(succeeded);
    let other = spawn(|| assert!(pass(&barrier) < 2));
    pass(&barrier);
    succeeded(&other);
}

fn a_wait_ends_with_the_default_timeout() {
    let barrier = Barrier::new(2).unwrap().with_timeout(Duration::from_millis(10));
    assert_eq!(barrier.wait(), Err(BarrierError::TimedOut));
    barrier.reset().unwrap();
    assert_eq!(barrier.party().unwrap().wait(), Err(BarrierError::TimedOut));
    barrier.reset().unwrap();
    let other = spawn(|| assert!(pass(&barrier) < 2));
    pass(&barrier);
    succeeded(&other);
}
