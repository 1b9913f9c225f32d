//! What the manager reports: what is in it, page by page, and what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use mp_sys::stream::own_process;

use super::*;
use crate::limits::{UNSENT_BYTES_LEAST, VALUES_SEEN_MAX};
use crate::proto::report::{
    ClientOrigin, ClientReport, LockHolder, ObjectReport, ServerReport, WaitFor, WaitReport,
};
use crate::proto::{BarrierOp, EventOp, JoinableQueueOp, Kind, ListOp, QueueOp, SemaphoreOp};

/// A server may end although they are connected.
#[test]
fn those_that_only_ask_for_reports_and_have_nothing_are_lookers() {
    let mut world = World::new();
    world.state.accept_snapshots();
    let look = |world: &mut World| {
        let client = world.client();
        assert_eq!(world.state.activity_of(client), Activity::None);
        world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Server)).unwrap();
        assert_eq!(world.state.activity_of(client), Activity::Looks);
        client
    };
    let works = |world: &World, client| world.state.activity_of(client) == Activity::Works;
    let info = look(&mut world);
    world.ask(info, ObjectId::MANAGER, Op::Manager(ManagerOp::Info)).unwrap();
    assert!(works(&world, info), "a program asks for the number of its objects");
    let event = world.open(info, "event", Spec::Event);
    let waiting = look(&mut world);
    world.send(waiting, event, Wait::Forever, Op::Event(EventOp::Wait));
    assert!(works(&world, waiting));
    let asking = look(&mut world);
    let path = "/file".to_owned();
    world.send(asking, ObjectId::MANAGER, Wait::Forever, Op::Manager(ManagerOp::Snapshot { path }));
    assert!(works(&world, asking));
}

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Fetches all pages, and returns how many there were.
fn pages<T>(
    world: &mut World,
    client: ClientId,
    op: impl Fn(u64) -> ManagerOp<Raw<'static>>,
    take: impl Fn(Reply<Payload>) -> (Vec<T>, Option<u64>),
) -> (Vec<T>, usize) {
    let (mut all, mut next, mut count) = (Vec::new(), Some(0), 0);
    while let Some(from) = next {
        let reply = world.ask(client, ObjectId::MANAGER, Op::Manager(op(from))).unwrap();
        assert!(reply.memory() <= UNSENT_BYTES_LEAST, "a page of {} bytes may be refused", reply.memory());
        let (items, then) = take(reply);
        assert!(then.is_none_or(|then| then > from), "each page begins after the last one");
        all.extend(items);
        (next, count) = (then, count + 1);
    }
    (all, count)
}

fn objects(world: &mut World, client: ClientId, is_busy: bool) -> (Vec<ObjectReport>, usize) {
    pages(
        world,
        client,
        |from| ManagerOp::Objects { from, is_busy },
        |reply| match reply {
            Reply::Objects { objects, next } => (objects, next),
            other => panic!("{other:?}"),
        },
    )
}

fn waits(world: &mut World, client: ClientId) -> Vec<WaitReport> {
    let all = pages(
        world,
        client,
        |after| ManagerOp::Waits { after },
        |reply| match reply {
            Reply::Waits { waits, next } => (waits, next),
            other => panic!("{other:?}"),
        },
    );
    all.0
}

fn clients(world: &mut World, client: ClientId) -> Vec<ClientReport> {
    let all = pages(
        world,
        client,
        |from| ManagerOp::Clients { from },
        |reply| match reply {
            Reply::Clients { clients, next } => (clients, next),
            other => panic!("{other:?}"),
        },
    );
    all.0
}

fn server(world: &mut World, client: ClientId) -> ServerReport {
    match world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Server)) {
        Ok(Reply::Server(server)) => *server,
        other => panic!("{other:?}"),
    }
}

fn named(world: &mut World, client: ClientId, name: &str) -> Answer<Payload> {
    let op = ManagerOp::Object { name: name.to_owned() };
    world.ask(client, ObjectId::MANAGER, Op::Manager(op))
}

fn acquire(lease: u64) -> Op<Raw<'static>> {
    Op::Lock(LockOp::Acquire { lease })
}

