//! What one client may take: it gets the error, and the others go on.

mod stalled;

use super::*;
use crate::limits::{
    CLIENT_LITTLE_SHARE, CLIENT_RECORDS_SHARE, CLIENT_SHARE, RESERVE_BYTES_MIN, RESERVE_CLIENT_SHARE,
};
use crate::proto::{EventOp, JoinableQueueOp, ListOp, QueueOp};
use crate::state::charges::{DELIVERY_BYTES, REFERENCE_BYTES};
use crate::state::waiters::{TIMER_BYTES, WAITER_BYTES};

const MEMORY_BYTES: usize = 16 << 20;
const RECORDS: usize = MEMORY_BYTES / CLIENT_SHARE / CLIENT_RECORDS_SHARE;
const BULK: usize = MEMORY_BYTES / CLIENT_SHARE - RECORDS;
/// So many items of this length are what a client may take, and not one byte more.
const ITEMS: usize = 24;
const ITEM_BYTES: usize = BULK / ITEMS - DELIVERY_BYTES - size_of::<Payload>() - 96;

const GET: Op<Raw<'static>> = Op::Queue(QueueOp::Get);

fn world() -> (World, [ClientId; 2]) {
    let mut world = World::with(Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() });
    let clients = [world.client(), world.client()];
    (world, clients)
}

fn put(world: &mut World, client: ClientId, queue: ObjectId, len: usize) -> Answer<Payload> {
    let item = vec![7; len];
    world.ask(client, queue, Op::Queue(QueueOp::Put(Raw::plain(&item))))
}

#[test]
fn a_client_that_confirms_nothing_gets_the_error_and_the_others_go_on() {
    for (longer, taken) in [(0, ITEMS), (1, ITEMS - 1)] {
        let (mut world, [hoarder, other]) = world();
        let queue = world.create(other, Spec::Queue(0));
        for _ in 0..ITEMS {
            put(&mut world, other, queue, ITEM_BYTES + longer).unwrap();
        }
        for _ in 0..taken {
            assert!(world.ask(hoarder, queue, GET).is_ok());
            world.effects.answers.clear();
        }
        world.audit();
        put(&mut world, other, queue, 1).unwrap();
        let refused = world.ask(hoarder, queue, GET).unwrap_err();
        let Fault::NoRoom { room: Room::Client, limit, asked } = refused else { panic!("{refused}") };
        assert!(limit == count_of(BULK) && asked > 0, "{refused}");
        assert!(world.ask(other, queue, GET).is_ok(), "it is still there");
        world.state.acknowledge(hoarder, count_of(ITEMS));
        put(&mut world, other, queue, ITEM_BYTES).unwrap();
        assert!(world.ask(hoarder, queue, GET).is_ok(), "what it has confirmed is no longer charged");
        world.audit();
        world.end(&[hoarder, other]);
    }
}

/// Lets a client wait for more items than it may have, and take as many as it may. Returns the calls that still wait, oldest
/// first.
fn waiting_without_room(world: &mut World, [hoarder, other]: [ClientId; 2], queue: ObjectId) -> Vec<u64> {
    let mut waiting: Vec<_> =
        (0..ITEMS + 5).map(|_| world.send(hoarder, queue, Wait::For(1_000), GET)).collect();
    for call in waiting.drain(..ITEMS) {
        put(world, other, queue, ITEM_BYTES).unwrap();
        assert!(world.answer(call).unwrap().is_ok());
    }
    put(world, other, queue, ITEM_BYTES).unwrap();
    world.effects.answers.clear();
    world.audit();
    waiting
}

