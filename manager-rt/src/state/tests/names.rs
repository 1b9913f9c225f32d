//! Names: pages, and the limits of one answer.

use super::{Limits, World};
use crate::count::count_of;
use crate::limits::{NAME_BYTES_MAX, PAGE_BYTES, PAGE_ITEMS_MAX, VALUE_BYTES_MAX};
use crate::proto::{Fault, ManagerOp, ObjectId, Op, Reply, Spec};
use crate::state::ClientId;

fn page(world: &mut World, client: ClientId, name: &str) -> Vec<String> {
    let op = Op::Manager(ManagerOp::NamesAfter { name: name.to_owned() });
    match world.ask(client, ObjectId::MANAGER, op) {
        Ok(Reply::Names(names)) => names,
        other => panic!("{other:?}"),
    }
}

/// Returns all names, and the number of pages.
fn pages(world: &mut World, client: ClientId) -> (Vec<String>, usize) {
    let (mut all, mut count) = (Vec::<String>::new(), 0);
    loop {
        let last = all.last().cloned().unwrap_or_default();
        let more = page(world, client, &last);
        if more.is_empty() {
            return (all, count);
        }
        all.extend(more);
        count += 1;
    }
}

#[test]
fn a_page_ends_at_its_items_and_at_its_bytes() {
    let mut world = World::new();
    let client = world.client();
    let most = usize::try_from(PAGE_ITEMS_MAX).unwrap();
    for number in 0..most {
        world.open(client, &format!("{number:04}"), Spec::Event);
    }
    assert_eq!(page(&mut world, client, "").len(), most);
    world.open(client, "later", Spec::Event);
    assert_eq!(page(&mut world, client, "").len(), most);
    assert_eq!(page(&mut world, client, "4095"), ["later"]);
    assert_eq!(page(&mut world, client, "later"), [""; 0]);
    // The name at which a page begins need not exist any more.
    world.remove(client, "4095");
    assert_eq!(page(&mut world, client, "4095"), ["later"]);
    let fit = PAGE_BYTES / (NAME_BYTES_MAX + 2);
    let long = |number: usize| format!("x{number:0>width$}", width = NAME_BYTES_MAX - 1);
    for number in 0..=fit {
        world.open(client, &long(number), Spec::Event);
    }
    assert_eq!(page(&mut world, client, "later").len(), fit);
    assert_eq!(page(&mut world, client, &long(fit - 1)), [long(fit)]);
}

#[test]
fn all_names_are_listed_however_many_they_are_and_one_answer_has_a_limit() {
    let mut world = World::new();
    let client = world.client();
    let size = NAME_BYTES_MAX + 2;
    let count = VALUE_BYTES_MAX / size;
    let mut expected: Vec<_> =
        (0..count).map(|number| format!("{number:0>width$}", width = NAME_BYTES_MAX)).collect();
    // With this one, the answer is exactly as long as it may be.
    expected.push("x".repeat(VALUE_BYTES_MAX - count * size - 2));
    for name in &expected {
        world.open(client, name, Spec::Event);
    }
    let all = || Op::Manager(ManagerOp::Names);
    let answer = world.ask(client, ObjectId::MANAGER, all());
    assert!(answer == Ok(Reply::Names(expected.clone())));
    world.open(client, "z", Spec::Event);
    expected.push("z".to_owned());
    let answer = world.ask(client, ObjectId::MANAGER, all());
    assert_eq!(answer, Err(Fault::TooLarge { limit: count_of(VALUE_BYTES_MAX) }));
    let (found, pages) = pages(&mut world, client);
    assert!(found == expected);
    assert!(pages >= VALUE_BYTES_MAX / PAGE_BYTES);
}

#[test]
fn one_answer_with_all_names_is_refused_in_a_manager_without_room_for_it() {
    let mut world = World::with(Limits { memory_bytes: 16 << 20, ..Limits::default() });
    let client = world.client();
    let mut count = 0;
    let op = |number| {
        let name = format!("{number:0>width$}", width = NAME_BYTES_MAX);
        Op::Manager(ManagerOp::Open { name, spec: Spec::Event, print: 1 })
    };
    while world.ask(client, ObjectId::MANAGER, op(count)).is_ok() {
        count += 1;
    }
    let refused = world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Names)).unwrap_err();
    assert!(refused.is_no_space(), "{refused}");
    assert!(page(&mut world, client, "").len() > 900, "pages have room");
}

#[test]
fn names_that_are_removed_between_two_pages_hide_no_other_name() {
    let mut world = World::new();
    let client = world.client();
    let most = usize::try_from(PAGE_ITEMS_MAX).unwrap();
    let names: Vec<_> = (0..3 * most).map(|number| format!("{number:05}")).collect();
    for name in &names {
        world.open(client, name, Spec::Event);
    }
    let mut found = page(&mut world, client, "");
    assert_eq!(found, names[..most]);
    // All of the page, and the first half of the next one.
    let half = most + most / 2;
    names[..half].iter().for_each(|name| world.remove(client, name));
    let last = found.last().cloned().unwrap();
    found.extend(page(&mut world, client, &last));
    assert_eq!(found[most..], names[half..half + most]);
    // One that comes again, and a new one.
    world.open(client, &names[0], Spec::Event);
    world.open(client, "99999", Spec::Event);
    let last = found.last().cloned().unwrap();
    found.extend(page(&mut world, client, &last));
    let expected = [&names[..most], &names[half..], &["99999".to_owned()]].concat();
    assert_eq!(found, expected, "each name that was there all the time comes once");
}
