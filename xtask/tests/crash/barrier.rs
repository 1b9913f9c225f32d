//! Barriers: a party dies while it waits, while it runs the action, between two rounds, and at every point of all of these.

use std::sync::Arc;
use std::time::Duration;

use mp::{Barrier, BarrierError, RawValue};
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::testing::{Random, ended, eventually, hang};

use crate::cell::{HANG, Outcome, define_cells, spawn};
use crate::points::{at_every_point, at_every_point_with};

/// A waiting party dies: the others learn that the barrier is broken.
fn waiter(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let barrier = Barrier::new(3).unwrap();
    for _ in 0..kills {
        let victim = spawn(|| assert!(barrier.wait().is_ok()));
        let other = spawn(|| assert_eq!(barrier.wait_timeout(HANG), Err(BarrierError::Broken)));
        eventually("both wait", || barrier.n_waiting() == Ok(2));
        random.pause(100_000);
        out.recover(&victim, || other.wait(mp_sys::deadline::Deadline::after(HANG)).unwrap());
        out.expect_end(&other);
        barrier.reset().unwrap();
    }
    out
}

/// All parties have arrived, and one dies as it wakes up: the others pass, and so does the next set of processes.
fn just_woken(kills: u32) -> Outcome {
    killed_as_it_wakes_up(kills, false)
}

/// The party that dies as it wakes up is registered: the next round needs it, and breaks.
fn just_woken_and_registered(kills: u32) -> Outcome {
    killed_as_it_wakes_up(kills, true)
}

fn killed_as_it_wakes_up(kills: u32, is_registered: bool) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let barrier = Barrier::new(3).unwrap();
    for _ in 0..kills {
        let victim = spawn(|| {
            let _party = is_registered.then(|| barrier.party().unwrap());
            assert!(barrier.wait().is_ok());
            hang();
        });
        let survivor = spawn(|| assert!(barrier.wait_timeout(HANG).is_ok()));
        eventually("both wait", || barrier.n_waiting() == Ok(2));
        random.pause(100_000);
        out.torn += u32::from(barrier.wait_timeout(HANG).is_err());
        random.pause(20_000);
        if is_registered {
            let told = out.recover(&victim, || barrier.wait_timeout(HANG));
            out.hangs += u32::from(told == Err(BarrierError::TimedOut));
            out.torn += u32::from(told.is_ok());
            barrier.reset().unwrap();
        } else {
            let next = [(); 2].map(|()| spawn(|| assert!(barrier.wait_timeout(HANG).is_ok())));
            let passed = out.recover(&victim, || barrier.wait_timeout(HANG));
            out.torn += u32::from(passed.is_err());
            next.iter().for_each(|next| out.expect_end(next));
        }
        out.expect_end(&survivor);
    }
    out
}

/// A party dies while it runs the action: the others get an error.
fn acting(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let acts = Arc::new(RawValue::new(false).unwrap());
    let told = Arc::clone(&acts);
    let barrier = Barrier::new(2).unwrap().with_action(move || {
        told.store(true);
        hang();
    });
    for _ in 0..kills {
        acts.store(false);
        let other = waits_in_vain(&barrier);
        let victim = spawn(|| assert!(barrier.wait().is_err(), "it never passes"));
        eventually("the victim runs the action", || acts.load());
        random.pause(100_000);
        out.recover(&victim, || other.wait(mp_sys::deadline::Deadline::after(HANG)).unwrap());
        out.expect_end(&other);
        barrier.reset().unwrap();
    }
    out
}

/// A party that registered dies before it waits: the others learn that the barrier is broken.
fn registered(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..kills {
        let is_party = RawValue::new(false).unwrap();
        let victim = spawn(|| {
            let _party = barrier.party().unwrap();
            is_party.store(true);
            hang();
        });
        eventually("the victim is a party", || is_party.load());
        let told = out.recover(&victim, || barrier.wait_timeout(HANG));
        out.hangs += u32::from(told == Err(BarrierError::TimedOut));
        out.torn += u32::from(told.is_ok());
        barrier.reset().unwrap();
    }
    out
}

/// A process that dies at any point of waiting, or of arriving last, leaves a barrier that is broken or was passed.
fn every_point_of_wait(_: u32) -> Outcome {
    let barrier = Barrier::new(2).unwrap();
    let other = std::cell::Cell::new(None);
    at_every_point(
        || {
            barrier.reset().unwrap();
            let waits = || {
                let outcome = barrier.wait_timeout(HANG);
                assert!(matches!(outcome, Ok(_) | Err(BarrierError::Broken)), "{outcome:?}");
            };
            other.set(Some(spawn(waits)));
            eventually("the other one waits", || barrier.n_waiting() == Ok(1));
        },
        || assert!(barrier.wait_timeout(HANG).is_ok()),
        |_| {
            // If the other one died before it was registered, it was not a party, and this one becomes one. Otherwise,
            // this one gets an error, or no other party arrives.
            let outcome = barrier.party().and_then(|party| party.wait_timeout(Duration::from_millis(200)));
            let is_known = matches!(
                outcome,
                Ok(_)
                    | Err(BarrierError::Broken
                        | BarrierError::TimedOut
                        | BarrierError::TooManyParties { .. })
            );
            is_known && ended(&other.take().unwrap()) == Ended::Exited(0)
        },
    )
}

/// A process that dies at any point of registering is registered, and the next round breaks; or its place is free.
fn every_point_of_party(_: u32) -> Outcome {
    let barrier = Barrier::new(1).unwrap();
    at_every_point(
        || barrier.reset().unwrap(),
        || {
            let _kept = std::mem::ManuallyDrop::new(barrier.party().unwrap());
        },
        |survived| match barrier.wait_timeout(HANG) {
            Err(BarrierError::Broken) => true,
            Ok(0) => !survived,
            _ => false,
        },
    )
}

