//! Barriers: a party dies while it waits, before it waits, and at every point of waiting and resetting.

use std::time::Duration;

use mp::{Barrier, BarrierError, RawValue};
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::testing::{Random, ended, eventually, hang};

use crate::cell::{HANG, Outcome, define_cells, spawn};
use crate::points::at_every_point;

/// A party that waits dies: the others are told.
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

/// All have come, and one of them dies as it wakes up: the others have passed, and the next round is broken.
fn just_woken(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let barrier = Barrier::new(3).unwrap();
    for _ in 0..kills {
        let victim = spawn(|| {
            assert!(barrier.wait().is_ok());
            hang();
        });
        let survivor = spawn(|| assert!(barrier.wait_timeout(HANG).is_ok()));
        eventually("both wait", || barrier.n_waiting() == Ok(2));
        random.pause(100_000);
        out.torn += u32::from(barrier.wait_timeout(HANG).is_err());
        random.pause(20_000);
        let told = out.recover(&victim, || barrier.wait_timeout(HANG));
        out.hangs += u32::from(told == Err(BarrierError::TimedOut));
        out.torn += u32::from(told.is_ok());
        out.expect_end(&survivor);
        barrier.reset().unwrap();
    }
    out
}

/// A party that registered dies before it waits: the others are told.
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

/// Whoever dies at any point of waiting, or of being the last to come, leaves a barrier that is broken or was passed.
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
            // One who died before it was registered was no party: then this one is. Else it is told, or nobody comes.
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

/// Whoever dies at any point of giving up leaves a barrier that is broken, or that knows no more than that it came.
fn every_point_of_giving_up(_: u32) -> Outcome {
    let barrier = Barrier::new(2).unwrap();
    let soon = Duration::from_millis(1);
    at_every_point(
        || barrier.reset().unwrap(),
        || assert_eq!(barrier.wait_timeout(soon), Err(BarrierError::TimedOut)),
        |survived| match barrier.wait_timeout(Duration::from_millis(200)) {
            Err(BarrierError::Broken) => true,
            // It died before it was a party, or it had come, and nobody waited who would have noticed its death.
            Err(BarrierError::TimedOut) | Ok(_) => !survived,
            _ => false,
        },
    )
}

/// A child that waits at the barrier, and is to be told that it broke.
fn waits_in_vain(barrier: &Barrier) -> ChildProcess {
    let other = spawn(|| assert_eq!(barrier.wait_timeout(HANG), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    other
}

/// Whoever dies at any point of `abort` has broken the barrier, and who waits is told; or has done nothing, and another `abort`
/// does it.
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

/// Whoever dies at any point of a reset leaves one that the next one finishes: who waited is told, and the barrier works.
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
            // One more, for the place of the one who was told and has ended.
            barrier.reset().unwrap();
            let partner = spawn(|| assert!(barrier.wait_timeout(HANG).is_ok()));
            told && barrier.wait_timeout(HANG).is_ok() && ended(&partner) == Ended::Exited(0)
        },
    )
}

define_cells! {
    WAITER: "barrier", "waiter", waiter;
    JUST_WOKEN: "barrier", "just_woken", just_woken;
    EVERY_POINT_OF_GIVING_UP: "barrier", "every_point_of_giving_up", every_point_of_giving_up;
    EVERY_POINT_OF_ABORT: "barrier", "every_point_of_abort", every_point_of_abort;
    REGISTERED: "barrier", "registered", registered;
    EVERY_POINT_OF_WAIT: "barrier", "every_point_of_wait", every_point_of_wait;
    EVERY_POINT_OF_RESET: "barrier", "every_point_of_reset", every_point_of_reset;
}
