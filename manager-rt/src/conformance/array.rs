//! `Array`.

use crate::conformance::{Fixture, assert_objects, has_transactions, tests, until_objects};
use crate::limits::{PAGE_ITEMS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::Fault;
use crate::{Array, ItemError, TransactionError};

tests! {
    [Array] {
        elements_are_read_and_replaced,
        a_long_array_is_made_at_once,
        an_index_without_an_element_is_an_error,
        no_update_is_lost,
        many_pages_are_read,
        a_transaction_changes_it_completely_or_not_at_all,
    }
    [Array, Value] {
        elements_keep_the_objects_inside,
    }
}

fn elements_are_read_and_replaced(fixture: &dyn Fixture) {
    let array = fixture.client().named("array").array(&[1, 2, 3, 4]).unwrap();
    let other: Array<i32> = fixture.client().named("array").array::<i32>(&[]).unwrap();
    other.set(0, &10).unwrap();
    assert_eq!((array.replace(0, &11).unwrap(), other.get(0).unwrap(), other.len().unwrap()), (10, 11, 4));
    other.write(1, &[20, 30]).unwrap();
    assert_eq!((array.to_vec().unwrap(), array.read(1..3).unwrap()), (vec![11, 20, 30, 4], vec![20, 30]));
    assert_eq!(array.read(4..4).unwrap(), [0; 0]);
    assert_eq!(array.compare_exchange(3, &5, &6).unwrap(), Err(4));
    assert_eq!(array.compare_exchange(3, &4, &6).unwrap(), Ok(()));
    assert_eq!((array.fetch_add(3, -7).unwrap(), array.update(3, |n| n * 5).unwrap()), (6, -1));
    assert_eq!(array.get(3).unwrap(), -5);
    assert!(!array.is_empty().unwrap());
    assert!(fixture.client().array::<u8>(&[]).unwrap().is_empty().unwrap());
}

fn a_long_array_is_made_at_once(fixture: &dyn Fixture) {
    let elements: Vec<u32> = (0..u32::try_from(VALUES_AT_ONCE_MAX).unwrap() + 1).collect();
    let array = fixture.client().named("array").array(&elements).unwrap();
    let other: Array<u32> = fixture.client().named("array").array(&elements[..VALUES_AT_ONCE_MAX]).unwrap();
    assert_eq!((other.len().unwrap(), array.to_vec().unwrap()), (elements.len(), elements));
    until_objects(fixture, "nothing else is left", 1);
}

fn an_index_without_an_element_is_an_error(fixture: &dyn Fixture) {
    let array = fixture.client().array(&[1, 2]).unwrap();
    let is_none = |error: ItemError| matches!(error, ItemError::Index { len: 2, .. });
    assert!(is_none(array.get(2).unwrap_err()));
    assert!(is_none(array.set(2, &0).unwrap_err()));
    assert!(is_none(array.fetch_add(2, 0).unwrap_err()));
    assert!(is_none(array.update(2, |n| n).unwrap_err()));
    assert!(is_none(array.compare_exchange(2, &0, &0).unwrap_err()));
    assert!(is_none(array.read(1..3).unwrap_err()));
    assert!(is_none(array.write(1, &[7, 8]).unwrap_err()));
    assert_eq!(array.to_vec().unwrap(), [1, 2]);
}

fn no_update_is_lost(fixture: &dyn Fixture) {
    const EACH: u32 = 200;
    let clients = [fixture.client(), fixture.client()];
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                let array = client.named("array").array(&[0_u32; 2]).unwrap();
                for _ in 0..EACH {
                    array.fetch_add(0, 1).unwrap();
                    array.update(1, |n| n + 1).unwrap();
                }
            });
        }
    });
    let array = clients[0].named("array").array(&[0_u32; 2]).unwrap();
    assert_eq!(array.to_vec().unwrap(), [2 * EACH; 2]);
}

fn many_pages_are_read(fixture: &dyn Fixture) {
    let elements: Vec<u64> = (0..PAGE_ITEMS_MAX * 2 + 1).collect();
    let array = fixture.client().array(&elements).unwrap();
    assert_eq!(array.to_vec().unwrap(), elements);
    assert_eq!(array.read(1..elements.len()).unwrap(), elements[1..]);
}

fn elements_keep_the_objects_inside(fixture: &dyn Fixture) {
    let client = fixture.client();
    let array = client.array(&[client.value(&1).unwrap(), client.value(&2).unwrap()]).unwrap();
    assert_objects(fixture, 3);
    assert_eq!(array.get(1).unwrap().get().unwrap(), 2);
    array.set(0, &array.get(1).unwrap()).unwrap();
    until_objects(fixture, "the end of the first", 2);
    drop(array);
    until_objects(fixture, "the end of all", 0);
}

fn a_transaction_changes_it_completely_or_not_at_all(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_transactions(&client) {
        return;
    }
    let array = client.array(&[1, 2]).unwrap();
    let all = client.transaction(|t| {
        let set = (t.on(&array).set(0, &5), t.on(&array).replace(0, &6), t.on(&array).fetch_add(1, 7));
        (set, t.on(&array).get(1), t.on(&array).compare_exchange(0, &5, &9))
    });
    assert_eq!(all.unwrap(), (((), 5, 2), 9, Err(6)));
    let refused = client.transaction(|t| (t.on(&array).set(0, &0), t.on(&array).set(2, &0)));
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::Index { index: 2, len: 2 }));
    assert_eq!(array.to_vec().unwrap(), [6, 9]);
}
