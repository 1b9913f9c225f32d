//! Tests of queues of tasks with the virtual clock. Their model is in [`random`].

mod random;

use super::*;
use crate::limits::{CAPACITY_MAX, FAILED_TASKS_MAX};
use crate::proto::{JoinableQueueOp, Number};

type TaskOp = JoinableQueueOp<Raw<'static>>;

const GET: Op<Raw<'static>> = Op::JoinableQueue(JoinableQueueOp::Get);
const JOIN: Op<Raw<'static>> = Op::JoinableQueue(JoinableQueueOp::Join);
const CLOSE: Op<Raw<'static>> = Op::JoinableQueue(JoinableQueueOp::Close);
const UNFINISHED: Op<Raw<'static>> = Op::JoinableQueue(JoinableQueueOp::Unfinished);
const LEN: Op<Raw<'static>> = Op::JoinableQueue(JoinableQueueOp::Len);

const fn put(task: &[u8]) -> Op<Raw<'_>> {
    Op::JoinableQueue(JoinableQueueOp::Put(Raw::plain(task)))
}

fn put_many<'a>(tasks: &[&'a [u8]]) -> Op<Raw<'a>> {
    Op::JoinableQueue(JoinableQueueOp::PutMany(tasks.iter().map(|task| Raw::plain(task)).collect()))
}

const fn done(lease: u64) -> Op<Raw<'static>> {
    Op::JoinableQueue(TaskOp::Done { lease })
}

const fn requeue(lease: u64) -> Op<Raw<'static>> {
    Op::JoinableQueue(TaskOp::Requeue { lease })
}

const fn failed(at: u64, take: bool) -> Op<Raw<'static>> {
    Op::JoinableQueue(TaskOp::Failed { at, take })
}

fn leased(lease: u64, deliveries: u32, task: &[u8]) -> Answer<Payload> {
    Ok(Reply::Leased { lease, deliveries, task: Payload::copy(Raw::plain(task)) })
}

fn page(tasks: &[&[u8]], version: u64) -> Answer<Payload> {
    let values = tasks.iter().map(|task| Payload::copy(Raw::plain(task))).collect();
    Ok(Reply::Values { values, version })
}

const fn spec(maxsize: u64, max_deliveries: u32) -> Spec<Raw<'static>> {
    Spec::JoinableQueue { maxsize, max_deliveries }
}

#[test]
fn tasks_of_dead_clients_come_before_newer_ones() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [one, two, three] = clients;
    let queue = world.create(three, spec(0, 10));
    assert_eq!(world.ask(three, queue, put_many(&[b"a", b"b", b"c", b"d"])), DONE);
    assert_eq!(world.ask(one, queue, GET), leased(1, 1, b"a"));
    assert_eq!(world.ask(one, queue, GET), leased(2, 1, b"b"));
    assert_eq!(world.ask(two, queue, GET), leased(3, 1, b"c"));
    assert_eq!(world.ask(two, queue, done(1)), Err(Fault::NotOwned));
    assert_eq!(world.ask(two, queue, requeue(1)), Err(Fault::NotOwned));
    assert_eq!(world.state.info().held, 3);
    assert_eq!(world.ask(two, queue, requeue(3)), DONE);
    assert_eq!(world.ask(two, queue, requeue(3)), Err(Fault::NotOwned), "once");
    world.leave(one);
    let order = [(4, 2, &b"a"[..]), (5, 2, b"b"), (6, 2, b"c"), (7, 1, b"d")];
    for (lease, deliveries, task) in order {
        assert_eq!(world.ask(two, queue, GET), leased(lease, deliveries, task));
    }
    assert_eq!(world.ask(two, queue, GET), Err(Fault::Empty));
    world.end(&clients);
}

