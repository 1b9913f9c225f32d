//! Guards that a child inherited through a fork that was not refused, as by a crate that makes daemons, lend nothing.

use std::cell::Cell;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::time::Duration;

use mp_sys::testing::{bare_fork, leave, spawn, spawn_holding, succeeded, tests};
use shm_core::{Array, Condition, LockError, Value, WaitError};

tests! {
    an_inherited_guard_lends_nothing,
    a_guard_lends_where_it_was_taken,
    a_guard_of_a_child_is_shared_by_its_threads,
    an_inherited_guard_waits_for_nothing,
    a_closure_that_forks_changes_nothing_in_the_child,
}

/// Returns whether `use_it` panics, without printing the message.
fn is_refused(use_it: impl FnOnce()) -> bool {
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(use_it));
    drop(std::panic::take_hook());
    outcome.is_err()
}

/// Tries each way to the data of a guard, each in a separate child.
fn refuses<G: DerefMut>(guard: G, read: impl Fn(&G::Target), write: impl Fn(&mut G::Target)) {
    let guard = Cell::new(Some(guard));
    let uses: [&dyn Fn(&mut G); 2] = [&|guard| read(guard), &|guard| write(guard)];
    for use_it in uses {
        succeeded(&spawn_holding(|| {
            let mut guard = guard.take().unwrap();
            assert!(is_refused(|| use_it(&mut guard)));
            // Dropping it does nothing, as always.
            drop(guard);
        }));
    }
    let mut guard = guard.take().unwrap();
    read(&guard);
    write(&mut guard);
}

fn an_inherited_guard_lends_nothing() {
    let (small, large) = (Value::new(1_u64).unwrap(), Value::new([1_u64; 9]).unwrap());
    let array = Array::from_slice(&[1_u8, 2, 3]).unwrap();
    refuses(small.lock().unwrap(), |it| assert_eq!(*it, 1), |it| *it = 7);
    refuses(large.lock().unwrap(), |it| assert_eq!(it[8], 1), |it| it[8] = 7);
    refuses(array.lock().unwrap(), |it| assert_eq!(it[1], 2), |it| it[1] = 7);
    assert_eq!((small.get(), array.get(1)), (Ok(7), Ok(7)), "the parent's own stores");
}

fn a_guard_lends_where_it_was_taken() {
    let value = Value::new(1_u64).unwrap();
    // A process that was forked before, and one that forks while it holds the guard.
    let work = || {
        let mut held = value.lock().unwrap();
        succeeded(&spawn_holding(|| {}));
        *held += 1;
        succeeded(&spawn_holding(|| {}));
        assert_ne!(*held, 0);
    };
    work();
    succeeded(&spawn(|| {
        work();
        succeeded(&spawn(work));
    }));
    assert_eq!(value.get(), Ok(4));
}

fn a_guard_of_a_child_is_shared_by_its_threads() {
    let value = Value::new(1_u64).unwrap();
    succeeded(&spawn(|| {
        let held = value.lock().unwrap();
        std::thread::scope(|scope| {
            let read = || assert_eq!(*held, 1);
            std::thread::Builder::new().spawn_scoped(scope, read).unwrap();
        });
    }));
    // A thread that the child starts cannot use what the child inherited either.
    let held = value.lock().unwrap();
    succeeded(&spawn_holding(|| {
        assert!(is_refused(|| {
            std::thread::scope(|scope| {
                let read = || assert_eq!(*held, 1);
                let thread = std::thread::Builder::new().spawn_scoped(scope, read).unwrap();
                thread.join().unwrap();
            });
        }));
    }));
}

fn an_inherited_guard_waits_for_nothing() {
    let (value, condition) = (Value::new(1_u64).unwrap(), Condition::new().unwrap());
    let held = Cell::new(Some(value.lock().unwrap()));
    succeeded(&spawn_holding(|| {
        let held = held.take().unwrap();
        assert!(is_refused(|| drop(condition.wait_while(held, |it| *it == 1))));
        assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)), "the parent has it");
    }));
    // The parent's guard can wait as before.
    let held = held.take().unwrap();
    let outcome = condition.wait_timeout_while(held, Duration::ZERO, |it| *it == 1);
    let (is_there, held) = outcome.map_err(|_: WaitError<_>| "no place").unwrap();
    assert!(!is_there);
    assert_eq!(*held, 1);
}

fn a_closure_that_forks_changes_nothing_in_the_child() {
    let value = Value::new([1_u64; 9]).unwrap();
    let forked = Cell::new(None);
    let change = |mut it: [u64; 9]| {
        it[8] += 1;
        forked.set(Some(bare_fork()));
        it
    };
    let is_refused = is_refused(|| {
        value.update(change).unwrap();
    });
    let Some(child) = forked.take().unwrap() else { leave(is_refused) };
    assert!(!is_refused, "the parent goes on");
    succeeded(&child);
    assert_eq!(value.get().unwrap()[8], 2);
}
