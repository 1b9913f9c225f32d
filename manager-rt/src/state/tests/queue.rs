//! Tests of queues with the virtual clock. Their model is in [`random`].

mod random;

use super::*;
use crate::limits::{CAPACITY_MAX, PAGE_BYTES, PAGE_ITEMS_MAX};
use crate::proto::{Number, QueueOp};

const GET: Op<Raw<'static>> = Op::Queue(QueueOp::Get);
const CLOSE: Op<Raw<'static>> = Op::Queue(QueueOp::Close);
const LEN: Op<Raw<'static>> = Op::Queue(QueueOp::Len);

const fn put(item: &[u8]) -> Op<Raw<'_>> {
    Op::Queue(QueueOp::Put(Raw::plain(item)))
}

fn put_many<'a>(items: &[&'a [u8]]) -> Op<Raw<'a>> {
    Op::Queue(QueueOp::PutMany(items.iter().map(|item| Raw::plain(item)).collect()))
}

const fn get_many(max: u64) -> Op<Raw<'static>> {
    Op::Queue(QueueOp::GetMany(max))
}

fn got(item: &[u8]) -> Answer<Payload> {
    Ok(Reply::Value(Payload::copy(Raw::plain(item))))
}

fn got_many(items: &[&[u8]]) -> Answer<Payload> {
    let values = items.iter().map(|item| Payload::copy(Raw::plain(item))).collect();
    Ok(Reply::Values { values, version: 0 })
}

#[test]
fn items_come_in_order_to_the_longest_waiters() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [one, two, three] = clients;
    let queue = world.create(three, Spec::Queue(0));
    assert_eq!(world.ask(one, queue, GET), Err(Fault::Empty));
    let dead = world.send(two, queue, Wait::Forever, GET);
    let late = world.send(one, queue, Wait::For(5), GET);
    let cancelled = world.send(one, queue, Wait::Forever, GET);
    let first = world.send(one, queue, Wait::Forever, get_many(2));
    let second = world.send(three, queue, Wait::Forever, GET);
    world.leave(two);
    world.pass(5);
    world.control(one, Control::Cancel { call: cancelled });
    assert_eq!(world.ask(three, queue, put_many(&[b"a", b"b", b"c", b"d"])), DONE);
    assert_eq!(world.answer(dead), None, "dead waiters take no item");
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    assert_eq!(world.answer(cancelled), Some(Err(Fault::Cancelled)));
    assert_eq!(world.answer(first), Some(got_many(&[b"a", b"b"])));
    assert_eq!(world.answer(second), Some(got(b"c")));
    assert_eq!(world.ask(one, queue, get_many(9)), Ok(got_many(&[b"d"]).unwrap()));
    world.end(&clients);
}

#[test]
fn a_caller_that_waits_for_much_room_is_not_overtaken() {
    let mut world = World::new();
    let clients = [world.client(), world.client()];
    let [one, two] = clients;
    let queue = world.create(two, Spec::Queue(2));
    assert_eq!(world.ask(one, queue, put(b"a")), DONE);
    let much = world.send(one, queue, Wait::For(9), put_many(&[b"b", b"c"]));
    let little = world.send(two, queue, Wait::Forever, put(b"d"));
    assert_eq!(world.ask(two, queue, put(b"e")), Err(Fault::Full), "others wait");
    assert_eq!(world.answer(little), None);
    assert_eq!(world.ask(two, queue, GET), got(b"a"));
    assert_eq!((world.answer(much), world.answer(little)), (Some(DONE), None));
    let late = world.send(one, queue, Wait::For(1), put_many(&[b"x", b"y"]));
    world.pass(1);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    assert_eq!(world.ask(two, queue, get_many(1)), got_many(&[b"b"]));
    assert_eq!(world.answer(little), Some(DONE));
    let dies = world.send(one, queue, Wait::Forever, put_many(&[b"x", b"y"]));
    let behind = world.send(two, queue, Wait::Forever, put(b"f"));
    assert_eq!(world.ask(two, queue, GET), got(b"c"));
    assert_eq!(world.answer(behind), None);
    world.leave(one);
    assert_eq!((world.answer(dies), world.answer(behind)), (None, Some(DONE)), "its place is free");
    assert_eq!(world.ask(two, queue, get_many(9)), got_many(&[b"d", b"f"]));
    world.audit();
    world.end(&clients);
}

