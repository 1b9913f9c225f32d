//! Dicts, values and whole objects of a manager, whose clients die in a call.

use manager_rt::Manager;
use mp::RawValue;
use mp_sys::testing::{Random, eventually};

use super::{MOMENT_MAX, settles, with_manager};
use crate::cell::{Outcome, define_cells, spawn};

/// Runs `work` with 1, 2, 3, … until it is killed, and `check` with what was acknowledged, once nothing of the victim
/// is left.
fn mid_call(
    kills: u32,
    (manager, out): (&Manager, &mut Outcome),
    work: impl Fn(u64),
    ask: impl Fn(),
    check: impl Fn(&mut Outcome, u64),
) {
    let mut random = Random::new();
    for _ in 0..kills {
        let acknowledged = RawValue::new(0_u64).unwrap();
        let victim = spawn(|| {
            for number in 1.. {
                work(number);
                acknowledged.store(number);
            }
        });
        eventually("the victim works", || acknowledged.load() > 0);
        random.pause(MOMENT_MAX);
        out.recover(&victim, &ask);
        out.hangs += u32::from(!settles(manager, |info| info.clients == 1));
        check(out, acknowledged.load());
    }
}

/// Adds to a number, and puts a long value under another key.
fn dict(kills: u32) -> Outcome {
    const LEN: usize = 10_000;
    with_manager(|manager, out| {
        let (numbers, long) = (manager.dict::<u8, u64>().unwrap(), manager.dict::<u8, Vec<u64>>().unwrap());
        let work = |number| {
            numbers.fetch_add(&1, 1).unwrap();
            long.insert(&1, &vec![number; LEN]).unwrap();
        };
        mid_call(
            kills,
            (manager, out),
            work,
            || drop(numbers.get(&1)),
            |out, acknowledged| {
                out.check_count(numbers.remove(&1).unwrap().unwrap(), acknowledged);
                let value = long.remove(&1).unwrap().unwrap();
                out.torn += u32::from(value != vec![value[0]; LEN]);
                out.check_count(value[0], acknowledged);
            },
        );
    })
}

/// Replaces one value if it is still what it was.
fn value(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let value = manager.value(&[0_u64; 8]).unwrap();
        let work = |number| assert_eq!(value.compare_exchange(&[number - 1; 8], &[number; 8]), Ok(Ok(())));
        mid_call(
            kills,
            (manager, out),
            work,
            || drop(value.get()),
            |out, acknowledged| {
                let found = value.replace(&[0; 8]).unwrap();
                out.torn += u32::from(found != [found[0]; 8]);
                out.check_count(found[0], acknowledged);
            },
        );
    })
}

/// Makes objects, puts some into others, and takes some out: all of them end with their maker.
fn objects(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let work = |_| {
            let inner = manager.value(&1_u64).unwrap();
            let outer = manager.dict::<u64, manager_rt::Value<u64>>().unwrap();
            outer.insert(&1, &inner).unwrap();
            drop(inner);
            assert_eq!(outer.get(&1).unwrap().unwrap().get(), Ok(1));
        };
        let ask = || drop(manager.names());
        mid_call(kills, (manager, out), work, ask, |out, _| {
            out.lost += u32::from(manager.info().unwrap().objects != 0);
        });
    })
}

define_cells! {
    DICT: "manager_dict", "mid_call", dict;
    VALUE: "manager_value", "mid_call", value;
    OBJECTS: "manager_objects", "mid_call", objects;
}
