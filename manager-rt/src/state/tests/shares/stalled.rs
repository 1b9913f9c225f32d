//! Calls that wait for room in the share of their client.

use super::*;
use crate::limits::PAGE_BYTES;

/// A client has room for one more item, waits twice, and does not get a longer one, which goes to another client.
#[test]
fn a_wait_without_room_for_an_item_is_served_with_a_shorter_one() {
    for (spec, get) in [
        (Spec::Queue(0), GET),
        (Spec::Queue(0), Op::Queue(QueueOp::GetMany(u64::MAX))),
        (Spec::JoinableQueue { maxsize: 0, max_deliveries: 3 }, Op::JoinableQueue(JoinableQueueOp::Get)),
    ] {
        let (mut world, [hoarder, other]) = world();
        let is_queue = matches!(spec, Spec::Queue(_));
        let object = world.create(other, spec);
        let put = |world: &mut World, len: usize| {
            let item = vec![7; len];
            let raw = Raw::plain(&item);
            let task = JoinableQueueOp::Put(raw);
            let op = if is_queue { Op::Queue(QueueOp::Put(raw)) } else { Op::JoinableQueue(task) };
            assert_eq!(world.ask(other, object, op), Ok(Reply::Done));
        };
        for _ in 1..ITEMS {
            put(&mut world, ITEM_BYTES - 1_000);
            assert!(world.ask(hoarder, object, get.clone()).is_ok());
            world.effects.answers.clear();
        }
        let waits = [(); 3].map(|()| world.send(hoarder, object, Wait::Forever, get.clone()));
        let mut left = waits.to_vec();
        let mut is_served = |world: &mut World| {
            let before = left.len();
            left.retain(|call| world.answer(*call).is_none_or(|answer| answer.is_err()));
            assert!(waits.ends_with(&left), "in their order");
            before - left.len()
        };
        put(&mut world, 2 * ITEM_BYTES);
        assert_eq!(is_served(&mut world), 0);
        assert!(world.ask(other, object, get.clone()).is_ok(), "another client gets it");
        for _ in 1..3 {
            put(&mut world, 1);
            assert_eq!(is_served(&mut world), 1);
        }
        // The one that waits may leave, and the next one is served in its place.
        put(&mut world, 2 * ITEM_BYTES);
        let last = world.send(hoarder, object, Wait::Forever, get.clone());
        world.cancel(hoarder, waits[2]);
        assert!(world.ask(other, object, get.clone()).is_ok());
        put(&mut world, 1);
        assert!(world.answer(last).is_some_and(|answer| answer.is_ok()));
        world.effects.answers.clear();
        world.audit();
        world.end(&[hoarder, other]);
    }
}

#[test]
fn many_items_are_as_many_as_there_is_room_for() {
    const SHORT: usize = 1_000;
    let (mut world, [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    for _ in 1..ITEMS {
        put(&mut world, other, queue, ITEM_BYTES).unwrap();
        assert!(world.ask(hoarder, queue, GET).is_ok());
    }
    for _ in 0..PAGE_BYTES / SHORT {
        put(&mut world, other, queue, SHORT).unwrap();
    }
    let many = || Op::Queue(QueueOp::GetMany(u64::MAX));
    let Ok(Reply::Values { values, .. }) = world.ask(hoarder, queue, many()) else { panic!("items") };
    assert!((2..PAGE_BYTES / SHORT).contains(&values.len()), "{}", values.len());
    drop(values);
    assert_eq!(world.ask(hoarder, queue, many()).unwrap_err().full(), Some(Room::Client));
    world.effects.answers.clear();
    world.audit();
    world.end(&[hoarder, other]);
}

/// The others are not looked at, however many they are.
#[test]
fn a_wait_without_room_is_looked_at_when_its_client_has_done_something() {
    let (mut world, clients @ [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    let waiting = waiting_without_room(&mut world, clients, queue);
    world.tidy();
    for (client, is_looked_at) in [(other, false), (hoarder, true)] {
        world.state.acknowledge(client, 0);
        assert_eq!(world.state.core.may_any_go_on(), is_looked_at);
    }
    waiting.iter().for_each(|call| world.cancel(hoarder, *call));
    world.tidy();
    world.state.acknowledge(hoarder, 0);
    assert!(!world.state.core.may_any_go_on(), "it waits no longer");
    world.effects.answers.clear();
    world.end(&clients);
}

/// Its tasks are released one after the other, and nothing else happens to the one that waits.
#[test]
fn a_wait_without_room_goes_on_when_another_client_removes_the_queue_of_its_tasks() {
    let (mut world, [hoarder, other]) = world();
    let tasks = world.open(other, "tasks", Spec::JoinableQueue { maxsize: 0, max_deliveries: 3 });
    let task = vec![7; ITEM_BYTES];
    for _ in 0..ITEMS {
        let put = Op::JoinableQueue(JoinableQueueOp::Put(Raw::plain(&task)));
        assert_eq!(world.ask(other, tasks, put), Ok(Reply::Done));
        let get = Op::JoinableQueue(JoinableQueueOp::Get);
        let Ok(_) = world.ask(hoarder, tasks, get) else { break };
        world.effects.answers.clear();
        // What counts now are the leases.
        world.state.acknowledge(hoarder, u64::MAX);
    }
    let queue = world.create(other, Spec::Queue(0));
    put(&mut world, other, queue, ITEM_BYTES).unwrap();
    let waits = world.send(hoarder, queue, Wait::Forever, GET);
    assert_eq!(world.answer(waits), None, "it has no room");
    world.remove(other, "tasks");
    world.tidy();
    assert!(world.answer(waits).is_some_and(|answer| answer.is_ok()));
    world.effects.answers.clear();
    world.audit();
    world.end(&[hoarder, other]);
}