#[test]
fn join_waits_for_all_but_the_failed() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [one, two, three] = clients;
    let queue = world.create(three, spec(1, 2));
    assert_eq!(world.ask(three, queue, JOIN), DONE, "there are no tasks");
    assert_eq!(world.ask(three, queue, put(b"a")), DONE);
    assert_eq!(world.ask(three, queue, JOIN), Err(Fault::TimedOut));
    let late = world.send(three, queue, Wait::For(5), JOIN);
    let joined = world.send(three, queue, Wait::Forever, JOIN);
    let dies = world.send(one, queue, Wait::Forever, JOIN);
    assert_eq!(world.ask(one, queue, GET), leased(1, 1, b"a"));
    world.pass(5);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    let waiting = world.send(two, queue, Wait::Forever, GET);
    world.leave(one);
    assert_eq!((world.answer(dies), world.answer(joined)), (None, None));
    assert_eq!(world.answer(waiting), Some(leased(2, 2, b"a")));
    assert_eq!(world.ask(two, queue, UNFINISHED), Ok(Reply::Count(1)));
    assert_eq!(world.ask(two, queue, requeue(2)), DONE);
    assert_eq!(world.answer(joined), Some(DONE), "a failed task is not waited for");
    assert_eq!(world.ask(three, queue, failed(0, false)), page(&[b"a"], 1));
    assert_eq!(world.ask(three, queue, failed(1, false)), page(&[], 1));
    assert_eq!(world.ask(three, queue, failed(0, true)), page(&[b"a"], 1));
    assert_eq!(world.ask(three, queue, failed(0, true)), page(&[], 0));
    world.end(&clients);
}

#[test]
fn waiters_in_every_line_can_time_out_or_die_and_get_an_error_at_the_end() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.open(one, "tasks", spec(1, 10));
    let dead = world.send(two, queue, Wait::Forever, GET);
    let late = world.send(one, queue, Wait::For(3), GET);
    let served = world.send(one, queue, Wait::Forever, GET);
    let cancelled = world.send(one, queue, Wait::Forever, GET);
    world.leave(two);
    world.pass(3);
    world.control(one, Control::Cancel { call: cancelled });
    assert_eq!(world.ask(one, queue, put(b"a")), DONE);
    assert_eq!(world.answer(dead), None);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    assert_eq!(world.answer(served), Some(leased(1, 1, b"a")));
    assert_eq!(world.answer(cancelled), Some(Err(Fault::Cancelled)));
    assert_eq!(world.ask(one, queue, put(b"b")), DONE);
    assert_eq!(world.ask(one, queue, put(b"c")), Err(Fault::Full));
    let putter = world.send(one, queue, Wait::Forever, put(b"c"));
    let joiner = world.send(one, queue, Wait::Forever, JOIN);
    assert_eq!(world.ask(one, queue, requeue(1)), DONE);
    assert_eq!(world.ask(one, queue, GET), leased(2, 2, b"a"));
    assert_eq!(world.answer(putter), None, "the task that came back took the room");
    world.remove(one, "tasks");
    for call in [putter, joiner] {
        assert_eq!(world.answer(call), Some(Err(Fault::UnknownObject)));
    }
    assert_eq!(world.counts(), Info { clients: 1, ..Info::default() });
    world.audit();
    world.end(&[one]);
}

#[test]
fn a_closed_queue_is_over_when_nothing_can_come_back() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(one, spec(1, 10));
    assert_eq!(world.ask(one, queue, put(b"a")), DONE);
    let putter = world.send(one, queue, Wait::Forever, put(b"b"));
    assert_eq!(world.ask(one, queue, CLOSE), DONE);
    assert_eq!(world.answer(putter), Some(Err(Fault::Closed)));
    assert_eq!(world.ask(one, queue, put(b"c")), Err(Fault::Closed));
    assert_eq!(world.ask(two, queue, GET), leased(1, 1, b"a"));
    assert_eq!(world.ask(one, queue, GET), Err(Fault::Empty));
    let [next, last] = [one, one].map(|client| world.send(client, queue, Wait::Forever, GET));
    world.leave(two);
    assert_eq!((world.answer(next), world.answer(last)), (Some(leased(2, 2, b"a")), None));
    assert_eq!(world.ask(one, queue, done(2)), DONE);
    assert_eq!(world.answer(last), Some(Err(Fault::Closed)));
    assert_eq!(world.ask(one, queue, GET), Err(Fault::Closed));
    assert_eq!(world.ask(one, queue, Op::JoinableQueue(TaskOp::IsClosed)), Ok(Reply::Bool(true)));
    world.end(&[one]);
}