#[test]
fn the_limits_of_a_queue_hold() {
    let mut world = World::new();
    let client = world.client();
    let create = |most| Op::Manager(ManagerOp::Create { spec: Spec::Queue(most), print: PRINT });
    let fault = Fault::OutOfRange { least: 0, most: CAPACITY_MAX };
    assert_eq!(world.ask(client, ObjectId::MANAGER, create(CAPACITY_MAX + 1)), Err(fault));
    let widest = world.create(client, Spec::Queue(CAPACITY_MAX));
    assert_eq!(world.ask(client, widest, Op::Queue(QueueOp::Capacity)), Ok(Reply::Count(CAPACITY_MAX)));
    let queue = world.create(client, Spec::Queue(2));
    let fault = Fault::OutOfRange { least: 0, most: 2 };
    assert_eq!(world.ask(client, queue, put_many(&[b"", b"", b""])), Err(fault));
    assert_eq!(world.ask(client, queue, put_many(&[])), DONE);
    assert_eq!(world.ask(client, queue, put_many(&[b"", b""])), DONE);
    assert_eq!(world.ask(client, queue, put(b"")), Err(Fault::Full));
    let fault = Fault::OutOfRange { least: 1, most: u64::MAX };
    assert_eq!(world.ask(client, queue, get_many(0)), Err(fault));
    world.end(&[client]);
}

#[test]
fn one_answer_carries_one_page() {
    let mut world = World::new();
    let client = world.client();
    let queue = world.create(client, Spec::Queue(0));
    let count = |answer| match answer {
        Ok(Reply::Values { values, .. }) => values.len() as u64,
        other => panic!("{other:?}"),
    };
    let small = vec![&b""[..]; usize::try_from(PAGE_ITEMS_MAX).unwrap() + 1];
    assert_eq!(world.ask(client, queue, put_many(&small)), DONE);
    assert_eq!(count(world.ask(client, queue, get_many(u64::MAX))), PAGE_ITEMS_MAX);
    assert_eq!(count(world.ask(client, queue, get_many(u64::MAX))), 1);
    // Each counts for one byte more than its length.
    let (half, long) = (vec![7; PAGE_BYTES / 2 - 1], vec![7; PAGE_BYTES + 1]);
    let items = [&half[..], &half, &half, &half, b"one more", &long, &long];
    assert_eq!(world.ask(client, queue, put_many(&items)), DONE);
    for expected in [2, 2, 1, 1, 1] {
        assert_eq!(count(world.ask(client, queue, get_many(u64::MAX))), expected);
    }
    world.end(&[client]);
}

#[test]
fn a_closed_queue_returns_its_remaining_items() {
    let mut world = World::new();
    let client = world.client();
    let [full, empty] = [world.create(client, Spec::Queue(1)), world.create(client, Spec::Queue(1))];
    assert_eq!(world.ask(client, full, put(b"a")), DONE);
    let putter = world.send(client, full, Wait::Forever, put(b"b"));
    let getter = world.send(client, empty, Wait::Forever, GET);
    for queue in [full, empty] {
        assert_eq!(world.ask(client, queue, CLOSE), DONE);
        assert_eq!(world.ask(client, queue, put(b"c")), Err(Fault::Closed));
        assert_eq!(world.ask(client, queue, put_many(&[b"c"])), Err(Fault::Closed));
        assert_eq!(world.ask(client, queue, Op::Queue(QueueOp::IsClosed)), Ok(Reply::Bool(true)));
    }
    assert_eq!(world.answer(putter), Some(Err(Fault::Closed)));
    assert_eq!(world.answer(getter), Some(Err(Fault::Closed)));
    assert_eq!(world.ask(client, full, GET), got(b"a"));
    let last = world.send(client, full, Wait::Forever, GET);
    assert_eq!(world.answer(last), Some(Err(Fault::Closed)));
    world.end(&[client]);
}

#[test]
fn waiters_get_an_error_at_the_end_and_many_items_are_released_in_steps() {
    let mut world = World::new();
    world.leave_the_rest();
    let client = world.client();
    let [full, empty] = ["full", "empty"].map(|name| world.open(client, name, Spec::Queue(9_000)));
    assert_eq!(world.ask(client, full, put_many(&[&b"x"[..]; 9_000])), DONE);
    let putter = world.send(client, full, Wait::Forever, put(b"y"));
    let getter = world.send(client, empty, Wait::Forever, GET);
    ["full", "empty"].iter().for_each(|name| world.remove(client, name));
    assert_eq!(world.answer(putter), Some(Err(Fault::UnknownObject)));
    assert_eq!(world.answer(getter), Some(Err(Fault::UnknownObject)));
    assert!(world.state.info().bytes > 0);
    while world.state.tidy(&mut world.effects) {}
    assert_eq!(world.counts(), Info { clients: 1, ..Info::default() });
    world.audit();
    world.end(&[client]);
}

