//! Every operation, with its connection cut at each of its steps.
//!
//! What returns a value has happened once, what returns `OutcomeUnknown` at most once, and what returns `ServerGone` not at all. Whatever
//! the operation held or awaited is free afterwards, and its client goes on.

mod cases;

use std::fmt::Debug;
use std::time::Duration;

use manager_rt::Manager;
use mp_sys::testing::eventually;

use crate::There;
use crate::cutter::{Cutter, Lost};
use crate::deaths::PATIENCE;
use crate::lines::guard;
use crate::server::Server;

/// No operation has so many steps.
const STEPS_MAX: u32 = 80;

/// What an error says.
struct Said(String);

impl<E: Debug> From<E> for Said {
    fn from(error: E) -> Self {
        Self(format!("{error:?}"))
    }
}

type Outcome = Result<(), Said>;

fn said<T>(outcome: Result<T, impl Debug>) -> Outcome {
    outcome.map(drop).map_err(Said::from)
}

/// An operation of an object with the name `o`. A condition has the lock `l`.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Makes the object, and what the operation needs.
    make: fn(&Manager),
    run: fn(&Manager) -> Outcome,
    /// What another client does once the operation waits.
    answer: Option<fn(&Manager)>,
    /// Returns how often the operation has happened, if something shows it.
    done: fn(&Manager) -> Option<u64>,
    /// Whether what the operation took comes back unless it was returned.
    returns: bool,
}

impl Case {
    const fn new(
        name: &'static str,
        make: fn(&Manager),
        run: fn(&Manager) -> Outcome,
        done: fn(&Manager) -> Option<u64>,
    ) -> Self {
        Self { name, make, run, answer: None, done, returns: false }
    }

    const fn answered(self, answer: fn(&Manager)) -> Self {
        Self { answer: Some(answer), ..self }
    }

    const fn returning(self) -> Self {
        Self { returns: true, ..self }
    }

    /// Runs the operation of `client` with one cut, and checks what it has done. Returns whether it had so many steps.
    fn holds(&self, other: &Manager, (client, cutter): (&Manager, &Cutter), step: u32, lost: Lost) -> bool {
        (self.make)(other);
        // It has a session before it begins.
        free("before", client);
        cutter.cut_at(step, lost);
        let outcome = std::thread::scope(|scope| {
            let called = scope.spawn(|| (self.run)(client));
            if let Some(answer) = self.answer {
                let waits = || called.is_finished() || other.info().unwrap().waiters > 0;
                eventually("it waits", waits);
                answer(other);
            }
            called.join().unwrap()
        });
        let was_cut = cutter.stop();
        let shown = outcome.as_ref().map_or_else(|Said(error)| error.clone(), |()| "a value".to_owned());
        let count = |least, most| {
            eventually(
                &format!("{} at step {step} of {lost:?} has done what it says: {shown}", self.name),
                || (self.done)(other).is_none_or(|done| (least..=most).contains(&done)),
            );
        };
        match &*shown {
            "a value" => count(1, 1),
            error if error.contains("OutcomeUnknown") => count(0, if self.returns { 0 } else { 1 }),
            error if error.contains("ServerGone") => count(0, 0),
            error => panic!("{} at step {step} of {lost:?}: {error}", self.name),
        }
        eventually("nobody waits", || other.info().unwrap().waiters == 0);
        other.remove("o").unwrap();
        was_cut
    }
}

/// Takes a lock, whether or not its last holder died, and releases it.
fn free(name: &str, manager: &Manager) -> Option<u64> {
    let lock = manager.named(name).lock().unwrap();
    drop(guard(lock.lock_timeout(PATIENCE)));
    None
}

/// Cuts each step of these operations, until they have no more steps.
fn cut_all(cases: &[Case]) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let cutter = Cutter::start(&server);
    let client = Manager::connect(&cutter.url(&there)).unwrap();
    let other = there.connect();
    for case in cases {
        for lost in [Lost::All, Lost::Half] {
            let steps =
                (1..STEPS_MAX).take_while(|step| case.holds(&other, (&client, &cutter), *step, lost)).count();
            assert!(steps >= 2, "{} has {steps} steps", case.name);
            assert!(steps + 2 < usize::try_from(STEPS_MAX).unwrap(), "{} has {steps} steps", case.name);
        }
    }
}

#[test]
fn every_step_of_every_operation_may_be_cut() {
    cut_all(&[cases::data(), cases::taking()].concat());
}

#[test]
fn every_step_of_every_operation_that_waits_may_be_cut() {
    cut_all(&[cases::queues(), cases::waiting()].concat());
}

#[test]
fn every_step_of_connecting_may_be_cut() {
    let server = Server::start(&["--requirepass", "opensesame"]);
    let (there, cutter) = (There::new(&server), Cutter::start(&server));
    let connect =
        || Manager::builder().key("opensesame").timeout(Duration::from_secs(5)).connect(&cutter.url(&there));
    for lost in [Lost::All, Lost::Half] {
        let steps = (1..STEPS_MAX).take_while(|step| {
            cutter.cut_at(*step, lost);
            let connected = connect();
            let was_cut = cutter.stop();
            assert!(connected.is_err() || connected.unwrap().info().is_ok());
            was_cut
        });
        assert!(steps.count() >= 4);
        assert!(connect().is_ok());
    }
}