#[test]
fn a_lock_says_who_holds_it_since_when_and_for_how_long_others_wait() {
    let mut world = World::new();
    let [holder, first, second] = [world.client(), world.client(), world.client()];
    world.now = 100;
    let lock = world.open(holder, "door", Spec::RLock);
    let held = world.send(holder, lock, Wait::Forever, acquire(1_000));
    let (token, ..) = granted(world.answer(held));
    granted(Some(world.ask(holder, lock, acquire(1_000))));
    world.pass(10);
    world.send(first, lock, Wait::Forever, acquire(0));
    world.pass(20);
    world.send(second, lock, Wait::For(500), acquire(0));
    world.pass(30);
    let expected = LockHolder {
        client: holder.serial(),
        thread: 1,
        token,
        depth: 2,
        held_for: nanos(60),
        lease_left: Some(nanos(940)),
    };
    let (busy, _) = objects(&mut world, holder, true);
    assert_eq!(busy.len(), 1);
    let ObjectReport { kind, print, name, waiters, held, holder: found, .. } = &busy[0];
    assert_eq!((*kind, *print), (Kind::RLock, PRINT));
    assert_eq!((name.as_deref(), *waiters, *held), (Some("door"), 2, 1));
    assert_eq!(found.as_ref(), Some(&expected));
    let waits = waits(&mut world, holder);
    let seen: Vec<_> = waits.iter().map(|wait| (wait.client, wait.waited, wait.time_left)).collect();
    let of = |client: ClientId| client.serial();
    assert_eq!(seen, [(of(first), nanos(50), None), (of(second), nanos(30), Some(nanos(470)))]);
    assert!(waits.iter().all(|wait| wait.object == lock && wait.holder.as_ref() == Some(&expected)));
    world.leave(holder);
    let (busy, _) = objects(&mut world, second, true);
    let found = busy[0].holder.as_ref().unwrap();
    assert_eq!((found.client, found.held_for, found.lease_left), (of(first), nanos(0), None));
}

#[test]
fn each_kind_of_wait_says_what_it_waits_for() {
    let mut world = World::new();
    let [client, other] = [world.client(), world.client()];
    let lock = world.create(client, Spec::Lock);
    let (token, ..) = granted(Some(world.ask(client, lock, acquire(0))));
    let condition = world.create(client, Spec::Condition);
    let semaphore = world.create(client, Spec::Semaphore(0));
    let event = world.create(client, Spec::Event);
    let full = world.create(client, Spec::Queue(1));
    world.ask(client, full, Op::Queue(QueueOp::Put(Raw::plain(b"1")))).unwrap();
    let queue = world.create(client, Spec::Queue(0));
    let tasks = world.create(client, Spec::JoinableQueue { maxsize: 0, max_deliveries: 1 });
    world.ask(client, tasks, Op::JoinableQueue(JoinableQueueOp::Put(Raw::plain(b"1")))).unwrap();
    let barrier = world.create(client, Spec::Barrier(2));
    let waiting = [
        (lock, acquire(0), WaitFor::Lock, other),
        (condition, Op::Condition(ConditionOp::Wait { lock, token }), WaitFor::Notification, client),
        (semaphore, Op::Semaphore(SemaphoreOp::Take), WaitFor::Permit, other),
        (event, Op::Event(EventOp::Wait), WaitFor::Flag, other),
        (full, Op::Queue(QueueOp::Put(Raw::plain(b"2"))), WaitFor::Room, other),
        (queue, Op::Queue(QueueOp::Get), WaitFor::Items, other),
        (tasks, Op::JoinableQueue(JoinableQueueOp::Join), WaitFor::AllDone, other),
        (barrier, Op::Barrier(BarrierOp::Wait { acts: false }), WaitFor::Parties, other),
    ];
    let mut expected = BTreeMap::new();
    for (object, op, wait_for, who) in waiting {
        world.send(who, object, Wait::Forever, op);
        expected.insert(object, (wait_for, who.serial()));
    }
    // The wait for the notification released the lock.
    expected.remove(&lock);
    let seen: BTreeMap<_, _> = waits(&mut world, client)
        .into_iter()
        .map(|wait| (wait.object, (wait.wait_for, wait.client)))
        .collect();
    assert_eq!(seen, expected);
    let (busy, _) = objects(&mut world, client, true);
    let waiters: BTreeMap<_, _> = busy.into_iter().map(|object| (object.id, object.waiters)).collect();
    assert!(expected.keys().all(|object| waiters[object] == 1) && waiters[&lock] == 0, "{waiters:?}");
}

