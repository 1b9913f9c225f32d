//! Processes are killed at every counted point of an operation: after each store of its protocol.

use std::cell::Cell;

use mp::{Array, LockError, LockResult, RawValue, Value};
use mp_sys::child::Ended;
use mp_sys::crash;
use mp_sys::testing::{ended, eventually, hang, kill};

use crate::cell::{Outcome, define_cells, spawn};

/// No operation has this many points. A test that reaches this number would never end.
const POINTS_MAX: u64 = 1500;

/// Runs `operation` in a child that dies at its first point, then in one that dies at its second, and so on until one
/// survives. `before` prepares each round; `after` checks what is left, and returns whether it is in order.
pub(crate) fn at_every_point(
    before: impl Fn(),
    operation: impl Fn(),
    after: impl Fn(bool) -> bool,
) -> Outcome {
    at_every_point_with(before, || {}, |()| operation(), after)
}

/// Does the same, but the child first makes what the operation takes, and does not die during that.
pub(crate) fn at_every_point_with<P>(
    before: impl Fn(),
    prepare: impl Fn() -> P,
    operation: impl Fn(P),
    after: impl Fn(bool) -> bool,
) -> Outcome {
    let mut out = Outcome::default();
    for point in 1..POINTS_MAX {
        before();
        let child = spawn(|| {
            let prepared = prepare();
            crash::die_at(point);
            operation(prepared);
            crash::die_at(0);
        });
        let survived = match ended(&child) {
            Ended::Signaled(9) => false,
            Ended::Exited(0) => true,
            other => panic!("the child ended by {other:?}"),
        };
        out.kills += u32::from(!survived);
        out.torn += u32::from(!after(survived));
        if survived {
            return out;
        }
    }
    panic!("the operation has {POINTS_MAX} points or more")
}

fn value_set(_: u32) -> Outcome {
    let value = Value::new([0_u64; 9]).unwrap();
    at_every_point(
        || value.set([1; 9]).unwrap(),
        || value.set([2; 9]).unwrap(),
        |survived| match value.get() {
            Ok(found) => found == [2; 9] || (!survived && found == [1; 9]),
            Err(_) => false,
        },
    )
}

fn value_update(_: u32) -> Outcome {
    let value = Value::new([0_u64; 9]).unwrap();
    at_every_point(
        || value.set([1; 9]).unwrap(),
        || {
            value.update(|old| old.map(|n| n + 1)).unwrap();
        },
        |survived| match value.get() {
            Ok(found) => found == [2; 9] || (!survived && found == [1; 9]),
            Err(_) => false,
        },
    )
}

fn array_set(_: u32) -> Outcome {
    let array = Array::from_slice(&[[0_u8; 3]; 3]).unwrap();
    at_every_point(
        || array.write_all(&[[1; 3]; 3]).unwrap(),
        || array.set(1, [2; 3]).unwrap(),
        |survived| match array.to_vec() {
            Ok(found) => {
                let replaced = found[1] == [2; 3] || (!survived && found[1] == [1; 3]);
                replaced && found[0] == [1; 3] && found[2] == [1; 3]
            }
            Err(_) => false,
        },
    )
}

fn array_write(_: u32) -> Outcome {
    let array = Array::from_slice(&[1_u64; 4]).unwrap();
    at_every_point(
        || array.write_all(&[1; 4]).unwrap(),
        || array.write(1, &[2, 3]).unwrap(),
        |survived| {
            // A death before the section leaves nothing written. A death in it is reported, whatever was written. A
            // death after it leaves everything written.
            let found = array.to_vec();
            let told = matches!(found, Err(LockError::Poisoned(_)));
            array.clear_poison();
            found == Ok(vec![1, 2, 3, 1]) || (!survived && (told || found == Ok(vec![1; 4])))
        },
    )
}

/// Leaves a lock whose holder died with the section open.
fn die_holding<G>(lock: impl Fn() -> LockResult<G>) {
    let holds = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let _guard = lock();
        holds.store(true);
        hang();
    });
    eventually("the holder holds", || holds.load());
    kill(&holder);
}

/// The process that takes over from a dead holder dies as well, at every point: the next one still learns of a death.
fn value_take_over(_: u32) -> Outcome {
    let value = Value::new([0_u64; 2]).unwrap();
    at_every_point(
        || {
            value.clear_poison();
            die_holding(|| value.lock());
        },
        || assert!(matches!(value.get(), Err(LockError::Poisoned(_)))),
        |_| matches!(value.get(), Err(LockError::Poisoned(_))) && value.is_poisoned(),
    )
}

/// The same with an element in the journal: the holder dies at each point of `set`, and the process that takes over at
/// each of its own.
fn array_take_over(_: u32) -> Outcome {
    let array = Array::from_slice(&[[0_u8; 3]; 2]).unwrap();
    let (mut sum, redone, survived) = (Outcome::default(), Cell::new(false), Cell::new(false));
    for first in 1..POINTS_MAX {
        let out = at_every_point(
            || {
                array.set(1, [1; 3]).unwrap();
                let setter = spawn(|| {
                    crash::die_at(first);
                    array.set(1, [2; 3]).unwrap();
                });
                survived.set(ended(&setter) == Ended::Exited(0));
            },
            || assert!(matches!(array.get(1), Ok([1, 1, 1] | [2, 2, 2]))),
            |_| {
                let found = array.get(1);
                redone.set(redone.get() || (found == Ok([2; 3]) && !survived.get()));
                matches!(found, Ok([1, 1, 1] | [2, 2, 2])) && array.get(1) == found
            },
        );
        sum.kills += out.kills;
        sum.torn += out.torn;
        if survived.get() {
            // Some of the setters that died must have replaced the element.
            sum.lost += u32::from(!redone.get());
            return sum;
        }
    }
    panic!("`set` has {POINTS_MAX} points or more")
}

define_cells! {
    VALUE_SET: "value", "every_point_of_set", value_set;
    VALUE_UPDATE: "value", "every_point_of_update", value_update;
    ARRAY_SET: "array", "every_point_of_set", array_set;
    ARRAY_WRITE: "array", "every_point_of_write", array_write;
    VALUE_TAKE_OVER: "value", "every_point_of_taking_over", value_take_over;
    ARRAY_TAKE_OVER: "array", "every_point_of_taking_over", array_take_over;
}
