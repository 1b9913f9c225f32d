//! `RwLock`: guards in hand, and elements whose traits panic. A writer's panic poisons; a reader changes nothing.

use mp::{LockError, LockResult, RwLock};
use mp_sys::testing::Checked;

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::locks::{taken, tells};
use crate::trap::{Trap, spring};

define_cells! {
    "RwLock", "write(), a guard in hand", writer;
    "RwLock", "read(), a guard in hand", reader;
    "RwLock", "read(), two guards in hand", reader_twice;
    "RwLock", "read() (T: CheckedBitPattern)", || looked(|lock| drop(taken_whole(lock.read())));
    "RwLock", "write() (T: CheckedBitPattern)", || looked(|lock| drop(taken_whole(lock.write())));
    "RwLock", "Debug (T: CheckedBitPattern)", || looked(|lock| drop(format!("{lock:?}")));
    "RwLock", "Debug (T: Debug)", || shown(|lock| drop(format!("{lock:?}")));
    "RwLock", "Debug of a guard (T: Debug)", || shown(|lock| drop(format!("{:?}", *lock.read().unwrap())));
}

/// Returns a guard that was not poisoned.
fn taken_whole<G>(outcome: LockResult<G>) -> G {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Reads, and changes a little, as each contender does in a turn; both wait without a timeout.
fn turn(lock: &RwLock<u64>) -> bool {
    let clear = || lock.clear_poison();
    taken(lock.read_timeout(HANG), clear) && taken(lock.write_timeout(HANG), clear)
}

fn writer() -> Outcome {
    contended(
        Beside::ProcessAndThread,
        || RwLock::new(0_u64).unwrap(),
        turn,
        Trap::Closure,
        |lock| {
            let _guard = lock.write();
            (0..4).for_each(|_| spring(Trap::Closure));
        },
        |lock| {
            lock.clear_poison();
            let poisons = || {
                let _guard = lock.write().unwrap();
                panic!("on purpose");
            };
            let is_told = || lock.is_poisoned() && matches!(lock.try_read(), Err(LockError::Poisoned(_)));
            tells(poisons, is_told, || lock.clear_poison()) && lock.try_write().is_ok()
        },
    )
}

fn reads(entry: impl Fn(&RwLock<u64>)) -> Outcome {
    contended(
        Beside::ProcessAndThread,
        || RwLock::new(0_u64).unwrap(),
        |lock| lock.read_timeout(HANG).is_ok() && lock.write_timeout(HANG).is_ok(),
        Trap::Closure,
        entry,
        // A reader that is still registered would keep the writer out.
        |lock| !lock.is_poisoned() && lock.try_write().is_ok(),
    )
}

fn reader() -> Outcome {
    reads(|lock| {
        let _guard = lock.read().unwrap();
        (0..4).for_each(|_| spring(Trap::Closure));
    })
}

fn reader_twice() -> Outcome {
    reads(|lock| {
        let _guards = [lock.read().unwrap(), lock.read().unwrap()];
        (0..4).for_each(|_| spring(Trap::Closure));
    })
}

fn elements(trap: Trap, entry: impl Fn(&RwLock<Checked>)) -> Outcome {
    contended(
        Beside::ProcessAndThread,
        || RwLock::new(Checked(0)).unwrap(),
        |lock| {
            lock.read_timeout(HANG).is_ok() && lock.write_timeout(HANG).map(|mut value| value.0 += 1).is_ok()
        },
        trap,
        entry,
        |lock| !lock.is_poisoned() && lock.try_write().is_ok_and(|value| value.0 > 0),
    )
}

fn looked(entry: impl Fn(&RwLock<Checked>)) -> Outcome {
    Checked::on_look(|| spring(Trap::Look));
    elements(Trap::Look, entry)
}

fn shown(entry: impl Fn(&RwLock<Checked>)) -> Outcome {
    Checked::on_show(|| spring(Trap::Debug));
    // While a thread writes, `Debug` shows no element.
    elements(Trap::Debug, |lock| (0..4).for_each(|_| entry(lock)))
}