#[test]
fn a_wait_for_items_goes_on_until_its_client_has_room_and_delays_nobody() {
    let (mut world, clients @ [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    let waiting = waiting_without_room(&mut world, clients, queue);
    assert!(waiting.iter().all(|call| world.answer(*call).is_none()));
    assert!(world.ask(other, queue, GET).is_ok(), "another client gets the item");
    let patient = world.send(other, queue, Wait::Forever, GET);
    put(&mut world, other, queue, ITEM_BYTES).unwrap();
    assert!(world.answer(patient).unwrap().is_ok(), "and so does one that has come later, and waits");
    put(&mut world, other, queue, ITEM_BYTES).unwrap();
    // A try does not wait. Nor does it take the place of a call that does.
    assert_eq!(world.ask(hoarder, queue, GET).unwrap_err().full(), Some(Room::Client));
    world.state.acknowledge(hoarder, 1);
    world.tidy();
    assert!(world.answer(waiting[0]).unwrap().is_ok(), "the oldest one is the first");
    assert!(waiting[1..].iter().all(|call| world.answer(*call).is_none()));
    world.effects.answers.clear();
    world.audit();
    world.state.acknowledge(hoarder, u64::MAX);
    world.tidy();
    for call in &waiting[1..] {
        assert_eq!(world.answer(*call), None);
        put(&mut world, other, queue, ITEM_BYTES).unwrap();
        assert!(world.answer(*call).unwrap().is_ok());
    }
    world.effects.answers.clear();
    world.audit();
    world.end(&[hoarder, other]);
}

#[test]
fn a_wait_without_room_ends_like_any_other_one() {
    let (mut world, clients @ [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    let waiting = waiting_without_room(&mut world, clients, queue);
    world.cancel(hoarder, waiting[0]);
    assert_eq!(world.answer(waiting[0]), Some(Err(Fault::Cancelled)));
    world.pass(1_000);
    assert_eq!(world.answer(waiting[1]), Some(Err(Fault::TimedOut)));
    assert_eq!((world.state.info().waiters, world.state.core.may_any_go_on()), (0, false));
    // What comes after they have left is for others.
    let call = world.send(hoarder, queue, Wait::Forever, GET);
    assert_eq!(world.answer(call), None);
    world.ask(other, queue, Op::Queue(QueueOp::Close)).unwrap();
    assert_eq!(world.answer(call), None, "the item is still there");
    assert!(world.ask(other, queue, GET).is_ok());
    assert_eq!(world.answer(call), Some(Err(Fault::Closed)));
    let open = world.create(other, Spec::Queue(0));
    put(&mut world, other, open, ITEM_BYTES).unwrap();
    world.send(hoarder, open, Wait::Forever, GET);
    world.leave(hoarder);
    assert!(world.ask(other, open, GET).is_ok());
    world.effects.answers.clear();
    world.audit();
    world.end(&[other]);
}

#[test]
fn unfinished_tasks_count_until_they_are_done_or_come_back() {
    let (mut world, [hoarder, other]) = world();
    let queue = world.create(other, Spec::JoinableQueue { maxsize: 0, max_deliveries: 3 });
    let tasks = |op| Op::JoinableQueue(op);
    let item = vec![7; ITEM_BYTES - 1_000];
    for _ in 0..ITEMS + 4 {
        world.ask(other, queue, tasks(JoinableQueueOp::Put(Raw::plain(&item)))).unwrap();
    }
    let lease = |answer: Answer<Payload>| match answer {
        Ok(Reply::Leased { lease, .. }) => lease,
        answer => panic!("{answer:?}"),
    };
    let mut leases = Vec::new();
    for _ in 0..ITEMS {
        leases.push(lease(world.ask(hoarder, queue, tasks(JoinableQueueOp::Get))));
        world.effects.answers.clear();
    }
    world.state.acknowledge(hoarder, u64::MAX);
    world.audit();
    let full = world.ask(hoarder, queue, tasks(JoinableQueueOp::Get)).unwrap_err();
    assert_eq!(full.full(), Some(Room::Client), "it has read all of them, and done none");
    let waits: Vec<_> =
        (0..3).map(|_| world.send(hoarder, queue, Wait::Forever, tasks(JoinableQueueOp::Get))).collect();
    assert!(waits.iter().all(|call| world.answer(*call).is_none()));
    // A transaction that fails leaves everything as it was.
    let done = |lease| Step { object: queue, op: tasks(JoinableQueueOp::Done { lease }) };
    let requeue = |lease| Step { object: queue, op: tasks(JoinableQueueOp::Requeue { lease }) };
    let wrong = Step { object: queue, op: tasks(JoinableQueueOp::Done { lease: u64::MAX }) };
    assert!(world.transact(hoarder, vec![done(leases[0]), requeue(leases[1]), wrong]).is_err());
    assert!(waits.iter().all(|call| world.answer(*call).is_none()));
    world.audit();
    world.ask(hoarder, queue, tasks(JoinableQueueOp::Done { lease: leases[0] })).unwrap();
    let next = lease(world.answer(waits[0]).unwrap());
    assert_eq!(world.answer(waits[1]), None);
    world.ask(hoarder, queue, tasks(JoinableQueueOp::Requeue { lease: next })).unwrap();
    assert_eq!(lease(world.answer(waits[1]).unwrap()), next + 1);
    world.effects.answers.clear();
    world.audit();
    assert_eq!(world.answer(waits[2]), None);
    world.leave(hoarder);
    world.audit();
    assert!(world.ask(other, queue, tasks(JoinableQueueOp::Get)).is_ok());
    world.effects.answers.clear();
    world.end(&[other]);
}

#[test]
fn one_item_may_be_larger_than_the_share_and_a_second_one_may_not() {
    let (mut world, [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    for len in [BULK + 1, BULK / CLIENT_LITTLE_SHARE] {
        put(&mut world, other, queue, len).unwrap();
    }
    assert!(world.ask(hoarder, queue, GET).is_ok());
    assert_eq!(world.ask(hoarder, queue, GET).unwrap_err().full(), Some(Room::Client));
    world.audit();
    world.end(&[hoarder, other]);
}

#[test]
fn the_items_of_one_transaction_count_together() {
    let (mut world, [hoarder, other]) = world();
    let queue = world.create(other, Spec::Queue(0));
    for _ in 0..=ITEMS {
        put(&mut world, other, queue, ITEM_BYTES).unwrap();
    }
    let gets = |count| (0..count).map(|_| Step { object: queue, op: GET }).collect();
    assert_eq!(world.transact(hoarder, gets(ITEMS + 1)).unwrap_err().full(), Some(Room::Client));
    world.audit();
    assert!(world.transact(hoarder, gets(ITEMS)).is_ok());
    world.audit();
    world.end(&[hoarder, other]);
}

#[test]
fn failed_tasks_and_items_that_wait_for_room_count_too() {
    let (mut world, [hoarder, other]) = world();
    let tasks = world.create(other, Spec::JoinableQueue { maxsize: 0, max_deliveries: 1 });
    let full = world.create(other, Spec::Queue(1));
    put(&mut world, other, full, 1).unwrap();
    let item = vec![7; BULK / 2];
    let task = Op::JoinableQueue(JoinableQueueOp::Put(Raw::plain(&item)));
    world.ask(other, tasks, task).unwrap();
    let Ok(Reply::Leased { lease, .. }) = world.ask(other, tasks, Op::JoinableQueue(JoinableQueueOp::Get))
    else {
        panic!("a task")
    };
    world.ask(other, tasks, Op::JoinableQueue(JoinableQueueOp::Requeue { lease })).unwrap();
    let take = || Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: true });
    let wants_room = || Op::Queue(QueueOp::Put(Raw::plain(&item)));
    let waits = world.send(hoarder, full, Wait::Forever, wants_room());
    assert_eq!(world.answer(waits), None);
    assert_eq!(world.ask(hoarder, tasks, take()).unwrap_err().full(), Some(Room::Client));
    let refused = world.send(hoarder, full, Wait::Forever, wants_room());
    assert_eq!(world.answer(refused).unwrap().unwrap_err().full(), Some(Room::Client));
    assert!(matches!(world.ask(other, tasks, take()), Ok(Reply::Values { values, .. }) if values.len() == 1));
    world.audit();
    world.end(&[hoarder, other]);
}

#[test]
fn waiting_calls_and_references_are_refused_at_the_limit_and_others_still_wait() {
    let (mut world, [hoarder, other]) = world();
    let event = world.create(other, Spec::Event);
    let wait = || Op::Event(EventOp::Wait);
    let mut waiting = 0_usize;
    let refused = loop {
        let call = world.send(hoarder, event, Wait::Forever, wait());
        match world.answer(call) {
            None => waiting += 1,
            Some(answer) => break answer.unwrap_err(),
        }
    };
    let each = WAITER_BYTES + TIMER_BYTES;
    let asked = count_of(each);
    assert_eq!(refused, Fault::NoRoom { room: Room::Client, limit: count_of(RECORDS), asked });
    assert_eq!(waiting, (RECORDS - CLIENT_BYTES) / each);
    let attach = || Op::Manager(ManagerOp::Attach(vec![event; RECORDS / REFERENCE_BYTES]));
    let full = world.ask(hoarder, ObjectId::MANAGER, attach()).unwrap_err().full();
    assert_eq!(full, Some(Room::Client));
    let call = world.send(other, event, Wait::Forever, wait());
    assert_eq!(world.answer(call), None, "it waits");
    world.audit();
    assert_eq!(world.ask(hoarder, event, Op::Event(EventOp::Set)), DONE, "what frees memory is not refused");
    world.end(&[hoarder, other]);
}

#[test]
fn a_client_without_room_for_references_gets_no_new_one_and_more_of_those_that_it_has() {
    let (mut world, [hoarder, other]) = world();
    let event = world.create(other, Spec::Event);
    let queue = world.create(other, Spec::Queue(0));
    let named = world.open(other, "named", Spec::Event);
    let attach = |object| Op::Manager(ManagerOp::Attach(vec![object]));
    world.ask(hoarder, ObjectId::MANAGER, attach(queue)).unwrap();
    world.ask(hoarder, ObjectId::MANAGER, attach(event)).unwrap();
    while {
        let call = world.send(hoarder, event, Wait::Forever, Op::Event(EventOp::Wait));
        world.answer(call).is_none()
    } {}
    let mut made = Vec::new();
    while {
        made.push(world.create(other, Spec::Event));
        world.ask(hoarder, ObjectId::MANAGER, attach(made[made.len() - 1])).is_ok()
    } {}
    let references = |world: &World| world.state.core.clients.get(hoarder).unwrap().references();
    let had = references(&world);
    let open = || ManagerOp::Open { name: "named".to_owned(), spec: Spec::Event, print: PRINT };
    let refused = world.ask(hoarder, ObjectId::MANAGER, Op::Manager(open())).unwrap_err();
    assert_eq!(refused.full(), Some(Room::Client), "a name is no way around the limit");
    let put = |world: &mut World, inside: ObjectId| {
        let ids = inside.0.to_le_bytes();
        let item = Raw { bytes: b"proxy", ids: &ids };
        world.ask(other, queue, Op::Queue(QueueOp::Put(item))).unwrap();
    };
    put(&mut world, event);
    assert!(world.ask(hoarder, queue, GET).is_ok(), "it has a reference to this one");
    put(&mut world, named);
    assert_eq!(world.ask(hoarder, queue, GET).unwrap_err().full(), Some(Room::Client));
    assert_eq!(references(&world), had);
    assert!(world.ask(other, queue, GET).is_ok());
    world.effects.answers.clear();
    world.audit();
}

#[test]
fn one_client_leaves_others_a_part_of_the_reserve() {
    let (mut world, [hoarder, other]) = world();
    let list = world.create(other, Spec::List);
    let event = world.create(other, Spec::Event);
    let item = vec![1; 1 << 20];
    while world.ask(other, list, Op::List(ListOp::Push(Raw::plain(&item)))).is_ok() {}
    while world.ask(other, list, Op::List(ListOp::Push(Raw::plain(b"a short one of 30 characters.")))).is_ok()
    {
    }
    let mut waiting = 0;
    while {
        let call = world.send(hoarder, event, Wait::Forever, Op::Event(EventOp::Wait));
        world.answer(call).is_none()
    } {
        waiting += 1;
    }
    assert!(waiting > 100 && waiting * WAITER_BYTES < RESERVE_BYTES_MIN / RESERVE_CLIENT_SHARE, "{waiting}");
    let call = world.send(other, event, Wait::Forever, Op::Event(EventOp::Wait));
    assert_eq!(world.answer(call), None, "it waits");
    assert!(world.state.connect().is_ok());
}
