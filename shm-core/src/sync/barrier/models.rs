//! Models of [`Rounds`]: all parties pass or all get an error, and nobody sleeps through the end of a round.
//!
//! A waiter that sleeps for ever is a deadlock, which `loom` reports, because nothing sleeps in slices here. The robust lock
//! is a `loom` mutex; the models leave out what the kernel does for dead holders.
#![expect(clippy::unwrap_used, reason = "a model fails by a panic")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loom::sync::{Mutex, MutexGuard};
use loom::thread::{JoinHandle, spawn};
use mp_sys::adaptive::{Budget, Signal};
use mp_sys::deadline::Deadline;
use mp_sys::word::Modelled;

use crate::error::BarrierError;
use crate::sync::barrier::places::{Table, bytes_for, finish_reset};
use crate::sync::barrier::rounds::{Comer, Rounds, TableLock};
use crate::sync::dead::modelled::Mortal;

/// Stamps. The processes of a model are threads of one.
const FIRST: u64 = 11;
const SECOND: u64 = 12;
const DEAD: u64 = 13;

const PARTIES: usize = 2;
type Bytes = [Cell<u64>; 13];

#[derive(Debug, Default)]
struct Model {
    table: Locked,
    signal: Signal<Modelled>,
    witness: Mortal,
}

#[derive(Debug, Default)]
struct Locked(Mutex<Bytes>);

impl Table for MutexGuard<'_, Bytes> {
    fn load(&self, at: usize) -> u64 {
        self[at / 8].get()
    }

    fn store(&self, at: usize, value: u64) {
        self[at / 8].set(value);
    }
}

impl TableLock for Locked {
    type Held<'a> = MutexGuard<'a, Bytes>;

    fn lock(&self) -> Result<Self::Held<'_>, BarrierError> {
        let held = self.0.lock().unwrap();
        finish_reset(&held, PARTIES);
        Ok(held)
    }
}

impl Model {
    fn rounds(&self) -> Rounds<'_, Locked, Modelled> {
        Rounds { table: &self.table, signal: &self.signal, parties: PARTIES }
    }

    fn wait_until(&self, own: u64, deadline: Deadline) -> Result<usize, BarrierError> {
        self.wait_with(own, deadline, None)
    }

    fn wait_with(
        &self,
        stamp: u64,
        deadline: Deadline,
        action: Option<&dyn Fn()>,
    ) -> Result<usize, BarrierError> {
        let comer = Comer { stamp, place: None, action, budget: &Budget::new(), deadline };
        self.rounds().wait(comer, &self.witness)
    }
}

fn party(model: &Arc<Model>, own: u64, deadline: Deadline) -> JoinHandle<Result<usize, BarrierError>> {
    let model = Arc::clone(model);
    spawn(move || model.wait_until(own, deadline))
}

fn passed() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// Two parties pass two rounds, each with an index of its own in each round.
#[test]
fn two_parties_pass_two_rounds() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let other = {
            let model = Arc::clone(&model);
            spawn(move || [(); 2].map(|()| model.wait_until(FIRST, Deadline::NEVER).unwrap()))
        };
        let mine = [(); 2].map(|()| model.wait_until(SECOND, Deadline::NEVER).unwrap());
        for (mine, theirs) in mine.into_iter().zip(other.join().unwrap()) {
            assert_eq!(mine + theirs, 1);
        }
        assert_eq!(model.rounds().n_waiting(), Ok(0));
    });
}

/// A party whose time is up breaks the barrier, or the other one came in time: both parties get the same result.
#[test]
fn a_timeout_is_told_to_both_or_to_none() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let patient = party(&model, FIRST, Deadline::NEVER);
        let hasty = model.wait_until(SECOND, passed());
        match (patient.join().unwrap(), hasty) {
            (Ok(theirs), Ok(mine)) => assert_eq!(mine + theirs, 1),
            (Err(BarrierError::Broken), Err(BarrierError::TimedOut)) => {}
            other => panic!("{other:?}"),
        }
    });
}

/// `abort` reaches a waiter, in time or afterwards.
#[test]
fn an_abort_reaches_a_waiter() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let waiter = party(&model, FIRST, Deadline::NEVER);
        model.rounds().abort().unwrap();
        assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
    });
}

/// A party that passes and then breaks the barrier does not change the result of the other party, which has passed.
#[test]
fn a_round_that_is_over_stays_passed() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let other = party(&model, FIRST, Deadline::NEVER);
        let mine = model.wait_until(SECOND, Deadline::NEVER).unwrap();
        model.rounds().abort().unwrap();
        assert_eq!(other.join().unwrap(), Ok(1 - mine));
    });
}

/// A reset at any moment: the two parties pass together, or one that waited gets an error and the other one waits alone.
#[test]
fn a_reset_is_told_to_who_waited() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let first = party(&model, FIRST, Deadline::NEVER);
        model.rounds().reset(&model.witness).unwrap();
        let mine = model.wait_until(SECOND, passed());
        match (first.join().unwrap(), mine) {
            // The other party came after the reset, and both pass.
            (Ok(theirs), Ok(mine)) => assert_eq!(mine + theirs, 1),
            // The other party waited at the reset or after it, and this party was alone until its time was up.
            (Err(BarrierError::Broken), Err(BarrierError::TimedOut)) => {}
            other => panic!("{other:?}"),
        }
    });
}