#[test]
fn items_that_were_certainly_not_read_return_to_the_front() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(two, Spec::Queue(4));
    let parked = world.send(one, queue, Wait::Forever, GET); // Its answer is this client's number 0.
    assert_eq!(world.ask(two, queue, put_many(&[b"a", b"b", b"c"])), DONE);
    assert_eq!(world.ask(two, queue, put(b"d")), DONE);
    assert_eq!(world.answer(parked), Some(got(b"a")));
    assert_eq!(world.ask(one, queue, get_many(2)), got_many(&[b"b", b"c"]));
    assert_eq!(world.ask(one, queue, GET), got(b"d"));
    let waiting = world.send(two, queue, Wait::Forever, GET);
    world.state.acknowledge(one, 1);
    world.leave_unread(one, 1);
    assert_eq!(world.answer(waiting), Some(got(b"b")), "the first one was read");
    assert_eq!(world.ask(two, queue, get_many(9)), got_many(&[b"c", b"d"]));
    world.end(&[two]);
}

#[test]
fn items_that_come_back_are_never_refused() {
    // There is room for one long item, and for the clients and the queue.
    const ITEM_BYTES: usize = 100_000;
    let [a, b, c] = [b'a', b'b', b'c'].map(|byte| vec![byte; ITEM_BYTES]);
    let mut world = World::with(Limits { memory_bytes: ITEM_BYTES * 3 / 2, ..Limits::default() });
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(two, Spec::Queue(0));
    assert_eq!(world.ask(two, queue, put(&a)), DONE);
    assert_eq!(world.ask(two, queue, put(&b)).unwrap_err().full(), Some(Room::Memory));
    assert_eq!(world.ask(two, queue, put_many(&[])), DONE);
    assert_eq!(world.ask(one, queue, GET), got(&a));
    assert_eq!(
        world.ask(two, queue, put(&b)).unwrap_err().full(),
        Some(Room::Memory),
        "the item may come back"
    );
    world.state.acknowledge(one, 1);
    assert_eq!(world.ask(two, queue, put(&b)), DONE);
    assert_eq!(world.ask(one, queue, GET), got(&b));
    let before = world.state.changes();
    world.leave_unread(one, 1);
    assert_ne!(world.state.changes(), before, "a snapshot has the item again");
    assert_eq!(world.ask(two, queue, put(&c)).unwrap_err().full(), Some(Room::Memory));
    assert_eq!(world.ask(two, queue, get_many(9)), got_many(&[&b]));
    world.end(&[two]);
}

#[test]
fn the_answer_to_a_call_that_waited_can_be_rejected() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(two, Spec::Queue(0));
    let waiting = world.send(one, queue, Wait::Forever, GET);
    assert_eq!(world.ask(two, queue, put(b"a")), DONE);
    assert_eq!(world.answer(waiting), Some(got(b"a")));
    let reject = Control::Reject { call: waiting };
    world.control(two, reject);
    assert_eq!(world.ask(two, queue, GET), Err(Fault::Empty), "they may not reject it");
    world.control(one, reject);
    assert_eq!(world.ask(two, queue, GET), got(b"a"));
    world.end(&[one, two]);
}

#[test]
fn a_rejected_answer_puts_its_items_back_with_the_proxies_inside() {
    let mut world = World::new();
    let client = world.client();
    let queue = world.create(client, Spec::Queue(0));
    let inner = world.create(client, Spec::Lock);
    let held = inner.0.to_le_bytes();
    let proxy = Raw { bytes: b"proxy", ids: &held };
    for item in [Raw::plain(b"a"), proxy, Raw::plain(b"c")] {
        assert_eq!(world.ask(client, queue, Op::Queue(QueueOp::Put(item))), DONE);
    }
    let before = world.counts();
    let get = || Step { object: queue, op: GET };
    let items = [Raw::plain(b"a"), proxy].map(|item| Reply::Value(Payload::copy(item)));
    assert_eq!(world.transact(client, vec![get(), get()]), Ok(Reply::Transaction(items.into())));
    let reject = Control::Reject { call: world.calls };
    world.control(client, reject);
    world.control(client, reject);
    assert_eq!(world.counts(), before, "the second rejection does nothing");
    let detach = ManagerOp::Detach { references: vec![(inner, 2)], lingers: false };
    world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    assert_eq!(world.state.info().objects, 2, "the item keeps the lock");
    assert_eq!(world.ask(client, queue, GET), got(b"a"));
    assert_eq!(world.ask(client, queue, GET), Ok(Reply::Value(Payload::copy(proxy))));
    assert_eq!(world.ask(client, queue, GET), got(b"c"));
    world.end(&[client]);
}