#[test]
fn the_limits_of_a_queue_of_tasks_hold() {
    let mut world = World::new();
    let client = world.client();
    let create = |spec| Op::Manager(ManagerOp::Create { spec, print: PRINT });
    let fault = Fault::OutOfRange { least: 0, most: CAPACITY_MAX };
    assert_eq!(world.ask(client, ObjectId::MANAGER, create(spec(CAPACITY_MAX + 1, 1))), Err(fault));
    let fault = Fault::OutOfRange { least: 1, most: u64::from(u32::MAX) };
    assert_eq!(world.ask(client, ObjectId::MANAGER, create(spec(CAPACITY_MAX, 0))), Err(fault));
    let queue = world.create(client, spec(CAPACITY_MAX, 1));
    assert_eq!(world.ask(client, queue, Op::JoinableQueue(TaskOp::Capacity)), Ok(Reply::Count(CAPACITY_MAX)));
    let limit = u64::try_from(FAILED_TASKS_MAX).unwrap();
    for task in 0..limit {
        assert_eq!(world.ask(client, queue, put(&task.to_le_bytes())), DONE);
        world.ask(client, queue, GET).unwrap();
        assert_eq!(world.ask(client, queue, requeue(task + 1)), DONE);
    }
    let full = world.counts();
    let first_of = |answer| match answer {
        Ok(Reply::Values { mut values, .. }) => values.remove(0),
        other => panic!("{other:?}"),
    };
    let task = |number: u64| Payload::copy(Raw::plain(&number.to_le_bytes()));
    assert_eq!(first_of(world.ask(client, queue, failed(0, false))), task(0));
    assert_eq!(world.ask(client, queue, put(&limit.to_le_bytes())), DONE);
    world.ask(client, queue, GET).unwrap();
    let one_more = world.counts();
    let steps = || vec![Step { object: queue, op: requeue(limit + 1) }, Step { object: queue, op: GET }];
    assert_eq!(world.transact(client, steps()), Err(Fault::Empty));
    assert_eq!(first_of(world.ask(client, queue, failed(0, false))), task(0), "it was not dropped");
    assert_eq!(world.counts(), one_more);
    assert_eq!(world.ask(client, queue, requeue(limit + 1)), DONE);
    assert_eq!(first_of(world.ask(client, queue, failed(0, false))), task(1));
    assert_eq!(world.ask(client, queue, failed(limit, false)), page(&[&limit.to_le_bytes()], limit + 1));
    assert_eq!(world.counts(), full);
    world.end(&[client]);
}

#[test]
fn failed_tasks_that_were_certainly_not_read_come_back() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let queue = world.create(two, spec(0, 1));
    assert_eq!(world.ask(two, queue, put_many(&[b"a", b"b"])), DONE);
    for lease in [1, 2] {
        world.ask(two, queue, GET).unwrap();
        assert_eq!(world.ask(two, queue, requeue(lease)), DONE);
    }
    assert_eq!(world.ask(one, queue, failed(0, true)), page(&[b"a", b"b"], 2));
    assert_eq!(world.ask(two, queue, failed(0, true)), page(&[], 0));
    world.leave_unread(one, 0);
    assert_eq!(world.ask(two, queue, failed(0, true)), page(&[b"a", b"b"], 4));
    world.end(&[two]);
}