#[test]
fn every_object_is_in_one_page_however_short_the_steps_are() {
    let mut world = World::new();
    let client = world.client();
    let mut expected: Vec<_> = (0..300).map(|_| world.create(client, Spec::Event)).collect();
    let gone: Vec<_> = (0..50).map(|number| world.open(client, &number.to_string(), Spec::List)).collect();
    (0..50).for_each(|number| world.remove(client, &number.to_string()));
    expected.push(world.create(client, Spec::Lock));
    granted(Some(world.ask(client, *expected.last().unwrap(), acquire(0))));
    for step in [1, work::STEP_UNITS] {
        world.state.set_step(step);
        let (all, count) = objects(&mut world, client, false);
        let mut ids: Vec<_> = all.iter().map(|object| object.id).collect();
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        assert!(gone.iter().all(|id| !ids.contains(id)));
        // A page for each place, or a few that are full.
        assert!(if step == 1 { count >= 300 } else { (2..20).contains(&count) }, "{count} pages");
        let (busy, count) = objects(&mut world, client, true);
        assert_eq!(busy.len(), 1);
        assert!(step == 1 || count == 1, "{count} pages");
    }
}

#[test]
fn a_turn_ends_with_the_step_whatever_it_finds() {
    let mut world = World::new();
    world.leave_the_rest();
    let client = world.client();
    for _ in 0..10_000 {
        world.create(client, Spec::Event);
    }
    let list = world.create(client, Spec::List);
    for _ in 0..10 {
        let items = vec![Raw::plain(b"a value that is too long to be stored inline"); 10_000];
        world.ask(client, list, Op::List(ListOp::Extend(items))).unwrap();
    }
    for is_busy in [false, true] {
        let mut next = Some(0);
        while let Some(from) = next {
            let op = ManagerOp::Objects { from, is_busy };
            let Ok(Reply::Objects { next: then, .. }) = world.ask(client, ObjectId::MANAGER, Op::Manager(op))
            else {
                panic!("a page");
            };
            let most = work::STEP_UNITS + VALUES_SEEN_MAX + 100;
            assert!(world.state.units() <= most, "{} units of work in one turn", world.state.units());
            next = then;
        }
    }
}

#[test]
fn the_size_of_an_object_is_exact_up_to_a_number_of_values() {
    let mut world = World::with(Limits { memory_bytes: 64 << 20, ..Limits::default() });
    let client = world.client();
    let list = world.open(client, "list", Spec::List);
    let before = world.state.info().bytes;
    let find = |world: &mut World| match named(world, client, "list") {
        Ok(Reply::Objects { objects, .. }) => objects[0].clone(),
        other => panic!("{other:?}"),
    };
    let empty = find(&mut world);
    assert_eq!((empty.id, empty.len, empty.is_estimate, empty.references), (list, Some(0), false, 2));
    let push = |world: &mut World, len: usize| {
        world.ask(client, list, Op::List(ListOp::Push(Raw::plain(&vec![1; len])))).unwrap();
    };
    (0..VALUES_SEEN_MAX).for_each(|_| push(&mut world, 100));
    let found = find(&mut world);
    assert!(!found.is_estimate);
    assert_eq!(found.bytes - empty.bytes, world.state.info().bytes - before, "as the account says");
    push(&mut world, 100);
    let found = find(&mut world);
    assert!(found.is_estimate);
    assert_eq!(found.len, Some(1 + u64::try_from(VALUES_SEEN_MAX).unwrap()));
    assert_eq!(found.bytes - empty.bytes, world.state.info().bytes - before, "all values have this length");
    assert_eq!(named(&mut world, client, "other"), Err(Fault::UnknownName));
}