/// Otherwise one notice would be the work of millions of answers.
#[test]
fn a_call_that_is_given_up_concerns_its_newest_answer_only() {
    let mut world = World::new();
    let client = world.client();
    let queue = world.create(client, Spec::Queue(0));
    assert_eq!(world.ask(client, queue, put_many(&[b"a", b"b", b"c"])), DONE);
    assert_eq!(world.ask(client, queue, GET), got(b"a"));
    // A client of this library uses a number once.
    world.calls -= 1;
    assert_eq!(world.ask(client, queue, GET), got(b"b"));
    let call = world.calls;
    for left in [2, 3] {
        world.control(client, Control::Cancel { call });
        assert_eq!(world.ask(client, queue, LEN), Ok(Reply::Count(left)));
    }
    assert_eq!(world.ask(client, queue, get_many(9)), got_many(&[b"a", b"b", b"c"]));
    world.end(&[client]);
}

#[test]
fn what_a_client_has_said_to_have_read_does_not_come_back() {
    const READ: u64 = 2_000;
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(two, Spec::Queue(0));
    let numbers: Vec<_> = (0..READ + 3).map(u64::to_le_bytes).collect();
    for number in &numbers {
        assert_eq!(world.ask(two, queue, put(number)), DONE);
        assert_eq!(world.ask(one, queue, GET), got(number));
    }
    let last = world.calls;
    // Not all of them are forgotten at once.
    world.state.acknowledge(one, READ);
    // Calls of other clients had numbers in between.
    world.control(one, Control::Taken { first: last - 3, last: last - 1 });
    world.leave_unread(one, 0);
    let [back @ .., _, last] = &numbers[numbers.len() - 3..] else { panic!("three") };
    assert_eq!(world.ask(two, queue, get_many(9)), got_many(&[&back[0], last]));
    world.end(&[two]);
}

#[test]
fn a_failed_transaction_leaves_the_queue_as_it_was() {
    let mut world = World::new();
    let client = world.client();
    let queue = world.create(client, Spec::Queue(3));
    let value = world.create(client, Spec::Value(Raw::plain(b"\xff")));
    assert_eq!(world.ask(client, queue, put_many(&[b"a", b"b"])), DONE);
    let before = world.counts();
    let step = |op| Step { object: queue, op };
    let wrong = || Step { object: value, op: Op::Value(ValueOp::FetchAdd(Number::U64(1))) };
    let steps = vec![step(GET), step(put_many(&[b"c", b"d"])), step(get_many(2)), step(GET), wrong()];
    assert_eq!(world.transact(client, steps), Err(Fault::NoNumber));
    assert_eq!(
        world.transact(client, vec![step(GET), step(put(b"c")), step(CLOSE)]),
        Err(Fault::NotInTransaction)
    );
    assert_eq!(world.transact(client, vec![step(put(b"c")), step(put(b"d"))]), Err(Fault::Full));
    assert_eq!(world.transact(client, vec![step(get_many(9)), step(GET)]), Err(Fault::Empty));
    assert_eq!(world.counts(), before);
    assert_eq!(world.ask(client, queue, LEN), Ok(Reply::Count(2)));
    // None of the items was delivered, so none comes back.
    let other = world.client();
    world.ask(other, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![queue]))).unwrap();
    world.leave_unread(client, 0);
    assert_eq!(world.ask(other, queue, get_many(9)), got_many(&[b"a", b"b"]));
    world.end(&[other]);
}

#[test]
fn a_transaction_serves_others_after_its_end() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(one, Spec::Queue(1));
    let waiting = world.send(two, queue, Wait::Forever, GET);
    let step = |op| Step { object: queue, op };
    assert_eq!(
        world.transact(one, vec![step(put(b"a")), step(GET)]),
        Err(Fault::Empty),
        "a newcomer does not overtake"
    );
    assert_eq!(world.answer(waiting), None);
    assert_eq!(world.transact(one, vec![step(put(b"a"))]), Ok(Reply::Transaction(vec![Reply::Done])));
    assert_eq!(world.answer(waiting), Some(got(b"a")));
    world.end(&[one, two]);
}
