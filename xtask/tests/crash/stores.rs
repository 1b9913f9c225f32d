//! Processes are killed in the middle of a store: the old value or the new one is there, and every acknowledged update.

use mp::{Array, LockError, RawArray, RawValue, Value};
use mp_sys::testing::{Random, eventually};

use crate::cell::{Outcome, define_cells, spawn};

/// The longest that a victim works before it is killed, in nanoseconds.
const MOMENT_MAX: u64 = 200_000;

/// Kills a child that runs `step` with 1, 2, 3, … at a random moment; `check` gets what it left and the number of the
/// last step that returned.
fn killed_in_a_loop(kills: u32, step: impl Fn(u64), check: impl Fn(&mut Outcome, u64)) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let acknowledged = RawValue::new(0_u64).unwrap();
        let victim = spawn(|| {
            for number in 1_u64.. {
                step(number);
                acknowledged.store(number);
            }
        });
        eventually("the victim works", || acknowledged.load() > 0);
        random.pause(MOMENT_MAX);
        out.recover(&victim, || {});
        out.recoveries.pop();
        check(&mut out, acknowledged.load());
    }
    out
}

fn value_mid_set(kills: u32) -> Outcome {
    let value = Value::new([0_u64; 512]).unwrap();
    killed_in_a_loop(
        kills,
        |n| value.set([n; 512]).unwrap(),
        |out, acknowledged| {
            let found = value.get().unwrap();
            out.torn += u32::from(found.iter().any(|&n| n != found[0]));
            out.check_count(found[0], acknowledged);
        },
    )
}

fn value_mid_update(kills: u32) -> Outcome {
    let value = Value::new([0_u64; 50]).unwrap();
    let update = |_| {
        value.update(|old| old.map(|n| n + 1)).unwrap();
    };
    killed_in_a_loop(kills, update, |out, acknowledged| {
        let found = value.replace([0; 50]).unwrap();
        out.torn += u32::from(found.iter().any(|&n| n != found[0]));
        out.check_count(found[0], acknowledged);
    })
}

fn array_mid_set(kills: u32) -> Outcome {
    // Elements of 24 bytes go through the journal.
    let array = Array::from_slice(&[[0_u64; 3]; 4]).unwrap();
    killed_in_a_loop(
        kills,
        |n| array.set(2, [n; 3]).unwrap(),
        |out, acknowledged| {
            let found = array.get(2).unwrap();
            out.torn += u32::from(found != [found[0]; 3]);
            out.check_count(found[0], acknowledged);
        },
    )
}

/// A range may be half written, but then the poison reports it.
fn array_mid_write(kills: u32) -> Outcome {
    let array = Array::<u64>::zeroed(1000).unwrap();
    killed_in_a_loop(
        kills,
        |n| array.write(0, &[n; 1000]).unwrap(),
        |out, acknowledged| match array.to_vec() {
            Ok(found) => {
                out.torn += u32::from(found.iter().any(|&n| n != found[0]));
                out.check_count(found[0], acknowledged);
            }
            Err(LockError::Poisoned(_)) => array.clear_poison(),
            Err(other) => panic!("{other}"),
        },
    )
}

fn raw_value_mid_store(kills: u32) -> Outcome {
    let value = RawValue::new([0_u8; 5]).unwrap();
    let pattern = |n: u64| [n.to_le_bytes()[0]; 5];
    killed_in_a_loop(
        kills,
        |n| value.store(pattern(n)),
        |out, acknowledged| {
            let found = value.load();
            out.torn += u32::from(found != [found[0]; 5]);
            out.lost += u32::from(found != pattern(acknowledged) && found != pattern(acknowledged + 1));
        },
    )
}

/// A bulk copy stores some of its elements, each of them whole.
fn raw_array_mid_write(kills: u32) -> Outcome {
    let array = RawArray::<u32>::zeroed(20_000).unwrap();
    // Two halves of an element, which must be equal.
    let element = |n: u64| u32::from(u16::from_le_bytes([n.to_le_bytes()[0], 0])) * 0x1_0001;
    killed_in_a_loop(
        kills,
        |n| array.write_all(&vec![element(n); 20_000]).unwrap(),
        |out, acknowledged| {
            let (now, next) = (element(acknowledged), element(acknowledged + 1));
            let found = array.to_vec();
            out.torn += u32::from(found.iter().any(|&n| n >> 16 != n & 0xffff));
            out.lost += u32::from(found.iter().any(|&n| n != now && n != next));
        },
    )
}

define_cells! {
    VALUE_MID_SET: "value", "mid_set", value_mid_set;
    VALUE_MID_UPDATE: "value", "mid_update", value_mid_update;
    ARRAY_MID_SET: "array", "mid_set", array_mid_set;
    ARRAY_MID_WRITE: "array", "mid_write", array_mid_write;
    RAW_VALUE_MID_STORE: "raw_value", "mid_store", raw_value_mid_store;
    RAW_ARRAY_MID_WRITE: "raw_array", "mid_write", raw_array_mid_write;
}
