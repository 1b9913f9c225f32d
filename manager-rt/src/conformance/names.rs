//! Names, references, and what the manager reports about itself.

use crate::conformance::{Fixture, assert_objects, tests, until_objects};
use crate::limits::NAME_BYTES_MAX;
use crate::proto::{Fault, Kind};
use crate::{CallError, ObjectError};

tests! {
    [Value, Lock] {
        a_name_stands_for_one_object,
        objects_of_dead_clients_end,
    }
    [Lock] {
        the_length_of_a_name_has_limits,
    }
    [Value] {
        a_named_object_ends_when_it_is_removed,
        an_object_ends_with_its_last_proxy,
    }
    [Event] {
        names_are_listed_in_order_and_in_pages,
    }
}

fn a_name_stands_for_one_object(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let value = one.named("b").value(&1_u8).unwrap();
    one.named("a").lock().unwrap();
    assert_eq!(other.names().unwrap(), ["a", "b"]);
    other.named("b").value(&0_u8).unwrap().set(&2).unwrap();
    assert_eq!(value.get().unwrap(), 2);
    let wrong = CallError::Fault(Fault::WrongKind { found: Kind::Value });
    assert_eq!(other.named("b").lock().unwrap_err(), wrong.into());
    assert_eq!(other.named("b").value(&0_u16).unwrap_err(), ObjectError::WrongType);
    let versioned = crate::Versioned::<1, u8>::new(0);
    other.named("versioned").value(&versioned).unwrap();
    let newer = crate::Versioned::<2, u8>::new(0);
    assert_eq!(other.named("versioned").value(&newer).unwrap_err(), ObjectError::WrongType);
    other.remove("versioned").unwrap();
    assert_eq!(value.get().unwrap(), 2);
}

fn names_are_listed_in_order_and_in_pages(fixture: &dyn Fixture) {
    let client = fixture.client();
    assert_eq!(client.names().unwrap(), [""; 0]);
    // One page has room for no more than some thousand short names, or a thousand long ones.
    let mut expected = Vec::new();
    for number in 0..2_000 {
        let long = format!("{number:0>width$}", width = NAME_BYTES_MAX);
        let short = format!("s{number}");
        for name in [long, short] {
            drop(client.named(&name).event().unwrap());
            expected.push(name);
        }
    }
    for number in 2_000..8_000 {
        let name = format!("s{number}");
        drop(client.named(&name).event().unwrap());
        expected.push(name);
    }
    expected.sort();
    assert!(client.names().unwrap() == expected);
    for name in expected.iter().step_by(2) {
        client.remove(name).unwrap();
    }
    let left: Vec<_> = expected.iter().skip(1).step_by(2).cloned().collect();
    assert!(client.names().unwrap() == left);
}

fn the_length_of_a_name_has_limits(fixture: &dyn Fixture) {
    let client = fixture.client();
    let longest = "n".repeat(NAME_BYTES_MAX);
    client.named(&longest).lock().unwrap();
    for name in ["", &*"n".repeat(NAME_BYTES_MAX + 1)] {
        let error = client.named(name).lock().unwrap_err();
        assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::BadName { .. }))), "{error:?}");
    }
    assert_eq!(client.names().unwrap(), [longest]);
}

fn a_named_object_ends_when_it_is_removed(fixture: &dyn Fixture) {
    let client = fixture.client();
    drop(client.named("value").value(&1).unwrap());
    let value = client.named("value").value(&0).unwrap();
    assert_eq!(value.get().unwrap(), 1, "it outlives its proxies");
    client.remove("value").unwrap();
    let gone = CallError::Fault(Fault::UnknownObject);
    assert_eq!(value.get().unwrap_err(), gone.into());
    assert_eq!(client.remove("value").unwrap_err(), CallError::Fault(Fault::UnknownName));
    assert_eq!(client.named("value").value(&7).unwrap().get().unwrap(), 7, "the name is free");
    assert_eq!(value.set(&1).unwrap_err(), gone.into(), "and the old proxy does not refer to the new object");
}

fn an_object_ends_with_its_last_proxy(fixture: &dyn Fixture) {
    let client = fixture.client();
    let value = client.value(&1).unwrap();
    let clone = value.clone();
    drop(value);
    assert_eq!(clone.get().unwrap(), 1);
    assert_objects(fixture, 1);
    drop(clone);
    until_objects(fixture, "the end", 0);
}

fn objects_of_dead_clients_end(fixture: &dyn Fixture) {
    let dying = fixture.client();
    let value = dying.value(&1).unwrap();
    assert_objects(fixture, 1);
    fixture.kill(&dying);
    until_objects(fixture, "the end", 0);
    assert!(value.get().is_err());
    // A client that ends normally leaves nothing behind either.
    let leaving = fixture.client();
    drop((leaving.value(&2).unwrap(), leaving.lock().unwrap(), leaving));
    until_objects(fixture, "the end", 0);
}