/// A process that dies at any point of withdrawing its registration is still registered, or has left.
fn every_point_of_leaving(_: u32) -> Outcome {
    let barrier = Barrier::new(1).unwrap();
    at_every_point_with(
        || barrier.reset().unwrap(),
        || barrier.party().unwrap(),
        drop,
        |survived| match barrier.wait_timeout(HANG) {
            Err(BarrierError::Broken) => !survived,
            Ok(0) => true,
            _ => false,
        },
    )
}

/// A process that dies at any point of arriving last with an action leaves a barrier that is broken, or that was passed
/// after the action.
fn every_point_of_acting(_: u32) -> Outcome {
    let runs = Arc::new(RawValue::new(0_u32).unwrap());
    let counted = Arc::clone(&runs);
    let barrier = Barrier::new(2).unwrap().with_action(move || {
        counted.fetch_add(1);
    });
    let other = std::cell::Cell::new(None);
    at_every_point(
        || {
            barrier.reset().unwrap();
            runs.store(0);
            other.set(Some(spawn(|| match barrier.wait_timeout(HANG) {
                Ok(_) => assert!(runs.load() > 0, "no party passes before the action has run"),
                Err(error) => assert_eq!(error, BarrierError::Broken),
            })));
            eventually("the other one waits", || barrier.n_waiting() == Ok(1));
        },
        || assert!(barrier.wait_timeout(HANG).is_ok()),
        |_| {
            // If the other one died before it had a place, it was not a party, and this one takes its place.
            let outcome = barrier.wait_timeout(Duration::from_millis(200));
            let is_known = matches!(outcome, Ok(_) | Err(BarrierError::Broken | BarrierError::TimedOut));
            is_known && ended(&other.take().unwrap()) == Ended::Exited(0)
        },
    )
}

/// A process that dies at any point of giving up leaves a barrier that is broken, or that only knows that it had arrived.
fn every_point_of_giving_up(_: u32) -> Outcome {
    let barrier = Barrier::new(2).unwrap();
    let soon = Duration::from_millis(1);
    at_every_point(
        || barrier.reset().unwrap(),
        || assert_eq!(barrier.wait_timeout(soon), Err(BarrierError::TimedOut)),
        |survived| match barrier.wait_timeout(Duration::from_millis(200)) {
            Err(BarrierError::Broken) => true,
            // It died before it was a party; or it had arrived, and no waiting party was there to notice its death.
            Err(BarrierError::TimedOut) | Ok(_) => !survived,
            _ => false,
        },
    )
}

/// Starts a child that waits at the barrier, and must learn that it broke.
fn waits_in_vain(barrier: &Barrier) -> ChildProcess {
    let other = spawn(|| assert_eq!(barrier.wait_timeout(HANG), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    other
}

/// A process that dies at any point of `abort` has broken the barrier, and the waiting party learns of it; or it has
/// done nothing, and another `abort` does it.
fn every_point_of_abort(_: u32) -> Outcome {
    let barrier = Barrier::new(2).unwrap();
    let other = std::cell::Cell::new(None);
    at_every_point(
        || {
            barrier.reset().unwrap();
            other.set(Some(waits_in_vain(&barrier)));
        },
        || barrier.abort().unwrap(),
        |survived| {
            let is_done = barrier.is_broken() == Ok(true);
            let is_right = is_done || (!survived && barrier.abort().is_ok());
            is_right && ended(&other.take().unwrap()) == Ended::Exited(0) && barrier.is_broken() == Ok(true)
        },
    )
}

/// A process that dies at any point of a reset leaves a reset that the next one finishes: the waiting party learns of
/// it, and the barrier works.
fn every_point_of_reset(_: u32) -> Outcome {
    let barrier = Barrier::new(2).unwrap();
    let other = std::cell::Cell::new(None);
    at_every_point(
        || {
            barrier.reset().unwrap();
            other.set(Some(waits_in_vain(&barrier)));
        },
        || barrier.reset().unwrap(),
        |_| {
            barrier.reset().unwrap();
            let told = ended(&other.take().unwrap()) == Ended::Exited(0);
            // One more reset, for the place of the party that got the error and has ended.
            barrier.reset().unwrap();
            let partner = spawn(|| assert!(barrier.wait_timeout(HANG).is_ok()));
            told && barrier.wait_timeout(HANG).is_ok() && ended(&partner) == Ended::Exited(0)
        },
    )
}

define_cells! {
    WAITER: "barrier", "waiter", waiter;
    JUST_WOKEN: "barrier", "just_woken", just_woken;
    JUST_WOKEN_AND_REGISTERED: "barrier", "just_woken_and_registered", just_woken_and_registered;
    ACTING: "barrier", "acting", acting;
    EVERY_POINT_OF_PARTY: "barrier", "every_point_of_party", every_point_of_party;
    EVERY_POINT_OF_LEAVING: "barrier", "every_point_of_leaving", every_point_of_leaving;
    EVERY_POINT_OF_ACTING: "barrier", "every_point_of_acting", every_point_of_acting;
    EVERY_POINT_OF_GIVING_UP: "barrier", "every_point_of_giving_up", every_point_of_giving_up;
    EVERY_POINT_OF_ABORT: "barrier", "every_point_of_abort", every_point_of_abort;
    REGISTERED: "barrier", "registered", registered;
    EVERY_POINT_OF_WAIT: "barrier", "every_point_of_wait", every_point_of_wait;
    EVERY_POINT_OF_RESET: "barrier", "every_point_of_reset", every_point_of_reset;
}