#[test]
fn clients_and_the_server_are_counted() {
    let mut world = World::new();
    world.state.set_step(work::STEP_UNITS);
    world.state.begins(1_000);
    world.now = 5_000;
    let [client, other] = [world.client(), world.client()];
    let origin = ClientOrigin { pid: Some(7), program: Some("worker".to_owned()), address: None };
    world.state.introduce(other, origin.clone(), 5_000);
    let queue = world.create(other, Spec::Queue(0));
    world.send(other, queue, Wait::Forever, Op::Queue(QueueOp::Get));
    world.pass(500);
    let before = server(&mut world, client);
    assert_eq!((before.uptime, before.pid, before.version.as_str()), (nanos(4_500), own_process(), "0.1.0"));
    assert_eq!((before.clients, before.objects, before.waiters, before.held), (2, 1, 1, 0));
    assert!(before.memory_used > 0 && before.memory_used < before.memory_max);
    let all = clients(&mut world, client);
    let found = all.iter().find(|found| found.number == other.serial()).unwrap();
    assert_eq!((&found.origin, found.connected_for), (&origin, nanos(500)));
    assert_eq!((found.operations, found.waiting, found.references), (1, 1, 1));
    assert!(found.bytes > 0);
    world.ask(other, queue, Op::Queue(QueueOp::Put(Raw::plain(b"1")))).unwrap();
    let after = server(&mut world, client);
    // The put, the get, and the two reports in between.
    assert_eq!(after.operations - before.operations, 2 + 2);
    world.leave(other);
    assert_eq!(clients(&mut world, client).len(), 1);
}

#[test]
fn a_notice_is_an_operation_and_a_report_is_no_notice() {
    let mut world = World::new();
    world.state.set_step(work::STEP_UNITS);
    let client = world.client();
    let lock = world.create(client, Spec::Lock);
    let (token, ..) = granted(Some(world.ask(client, lock, acquire(0))));
    let operations = |world: &mut World| clients(world, client)[0].operations;
    let before = operations(&mut world);
    world.tell(client, lock, LockOp::Release { token });
    assert_eq!(operations(&mut world) - before, 2, "the notice, and the report before");
    assert!(!kinds::may_be_told(&Op::Manager(ManagerOp::Server)));
}

#[test]
fn a_manager_without_memory_still_reports() {
    let mut world = World::with(Limits { memory_bytes: 1 << 20, ..Limits::default() });
    let client = world.client();
    for number in 0..200 {
        world.open(client, &format!("{number:0255}"), Spec::Event);
    }
    let list = world.create(client, Spec::List);
    while world.ask(client, list, Op::List(ListOp::Push(Raw::plain(&[7; 1_000])))).is_ok() {}
    let (all, count) = objects(&mut world, client, false);
    assert!(all.len() == 201 && count > 1, "{} objects in {count} pages", all.len());
    assert!(server(&mut world, client).memory_used > 1_000_000);
}

#[test]
fn what_others_hold_is_reported_only_when_all_that_arrived_is_done() {
    let mut world = World::new();
    let client = world.client();
    let ops = [
        ManagerOp::Server,
        ManagerOp::Clients { from: 0 },
        ManagerOp::Objects { from: 0, is_busy: true },
        ManagerOp::Object { name: "n".to_owned() },
        ManagerOp::Waits { after: 0 },
    ];
    for op in ops {
        let caller = Caller { client, call: 1, now: 0, frame: &Bytes::new(), is_settled: false };
        let call = Call { object: ObjectId::MANAGER, thread: 1, wait: Wait::No, op: Op::Manager(op) };
        assert_eq!(world.state.apply(caller, call, &mut Effects::default()), Heard::Unsettled);
    }
}

#[test]
fn the_server_says_how_long_ago_it_saved_and_how_often_it_could_not() {
    let mut world = World::new();
    let client = world.client();
    let saves = |world: &mut World| {
        let server = server(world, client);
        (server.failed_saves, server.last_save)
    };
    assert_eq!(saves(&mut world), (0, None));
    world.state.save_is_over(false, world.now);
    assert_eq!(saves(&mut world), (1, None));
    world.state.save_is_over(true, world.now);
    world.pass(30);
    world.state.save_is_over(false, world.now);
    assert_eq!(saves(&mut world), (2, Some(nanos(30))));
}
