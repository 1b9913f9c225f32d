//! Processes are killed while they make objects, and while they pass on a result.

use mp::{ExitError, RawArray, RawValue, Value};
use mp_sys::testing::{PATIENCE, Random, eventually, spawn};

use crate::cell::{Cell, Outcome};

pub(crate) const ARENA_MID_CREATE: Cell = Cell { object: "arena", role: "mid_create", run: arena_mid_create };
pub(crate) const CHILD_MID_RESULT: Cell = Cell { object: "child", role: "mid_result", run: child_mid_result };

/// A child dies while it makes and drops objects of many sizes. Its parent's objects, old and new, belong to the parent
/// alone.
fn arena_mid_create(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let kept = Value::new(5_u64).unwrap();
    for _ in 0..kills {
        let made = RawValue::new(0_u64).unwrap();
        let victim = spawn(|| {
            for size in (0_usize..).map(|n| n % 40) {
                let values: Vec<Value<u64>> = (0..size).map(|_| Value::new(6).unwrap()).collect();
                let array = RawArray::<u8>::zeroed(size * 10_000).unwrap();
                made.fetch_add(1);
                drop((values, array));
            }
        });
        eventually("the victim works", || made.load() > 0);
        random.pause(300_000);
        let next = out.recover(&victim, || Value::new(7_u64).unwrap());
        out.torn += u32::from(next.get() != Ok(7) || kept.get() != Ok(5));
        // The victim's mappings are gone with it. This process has its own chunk, and at most one older one.
        out.lost += u32::from(mp::memory_mapped() > 2 << 20);
    }
    out
}

/// A child dies around the moment at which it stores its value: the value is whole, or there is none.
fn child_mid_result(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    for _ in 0..kills {
        let child = mp::fork(|| vec![9_u16; 2000]).unwrap();
        random.pause(1_000_000);
        child.kill().unwrap();
        out.kills += 1;
        match child.join_timeout(PATIENCE) {
            Ok(Some(value)) => out.torn += u32::from(value != [9; 2000]),
            Err(ExitError::Signaled(9)) => {}
            Ok(None) => out.hangs += 1,
            Err(_) => out.lost += 1,
        }
    }
    out
}
