//! Names: the closure that makes the value of an object with a name panics.

use mp::{Array, RawArray, RawValue, RwLock, Value};
use mp_sys::identity::Stamp;

use crate::cell::{Beside, Outcome, contended, define_cells};
use crate::trap::{Trap, spring};

define_cells! {
    "Value", "open_or_create(init)", || named(|name| drop(Value::open_or_create(name, init)));
    "RawValue", "open_or_create(init)", || named(|name| drop(RawValue::open_or_create(name, init)));
    "RwLock", "open_or_create(init)", || named(|name| drop(RwLock::open_or_create(name, init)));
    "Array", "open_or_create(init)", || named(|name| drop(Array::open_or_create(name, || vec![init()])));
    "RawArray", "open_or_create(init)", || named(|name| drop(RawArray::open_or_create(name, || vec![init()])));
}

fn init() -> u64 {
    (0..4).for_each(|_| spring(Trap::Closure));
    7
}

/// Tests an entry on a name of its own. The contenders open and create another name.
fn named(entry: impl Fn(&str)) -> Outcome {
    let name = format!("test-{}-panics", Stamp::current().pid());
    contended(
        Beside::ProcessAndThread,
        || name.clone(),
        |name| {
            let others = format!("{name}-others");
            Value::open_or_create(&others, || 1_u8).is_ok_and(|value| value.get() == Ok(1))
        },
        Trap::Closure,
        |name| entry(name),
        |name| Value::create(name, 1_u8).is_ok(),
    )
}