/// A reset wakes the waiters, without help from a later caller.
#[test]
fn a_reset_reaches_a_waiter() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let waiter = party(&model, FIRST, Deadline::NEVER);
        let waited = model.rounds().n_waiting() == Ok(1);
        model.rounds().reset(&model.witness).unwrap();
        if !waited {
            // It may have come after the reset, and would rightly wait.
            model.rounds().abort().unwrap();
        }
        assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
    });
}

/// A registered party is dead: a waiter that looks gets an error, and so does a later caller.
#[test]
fn the_death_of_a_party_is_told() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        model.rounds().party(DEAD, &model.witness).unwrap();
        model.witness.die(DEAD);
        // A sleep with a deadline represents a slice that ends.
        let looker = party(&model, FIRST, passed());
        assert_eq!(looker.join().unwrap(), Err(BarrierError::Broken));
        assert_eq!(model.wait_until(FIRST, Deadline::NEVER), Err(BarrierError::Broken));
        model.rounds().reset(&model.witness).unwrap();
        let second = party(&model, SECOND, Deadline::NEVER);
        assert!(model.wait_until(FIRST, Deadline::NEVER).is_ok());
        assert!(second.join().unwrap().is_ok());
    });
}

/// Another thread removes a registration while its thread arrives and waits: both parties still pass the round.
#[test]
fn a_registration_that_is_taken_back_takes_nothing_from_who_waits() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let place = model.rounds().party(FIRST, &model.witness).unwrap();
        let first = party(&model, FIRST, Deadline::NEVER);
        let second = party(&model, SECOND, Deadline::NEVER);
        model.rounds().leave(place, FIRST).unwrap();
        assert_eq!(first.join().unwrap().unwrap() + second.join().unwrap().unwrap(), 1);
    });
}

/// Two sets of parties use the barrier one after another. Each set passes, even if the second takes places before the first
/// has woken up.
#[test]
fn one_set_passes_after_another() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let first = party(&model, FIRST, Deadline::NEVER);
        model.wait_until(SECOND, Deadline::NEVER).unwrap();
        let second = party(&model, DEAD, Deadline::NEVER);
        model.wait_until(SECOND, Deadline::NEVER).unwrap();
        second.join().unwrap().unwrap();
        assert_eq!(first.join().unwrap().map(|index| index < PARTIES), Ok(true));
    });
}

/// Nobody needs a process that died after it had passed.
#[test]
fn a_death_between_rounds_breaks_nothing() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let first = party(&model, FIRST, Deadline::NEVER);
        model.wait_until(DEAD, Deadline::NEVER).unwrap();
        model.witness.die(DEAD);
        assert!(first.join().unwrap().is_ok());
        let first = party(&model, FIRST, Deadline::NEVER);
        assert!(model.wait_until(SECOND, Deadline::NEVER).is_ok());
        assert!(first.join().unwrap().is_ok());
    });
}

/// The action runs once, before any party goes on.
#[test]
fn nobody_goes_on_before_the_action_has_run() {
    loom::model(|| {
        let (model, runs) = (Arc::new(Model::default()), Arc::new(AtomicUsize::new(0)));
        let pass = |model: &Model, runs: &AtomicUsize, stamp| {
            let action = || assert_eq!(runs.fetch_add(1, Ordering::Relaxed), 0);
            model.wait_with(stamp, Deadline::NEVER, Some(&action)).unwrap();
            assert_eq!(runs.load(Ordering::Relaxed), 1);
        };
        let other = {
            let (model, runs) = (Arc::clone(&model), Arc::clone(&runs));
            spawn(move || pass(&model, &runs, FIRST))
        };
        pass(&model, &runs, SECOND);
        other.join().unwrap();
    });
}

/// A caller that comes while the action runs waits for the next round, and passes there.
#[test]
fn a_caller_that_comes_while_the_action_runs_is_a_party_of_the_next_round() {
    loom::model(|| {
        let model = Arc::new(Model::default());
        let first = party(&model, FIRST, Deadline::NEVER);
        while model.rounds().n_waiting() != Ok(1) {
            loom::thread::yield_now();
        }
        let early = Cell::new(None);
        model
            .wait_with(
                SECOND,
                Deadline::NEVER,
                Some(&|| early.set(Some(party(&model, DEAD, Deadline::NEVER)))),
            )
            .unwrap();
        model.wait_until(SECOND, Deadline::NEVER).unwrap();
        first.join().unwrap().unwrap();
        early.take().unwrap().join().unwrap().unwrap();
    });
}

#[test]
fn the_words_of_a_model_have_room() {
    assert_eq!(bytes_for(PARTIES), size_of::<Bytes>());
}
