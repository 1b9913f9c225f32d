//! Names: a process is killed at every step of meeting by a name. The others still meet, in a complete object.

use std::path::Path;

use mp::{NameError, Value, named};
use mp_sys::identity::Stamp;

use crate::cell::{Outcome, define_cells};
use crate::points::at_every_point;

fn name(of: &str) -> String {
    format!("test-{}-{of}", Stamp::current().pid())
}

fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(format!("mp.{name}")).exists()
}

/// No other process has the name.
fn first(_: u32) -> Outcome {
    let name = name("first");
    at_every_point(
        || {},
        || drop(Value::open_or_create(&name, || [7_u64; 20]).unwrap()),
        |_| {
            let found = Value::open_or_create(&name, || [7_u64; 20]).unwrap();
            let is_whole = found.get() == Ok([7; 20]);
            drop(found);
            is_whole && !exists(&name)
        },
    )
}

/// Another process was killed while it held the object, and its file is still there.
fn after_the_dead(_: u32) -> Outcome {
    let name = name("dead");
    at_every_point(
        || {
            let holder = crate::cell::spawn(|| {
                let _value = Value::open_or_create(&name, || [6_u64; 20]).unwrap();
                mp_sys::crash::die_at(1);
                mp_sys::crash::point();
            });
            mp_sys::testing::ended(&holder);
        },
        || drop(Value::open_or_create(&name, || [7_u64; 20]).unwrap()),
        |_| {
            let found = Value::open_or_create(&name, || [7_u64; 20]).unwrap();
            let is_whole = found.get() == Ok([7; 20]);
            drop(found);
            is_whole && !exists(&name)
        },
    )
}

/// The object exists, and its name stays.
fn persistent(_: u32) -> Outcome {
    let name = name("persistent");
    let out = at_every_point(
        || Value::open_or_create(&name, || [7_u64; 20]).unwrap().persist().unwrap(),
        || drop(Value::open_or_create(&name, || [8_u64; 20]).unwrap()),
        |_| Value::<[u64; 20]>::open(&name).unwrap().get() == Ok([7; 20]),
    );
    named::unlink(&name).unwrap();
    out
}

/// If the process dies before it sets the mark, the name goes with it. If it dies after that, the name stays.
fn persist(_: u32) -> Outcome {
    let name = name("persist");
    at_every_point(
        || {},
        || Value::open_or_create(&name, || [7_u64; 20]).unwrap().persist().unwrap(),
        |survived| {
            let outcome = Value::<[u64; 20]>::open(&name);
            let is_whole = match &outcome {
                Ok(found) => found.get() == Ok([7; 20]),
                Err(error) => *error == NameError::NotFound && !survived,
            };
            drop(outcome);
            let is_left = exists(&name);
            drop(named::unlink(&name));
            is_whole && (is_left || !survived) && !exists(&name)
        },
    )
}

define_cells! {
    FIRST: "name", "every_point_of_creating", first;
    AFTER_THE_DEAD: "name", "every_point_of_following_the_dead", after_the_dead;
    PERSISTENT: "name", "every_point_of_opening_what_stays", persistent;
    PERSIST: "name", "every_point_of_persist", persist;
}
