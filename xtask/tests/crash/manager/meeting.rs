//! Conditions, events and barriers of a manager.

use manager_rt::{BarrierError, Condition, Event, Lock, LockError, LockGuard, Manager};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{Random, hang};

use super::{MOMENT_MAX, settles, until_held, until_waiting, with_manager};
use crate::cell::{HANG, Outcome, define_cells, spawn};

/// Takes the lock, whether or not its last holder died; returns `None` after [`HANG`].
fn taken(lock: &Lock) -> Option<LockGuard<'_>> {
    match lock.lock_timeout(HANG) {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => Some(guard),
        Err(LockError::TimedOut) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Waits for a notification, which must come.
fn wait_for(condition: &Condition, lock: &Lock) {
    match condition.wait_timeout(taken(lock).unwrap(), HANG) {
        Ok((true, guard)) | Err(LockError::OwnerDied(guard)) => drop(guard),
        other => panic!("{other:?}"),
    }
}

/// Starts two waiters, the victim first.
fn two_waiters(manager: &Manager, condition: &Condition, lock: &Lock) -> (ChildProcess, ChildProcess) {
    let victim = spawn(|| wait_for(condition, lock));
    until_waiting(manager, 1);
    let survivor = spawn(|| wait_for(condition, lock));
    until_waiting(manager, 2);
    (victim, survivor)
}

fn condition(kills: u32, act: impl Fn(&Manager, &mut Outcome, &Condition, &Lock, &mut Random)) -> Outcome {
    with_manager(|manager, out| {
        let (condition, lock) = (manager.condition().unwrap(), manager.lock().unwrap());
        let mut random = Random::new();
        for _ in 0..kills {
            act(manager, out, &condition, &lock, &mut random);
            out.lost += u32::from(condition.n_waiting() != Ok(0));
        }
    })
}

/// A waiter dies: the next waiter gets the notification.
fn condition_waiter(kills: u32) -> Outcome {
    condition(kills, |manager, out, condition, lock, random| {
        let (victim, survivor) = two_waiters(manager, condition, lock);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || until_waiting(manager, 1));
        let guard = taken(lock);
        out.hangs += u32::from(guard.is_none());
        out.lost += u32::from(condition.notify(1) != Ok(1));
        drop(guard);
        out.expect_end(&survivor);
    })
}

/// Both are notified, and one dies as it wakes up: the other one gets the lock.
fn condition_just_woken(kills: u32) -> Outcome {
    condition(kills, |manager, out, condition, lock, random| {
        let (victim, survivor) = two_waiters(manager, condition, lock);
        let guard = taken(lock);
        out.hangs += u32::from(guard.is_none());
        out.lost += u32::from(condition.notify_all() != Ok(2));
        drop(guard);
        random.pause(150_000);
        out.recover(&victim, || {});
        out.recoveries.pop();
        out.expect_end(&survivor);
        out.hangs += u32::from(taken(lock).is_none());
    })
}

/// The notifier dies with the lock: the waiter gets it, and learns of the death.
fn condition_notifier(kills: u32) -> Outcome {
    condition(kills, |manager, out, condition, lock, random| {
        let waiter = spawn(|| match condition.wait_timeout(taken(lock).unwrap(), HANG) {
            Err(LockError::OwnerDied(guard)) => drop(guard),
            other => panic!("{other:?}"),
        });
        until_waiting(manager, 1);
        let victim = spawn(|| {
            let _guard = taken(lock).unwrap();
            assert_eq!(condition.notify(1), Ok(1));
            hang();
        });
        out.hangs += u32::from(!settles(manager, |_| condition.n_waiting() == Ok(0)));
        until_held(manager, 1);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || {});
        out.recoveries.pop();
        out.expect_end(&waiter);
    })
}

fn event(kills: u32, act: impl Fn(&mut Random, &mut Outcome, &Event, &ChildProcess)) -> Outcome {
    with_manager(|manager, out| {
        let (event, mut random) = (manager.event().unwrap(), Random::new());
        for _ in 0..kills {
            event.clear().unwrap();
            let wait = || assert_eq!(event.wait_timeout(HANG), Ok(true));
            let (victim, survivor) = (spawn(wait), spawn(wait));
            until_waiting(manager, 2);
            act(&mut random, out, &event, &victim);
            out.expect_end(&survivor);
        }
    })
}