#[test]
fn a_task_and_its_result_are_done_together_or_not_at_all() {
    let mut world = World::new();
    let client = world.client();
    let queue = world.create(client, spec(2, 2));
    let value = world.create(client, Spec::Value(Raw::plain(b"\xff")));
    assert_eq!(world.ask(client, queue, put_many(&[b"a", b"b"])), DONE);
    assert_eq!(world.ask(client, queue, GET), leased(1, 1, b"a"));
    assert_eq!(world.ask(client, queue, requeue(1)), DONE);
    assert_eq!(world.ask(client, queue, GET), leased(2, 2, b"a"));
    let joined = world.send(client, queue, Wait::Forever, JOIN);
    let before = world.counts();
    let step = |op| Step { object: queue, op };
    let wrong = || Step { object: value, op: Op::Value(ValueOp::FetchAdd(Number::U64(1))) };
    // "a" fails after its second lease, and is then taken. "b" is leased, requeued, leased again and done.
    let all = vec![step(requeue(2)), step(failed(0, true)), step(GET), step(requeue(3)), step(GET)];
    let more = vec![step(done(4)), step(put(b"c")), step(put(b"d")), wrong()];
    assert_eq!(world.transact(client, all.into_iter().chain(more).collect()), Err(Fault::NoNumber));
    assert_eq!(world.transact(client, vec![step(done(2)), step(done(2))]), Err(Fault::NotOwned));
    for op in [JOIN, CLOSE] {
        assert_eq!(world.transact(client, vec![step(done(2)), step(op)]), Err(Fault::NotInTransaction));
    }
    assert_eq!(world.counts(), before);
    assert_eq!(world.ask(client, queue, LEN), Ok(Reply::Count(1)));
    assert_eq!(world.ask(client, queue, failed(0, false)), page(&[], 0));
    let set = Step { object: value, op: Op::Value(ValueOp::Set(Raw::plain(b"result"))) };
    let Ok(Reply::Transaction(replies)) = world.transact(client, vec![step(done(2)), set]) else { panic!() };
    assert_eq!(replies.len(), 2);
    assert_eq!(world.answer(joined), None);
    let Ok(Reply::Leased { lease, deliveries: 1, .. }) = world.ask(client, queue, GET) else {
        panic!("the deliveries of a failed transaction do not count")
    };
    assert_eq!(world.ask(client, queue, done(lease)), DONE);
    assert_eq!(world.answer(joined), Some(DONE));
    world.end(&[client]);
}

#[test]
fn a_delivery_that_nobody_has_seen_does_not_count() {
    let mut world = World::new();
    let owner = world.client();
    let queue = world.create(owner, spec(0, 2));
    assert_eq!(world.ask(owner, queue, put_many(&[b"a", b"b"])), DONE);
    let mut lease = 0;
    for _ in 0..5 {
        let worker = world.client();
        for task in [b"a", b"b"] {
            lease += 1;
            assert_eq!(world.ask(worker, queue, GET), leased(lease, 1, task));
        }
        world.leave_in_doubt(worker);
        let worker = world.client();
        lease += 1;
        let call = world.send(worker, queue, Wait::No, GET);
        assert_eq!(world.answer(call), Some(leased(lease, 1, b"a")));
        world.cancel(worker, call);
        world.leave(worker);
    }
    let worker = world.client();
    assert_eq!(world.ask(worker, queue, GET), leased(lease + 1, 1, b"a"));
    world.state.acknowledge(worker, u64::MAX);
    // It has read that answer, whatever became of later ones.
    assert_eq!(world.ask(worker, queue, GET), leased(lease + 2, 1, b"b"));
    world.leave_in_doubt(worker);
    lease += 2;
    let worker = world.client();
    lease += 1;
    assert_eq!(world.ask(worker, queue, GET), leased(lease, 2, b"a"));
    world.leave(worker);
    assert_eq!(world.ask(owner, queue, failed(0, false)), page(&[b"a"], 1));
    world.end(&[owner]);
}
