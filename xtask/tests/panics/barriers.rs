//! Barriers of both tiers: actions, and a party in hand.

use std::thread;

use mp::manager::{BarrierError as ManagerError, Manager};
use mp::{Barrier, BarrierError, manager};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::trap::{Trap, spring};

const BESIDE: Beside = Beside::ProcessAndThread;

define_cells! {
    "Barrier", "party(), a party in hand", party;
    "Barrier", "wait(), its action", action;
    "manager Barrier", "party(), a party in hand", manager_party;
    "manager Barrier", "wait(), its action", manager_action;
}

/// The barrier has three places, so that there is one for each contender.
fn party() -> Outcome {
    contended(
        BESIDE,
        || Barrier::new(3).unwrap(),
        |barrier| matches!(barrier.party(), Ok(_) | Err(BarrierError::TooManyParties { .. })),
        Trap::Closure,
        |barrier| {
            let _first = barrier.party().unwrap();
            let _second = barrier.party().unwrap();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |barrier| {
            // All three places are free: three threads pass.
            thread::scope(|scope| {
                let threads = [(); 3].map(|()| scope.spawn(|| barrier.wait_timeout(HANG).is_ok()));
                threads.into_iter().all(|thread| thread.join().unwrap())
            })
        },
    )
}

/// Whether a round is passed in the end. After a panic in the action, the others get an error and repair the barrier.
fn passes(barrier: &Barrier) -> bool {
    loop {
        match barrier.wait_timeout(HANG) {
            Ok(_) => return true,
            Err(BarrierError::Broken) => barrier.reset().unwrap(),
            Err(_) => return false,
        }
    }
}

/// A single party completes a round, so each contender runs the action, and arrives while another one runs it.
fn action() -> Outcome {
    let make = || Barrier::new(1).unwrap().with_action(|| (0..4).for_each(|_| spring(Trap::Closure)));
    contended(
        BESIDE,
        make,
        passes,
        Trap::Closure,
        |barrier| assert!(passes(barrier)),
        |barrier| {
            barrier.n_waiting() == Ok(0) && barrier.reset().is_ok() && barrier.wait_timeout(HANG) == Ok(0)
        },
    )
}

/// A barrier in its own server.
struct Managed {
    manager: Manager,
    barrier: manager::Barrier,
}

impl Managed {
    fn make(parties: usize) -> Self {
        let manager = Manager::start().unwrap();
        let barrier = manager.barrier(parties).unwrap();
        Self { manager, barrier }
    }

    fn passes(&self) -> bool {
        loop {
            match self.barrier.wait_timeout(HANG) {
                Ok(_) => return true,
                Err(ManagerError::Broken) => self.barrier.reset().unwrap(),
                Err(_) => return false,
            }
        }
    }

    /// Three threads pass, so all three places are free.
    fn three_pass(&self) -> bool {
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| self.barrier.wait_timeout(HANG).is_ok()));
            threads.into_iter().all(|thread| thread.join().unwrap())
        })
    }

    fn ends(&self, works: bool) -> bool {
        let waiters = self.manager.info().unwrap().waiters;
        self.manager.shutdown().unwrap();
        works && waiters == 0
    }
}

fn manager_party() -> Outcome {
    contended(
        BESIDE,
        || Managed::make(3),
        |managed| managed.barrier.party().is_ok() || managed.barrier.is_broken() == Ok(false),
        Trap::Closure,
        |managed| {
            let _first = managed.barrier.party();
            let _second = managed.barrier.party();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |managed| managed.ends(managed.barrier.is_broken() == Ok(false) && managed.three_pass()),
    )
}

fn manager_action() -> Outcome {
    let make = || {
        let Managed { manager, barrier } = Managed::make(1);
        let barrier = barrier.with_action(|| (0..4).for_each(|_| spring(Trap::Closure)));
        Managed { manager, barrier }
    };
    contended(
        BESIDE,
        make,
        Managed::passes,
        Trap::Closure,
        |managed| assert!(managed.passes()),
        |managed| {
            managed.barrier.reset().unwrap();
            managed.ends(managed.barrier.wait_timeout(HANG) == Ok(0))
        },
    )
}
