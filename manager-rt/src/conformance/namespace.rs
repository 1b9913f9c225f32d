//! `Namespace`.

use crate::conformance::{Fixture, assert_objects, has_transactions, tests, until_objects};
use crate::limits::NAME_BYTES_MAX;
use crate::proto::Fault;
use crate::{CallError, ItemError, Namespace, ObjectError, TransactionError, Value};

tests! {
    [Namespace] {
        attributes_have_names_and_types,
        the_length_of_a_name_has_limits,
        private_attributes_stay_in_the_proxy,
        a_transaction_changes_it_completely_or_not_at_all,
    }
    [Namespace, Value] {
        attributes_keep_the_objects_inside,
    }
}

fn attributes_have_names_and_types(fixture: &dyn Fixture) {
    let space = fixture.client().named("space").namespace().unwrap();
    let other = fixture.client().named("space").namespace().unwrap();
    space.set("width", &80_u16).unwrap();
    space.set("title", &"text".to_owned()).unwrap();
    assert_eq!(other.get::<u16>("width"), Ok(80));
    assert_eq!(other.get::<u32>("width"), Err(ItemError::Object(ObjectError::WrongType)));
    assert_eq!(other.get::<u16>("height"), Err(ItemError::NotFound));
    other.set("width", &"wide".to_owned()).unwrap();
    assert_eq!(space.get::<String>("width").unwrap(), "wide");
    let mut names = other.names().unwrap();
    names.sort();
    assert_eq!(names, ["title", "width"]);
    other.delete("title").unwrap();
    assert_eq!(space.delete("title"), Err(ItemError::NotFound));
    assert_eq!(space.names().unwrap(), ["width"]);
}

fn the_length_of_a_name_has_limits(fixture: &dyn Fixture) {
    let space = fixture.client().namespace().unwrap();
    let longest = "n".repeat(NAME_BYTES_MAX);
    space.set(&longest, &1).unwrap();
    assert_eq!(space.get::<i32>(&longest), Ok(1));
    for name in ["", &*"n".repeat(NAME_BYTES_MAX + 1)] {
        let error = space.set(name, &1).unwrap_err();
        assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::BadName { .. }))), "{error:?}");
    }
}

fn private_attributes_stay_in_the_proxy(fixture: &dyn Fixture) {
    let client = fixture.client();
    let space = client.named("space").namespace().unwrap();
    space.set("_own", &7_u8).unwrap();
    assert_eq!(space.clone().get::<u8>("_own"), Ok(7));
    assert_eq!(space.get::<u16>("_own"), Err(ItemError::Object(ObjectError::WrongType)));
    assert_eq!(client.named("space").namespace().unwrap().get::<u8>("_own"), Err(ItemError::NotFound));
    assert_eq!(space.names().unwrap(), [""; 0]);
    let encoded = postcard::to_stdvec(&space).unwrap();
    let travelled: Namespace = postcard::from_bytes(&encoded).unwrap();
    assert_eq!(travelled.get::<u8>("_own"), Err(ItemError::NotFound));
    space.delete("_own").unwrap();
    assert_eq!(space.delete("_own"), Err(ItemError::NotFound));
    if has_transactions(&client) {
        let error = client.transaction(|t| t.on(&space).set("_own", &1)).unwrap_err();
        assert_eq!(error, TransactionError::Refused(Fault::NotInTransaction));
    }
}

fn attributes_keep_the_objects_inside(fixture: &dyn Fixture) {
    let client = fixture.client();
    let space = client.namespace().unwrap();
    for name in ["shared", "_own"] {
        space.set(name, &client.value(&7).unwrap()).unwrap();
        assert_objects(fixture, 2);
        assert_eq!(space.get::<Value<i32>>(name).unwrap().get().unwrap(), 7);
        space.set(name, &0).unwrap();
        until_objects(fixture, "the end of what was inside", 1);
        space.set(name, &client.value(&8).unwrap()).unwrap();
        space.delete(name).unwrap();
        until_objects(fixture, "the end of what was deleted", 1);
    }
}

fn a_transaction_changes_it_completely_or_not_at_all(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_transactions(&client) {
        return;
    }
    let space = client.namespace().unwrap();
    let all = client.transaction(|t| {
        let set = t.on(&space).set("a", &1_u8);
        (set, t.on(&space).get::<u8>("a"), t.on(&space).set("b", &2_u8), t.on(&space).delete("a"))
    });
    assert_eq!(all.unwrap(), ((), 1, (), ()));
    let refused = client.transaction(|t| (t.on(&space).set("b", &3_u8), t.on(&space).get::<u8>("a")));
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::NotFound));
    assert_eq!(space.get::<u8>("b"), Ok(2));
}
