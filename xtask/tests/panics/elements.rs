//! Elements whose `CheckedBitPattern` or `Debug` panics: in objects without a lock, and while the lock of a dead holder
//! is taken over.

use mp::{Array, LockResult, RawArray, RawValue, RwLock, Value};
use mp_sys::child::Ended;
use mp_sys::testing::{Checked, ended, spawn_beside_threads};
use rustix::process::{Signal, getpid, kill_process};

use crate::cell::{Beside, HANG, Outcome, contended, define_cells};
use crate::locks::taken;
use crate::trap::{Trap, spring};

define_cells! {
    "Value", "Debug (T: Debug)", value_shown;
    "RawValue", "load() (T: CheckedBitPattern)", || raw(Trap::Look, |(value, _)| _ = value.load());
    "RawValue", "Debug (T: CheckedBitPattern)", || raw(Trap::Look, |(value, _)| drop(format!("{value:?}")));
    "RawValue", "Debug (T: Debug)", || raw(Trap::Debug, |(value, _)| drop(format!("{value:?}")));
    "RawArray", "get() (T: CheckedBitPattern)", || raw(Trap::Look, |(_, array)| _ = array.get(0).unwrap());
    "RawArray", "to_vec() (T: CheckedBitPattern)", || raw(Trap::Look, |(_, array)| drop(array.to_vec()));
    "RawArray", "read_into() (T: CheckedBitPattern)", || raw(Trap::Look, |(_, array)| array.read_into(0, &mut [Checked(0); 3]).unwrap());
    "Value", "lock() after a death (T: CheckedBitPattern)", value_of_the_dead;
    "Array", "lock() after a death (T: CheckedBitPattern)", array_of_the_dead;
    "RwLock", "read() after a death (T: CheckedBitPattern)", || rwlock_of_the_dead(|lock| drop(lock.read()));
    "RwLock", "write() after a death (T: CheckedBitPattern)", || rwlock_of_the_dead(|lock| drop(lock.write()));
}

fn hooks() {
    Checked::on_look(|| spring(Trap::Look));
    Checked::on_show(|| spring(Trap::Debug));
}

fn raw(trap: Trap, entry: impl Fn(&(RawValue<Checked>, RawArray<Checked>))) -> Outcome {
    hooks();
    contended(
        Beside::ProcessAndThread,
        || (RawValue::new(Checked(0)).unwrap(), RawArray::zeroed(3).unwrap()),
        |(value, array)| {
            value.store(Checked(2));
            value.load().0 > 0 && array.set(0, Checked(2)).is_ok()
        },
        trap,
        entry,
        |(value, array)| value.load().0 > 0 && array.get(0) == Ok(Checked(2)),
    )
}

fn value_shown() -> Outcome {
    hooks();
    contended(
        Beside::ProcessAndThread,
        || Value::new(Checked(0)).unwrap(),
        |value| value.update(|number| Checked(number.0 + 1)).is_ok(),
        Trap::Debug,
        // While another contender has the lock, `Debug` shows no element.
        |value| (0..8).for_each(|_| drop(format!("{value:?}"))),
        |value| !value.is_poisoned() && value.get().unwrap().0 > 0,
    )
}

/// Lets a process die while it holds what `take` returns.
fn leave<G>(take: impl FnOnce() -> LockResult<G>) {
    let child = spawn_beside_threads(|| {
        // The trap is for the process that takes over.
        Checked::on_look(|| ());
        let _held = take();
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    assert_eq!(ended(&child), Ended::Signaled(9));
}

/// Each time, a process or thread takes over from a dead holder: the entry, or a contender that comes first.
fn of_the_dead<O: Sync>(
    make: impl FnOnce() -> O,
    turn: impl Fn(&O) -> bool + Sync,
    entry: impl Fn(&O),
    clear: impl Fn(&O),
) -> Outcome {
    hooks();
    let works = |object: &O| {
        clear(object);
        turn(object)
    };
    contended(Beside::ProcessAndThread, make, &turn, Trap::Look, entry, works)
}

fn value_of_the_dead() -> Outcome {
    of_the_dead(
        || Value::new(Checked(0)).unwrap(),
        |value| taken(value.lock_timeout(HANG), || value.clear_poison()),
        |value| {
            leave(|| value.lock());
            drop(value.lock());
        },
        Value::clear_poison,
    )
}

fn array_of_the_dead() -> Outcome {
    of_the_dead(
        || Array::zeroed(3).unwrap(),
        |array: &Array<Checked>| taken(array.lock_timeout(HANG), || array.clear_poison()),
        |array| {
            leave(|| array.lock());
            drop(array.lock());
        },
        Array::clear_poison,
    )
}

fn rwlock_of_the_dead(entry: impl Fn(&RwLock<Checked>)) -> Outcome {
    let clear = |lock: &RwLock<Checked>| lock.clear_poison();
    of_the_dead(
        || RwLock::new(Checked(0)).unwrap(),
        |lock| {
            taken(lock.read_timeout(HANG), || clear(lock)) && taken(lock.write_timeout(HANG), || clear(lock))
        },
        |lock| {
            leave(|| lock.write());
            entry(lock);
        },
        clear,
    )
}