fn event_waiter(kills: u32) -> Outcome {
    event(kills, |random, out, event, victim| {
        random.pause(MOMENT_MAX);
        out.recover(victim, || event.set().unwrap());
    })
}

fn event_just_woken(kills: u32) -> Outcome {
    event(kills, |random, out, event, victim| {
        event.set().unwrap();
        random.pause(100_000);
        out.recover(victim, || {});
        out.recoveries.pop();
    })
}

/// A waiting party dies: the others learn of it at once.
fn barrier_waiter(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (barrier, mut random) = (manager.barrier(3).unwrap(), Random::new());
        for _ in 0..kills {
            let victim = spawn(|| assert!(barrier.wait().is_ok()));
            let other = spawn(|| assert_eq!(barrier.wait_timeout(HANG), Err(BarrierError::Broken)));
            until_waiting(manager, 2);
            random.pause(MOMENT_MAX);
            out.recover(&victim, || other.wait(mp_sys::deadline::Deadline::after(HANG)).unwrap());
            out.expect_end(&other);
            barrier.reset().unwrap();
        }
    })
}

/// All parties have arrived, and one dies as it wakes up: the others pass, and so does the next set of processes.
fn barrier_just_woken(kills: u32) -> Outcome {
    killed_as_it_wakes_up(kills, false)
}

/// The party that dies as it wakes up is registered: the next round needs it, and breaks.
fn barrier_registered(kills: u32) -> Outcome {
    killed_as_it_wakes_up(kills, true)
}

fn killed_as_it_wakes_up(kills: u32, is_registered: bool) -> Outcome {
    with_manager(|manager, out| {
        let (barrier, mut random) = (manager.barrier(3).unwrap(), Random::new());
        for _ in 0..kills {
            let victim = spawn(|| {
                let _party = is_registered.then(|| barrier.party().unwrap());
                assert!(barrier.wait().is_ok());
                hang();
            });
            let survivor = spawn(|| assert!(barrier.wait_timeout(HANG).is_ok()));
            until_waiting(manager, 2);
            out.torn += u32::from(barrier.wait_timeout(HANG).is_err());
            random.pause(100_000);
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
    })
}

/// A party dies while it runs the action: the others get an error at once.
fn barrier_acting(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (barrier, event, mut random) =
            (manager.barrier(2).unwrap(), manager.event().unwrap(), Random::new());
        let acts = event.clone();
        let acting = barrier.clone().with_action(move || {
            acts.set().unwrap();
            hang();
        });
        for _ in 0..kills {
            event.clear().unwrap();
            let other = spawn(|| assert_eq!(barrier.wait_timeout(HANG), Err(BarrierError::Broken)));
            until_waiting(manager, 1);
            let victim = spawn(|| drop(acting.wait()));
            out.hangs += u32::from(event.wait_timeout(HANG) != Ok(true));
            random.pause(MOMENT_MAX);
            out.recover(&victim, || other.wait(mp_sys::deadline::Deadline::after(HANG)).unwrap());
            out.expect_end(&other);
            barrier.reset().unwrap();
        }
    })
}

define_cells! {
    CONDITION_WAITER: "manager_condition", "waiter", condition_waiter;
    CONDITION_NOTIFIER: "manager_condition", "notifier", condition_notifier;
    CONDITION_JUST_WOKEN: "manager_condition", "just_woken", condition_just_woken;
    EVENT_WAITER: "manager_event", "waiter", event_waiter;
    EVENT_JUST_WOKEN: "manager_event", "just_woken", event_just_woken;
    BARRIER_WAITER: "manager_barrier", "waiter", barrier_waiter;
    BARRIER_JUST_WOKEN: "manager_barrier", "just_woken", barrier_just_woken;
    BARRIER_REGISTERED: "manager_barrier", "registered", barrier_registered;
    BARRIER_ACTING: "manager_barrier", "acting", barrier_acting;
}
