//! Tests that nothing which one client does takes long: it is refused, or it goes on in steps that nobody sees.

mod early;
mod references;
mod taken;

use std::time::Duration;

use mp_sys::deadline::Deadline;

use super::containers::{id, raw};
use super::work::STEP_UNITS;
use super::*;
use crate::limits::{OPERATION_UNITS_MAX, ORDER_ITEMS_AT_ONCE, WAITING_CALLS_MAX};
use crate::proto::{EventOp, JoinableQueueOp, ListOp, QueueOp, Scan, SemaphoreOp};

const WAIT: Op<Raw<'static>> = Op::Event(EventOp::Wait);
const RELEASE: fn(u64) -> Op<Raw<'static>> = |token| Op::Lock(LockOp::Release { token });

/// Enough waiters for several steps.
const MANY: usize = 2_000;

impl World {
    /// Makes a world whose steps are as long as those of a server, and in which the test runs the later ones.
    fn in_steps() -> Self {
        let mut world = Self::new();
        world.leave_the_rest();
        world
    }

    /// Runs one later step, which must be short. Returns `true` if there is more to do.
    fn step(&mut self) -> bool {
        let mut effects = Effects::default();
        let more = self.state.tidy(&mut effects);
        let (units, limit) = (self.state.units(), 6 * STEP_UNITS);
        assert!(units <= limit, "a step of {units} units");
        self.note(effects);
        more
    }

    /// Runs all later steps, and returns how many there were.
    fn steps(&mut self) -> usize {
        let mut steps = 1;
        while self.step() {
            steps += 1;
            assert!(steps < 1_000_000, "this never ends");
        }
        steps
    }

    /// Sends a call like [`World::send`], checks that it is no long step, and returns what happened to it.
    fn hear(&mut self, client: ClientId, object: ObjectId, is_settled: bool, op: Op<Raw<'_>>) -> Heard {
        self.calls += 1;
        let (call, now, frame) = (self.calls, self.now, &Bytes::new());
        let caller = Caller { client, call, now, frame, is_settled };
        let mut effects = Effects::default();
        let wait = Wait::No;
        let heard = self.state.apply(caller, Call { object, thread: 1, wait, op }, &mut effects);
        assert!(self.state.units() <= OPERATION_UNITS_MAX);
        self.note(effects);
        heard
    }

    fn wait_many(&mut self, client: ClientId, object: ObjectId, op: &Op<Raw<'_>>) -> Vec<u64> {
        (0..MANY).map(|_| self.send(client, object, Wait::Forever, op.clone())).collect()
    }
}

#[test]
fn the_waiters_of_an_event_wake_in_steps_even_if_it_is_cleared() {
    let mut world = World::in_steps();
    let [waits, sets] = [world.client(), world.client()];
    let event = world.create(sets, Spec::Event);
    let calls = world.wait_many(waits, event, &WAIT);
    assert_eq!(world.ask(sets, event, Op::Event(EventOp::Set)), DONE);
    assert_eq!(world.ask(sets, event, Op::Event(EventOp::Clear)), DONE);
    let newcomer = world.send(sets, event, Wait::Forever, WAIT);
    let woken = calls.iter().filter(|call| world.answer(**call).is_some()).count();
    assert!(woken < MANY, "not all in one step");
    // A waiter that gives up now was released before, and one that ends breaks nothing.
    let last = *calls.last().unwrap();
    world.control(waits, Control::Cancel { call: last });
    assert!(world.steps() > 2);
    assert_eq!(world.answer(last), Some(DONE), "it waited when the event was set");
    let woken = woken + calls.iter().filter(|call| world.answer(**call) == Some(DONE)).count();
    assert_eq!((woken, world.answer(newcomer)), (MANY - 1, None));
    world.end(&[waits, sets]);
}

#[test]
fn permits_are_handed_over_in_steps_and_nobody_overtakes() {
    let mut world = World::in_steps();
    let [waits, adds] = [world.client(), world.client()];
    let semaphore = world.create(adds, Spec::Semaphore(0));
    let acquire = Op::Semaphore(SemaphoreOp::Acquire);
    let calls = world.wait_many(waits, semaphore, &acquire);
    let many = u64::try_from(MANY).unwrap();
    assert_eq!(world.ask(adds, semaphore, Op::Semaphore(SemaphoreOp::Add(many))), DONE);
    for is_settled in [false, true] {
        let heard = world.hear(adds, semaphore, is_settled, acquire.clone());
        assert_eq!(heard, Heard::Unsettled, "the permits belong to those who wait");
    }
    assert!(world.steps() > 2);
    assert!(calls.iter().all(|call| world.answer(*call) == Some(DONE)));
    assert_eq!(world.ask(adds, semaphore, acquire), Err(Fault::WouldBlock));
    world.end(&[waits, adds]);
}

#[test]
fn notified_callers_move_to_the_lock_in_steps() {
    let mut world = World::in_steps();
    let clients = [world.client(), world.client()];
    let [waits, notifies] = clients;
    let (lock, condition) = (world.create(notifies, Spec::Lock), world.create(notifies, Spec::Condition));
    let mut calls = Vec::new();
    for _ in 0..MANY {
        let call = world.send(waits, lock, Wait::Forever, ACQUIRE);
        let (token, ..) = granted(world.answer(call));
        let wait = Op::Condition(ConditionOp::Wait { lock, token });
        calls.push(world.send(waits, condition, Wait::Forever, wait));
    }
    let held = world.send(notifies, lock, Wait::Forever, ACQUIRE);
    let (token, ..) = granted(world.answer(held));
    let many = u64::try_from(MANY).unwrap();
    let notify = Op::Condition(ConditionOp::Notify(many - 1));
    assert_eq!(world.ask(notifies, condition, notify), Ok(Reply::Count(many - 1)));
    let waiting = Op::Condition(ConditionOp::Waiting);
    assert_eq!(world.hear(notifies, condition, true, waiting.clone()), Heard::Unsettled);
    assert!(world.steps() > 2);
    assert_eq!(
        world.ask(notifies, condition, waiting),
        Ok(Reply::Count(1)),
        "as many as were notified moved"
    );
    world.ask(notifies, lock, RELEASE(token)).unwrap();
    for call in &calls[..MANY - 1] {
        let (token, owner_died, timed_out) = granted(world.answer(*call));
        assert_eq!((owner_died, timed_out), (false, false));
        world.ask(waits, lock, RELEASE(token)).unwrap();
        world.steps();
    }
    world.end(&clients);
}

#[test]
fn items_reach_many_consumers_in_steps() {
    let mut world = World::in_steps();
    let [gets, puts] = [world.client(), world.client()];
    let queue = world.create(puts, Spec::Queue(0));
    let get = Op::Queue(QueueOp::Get);
    let calls = world.wait_many(gets, queue, &get);
    let put = Op::Queue(QueueOp::PutMany(vec![raw(b"x"); MANY]));
    assert_eq!(world.ask(puts, queue, put), DONE);
    assert_eq!(world.hear(puts, queue, true, get.clone()), Heard::Unsettled, "the others were first");
    assert_eq!(world.hear(puts, queue, true, Op::Queue(QueueOp::Close)), Heard::Unsettled);
    assert!(world.steps() > 2);
    assert!(calls.iter().all(|call| matches!(world.answer(*call), Some(Ok(Reply::Value(_))))));
    assert_eq!(world.ask(puts, queue, get), Err(Fault::Empty));
    world.end(&[gets, puts]);
}

#[test]
fn a_client_with_many_objects_ends_in_steps_and_its_locks_pass_on_first() {
    let mut world = World::in_steps();
    let [dies, lives] = [world.client(), world.client()];
    let lock = world.create(dies, Spec::Lock);
    world.ask(lives, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![lock]))).unwrap();
    world.send(dies, lock, Wait::Forever, ACQUIRE);
    let objects: Vec<_> = (0..MANY).map(|_| world.create(dies, Spec::Event)).collect();
    for event in &objects {
        world.send(dies, *event, Wait::Forever, WAIT);
    }
    let waits = world.send(lives, lock, Wait::Forever, ACQUIRE);
    let before = world.state.info().objects;
    world.leave(dies);
    let (token, owner_died, _) = granted(world.answer(waits));
    assert!(owner_died, "the lock has passed on in the first step");
    let left = world.state.info().objects;
    assert!(left > before / 2, "not all in one step: {left}");
    assert!(!world.state.has_released(world.state.endings()));
    assert!(world.steps() > 2);
    assert!(world.state.has_released(world.state.endings()));
    assert_eq!(world.state.info().objects, 1);
    world.ask(lives, lock, RELEASE(token)).unwrap();
    world.end(&[lives]);
}

#[test]
fn what_an_ended_client_still_has_refuses_nobody_who_waits_for_its_end() {
    let mut world = World::in_steps();
    let [dies, lives] = [world.client(), world.client()];
    let locks: Vec<_> = (0..MANY).map(|_| world.create(lives, Spec::Lock)).collect();
    for lock in &locks {
        world.send(dies, *lock, Wait::Forever, ACQUIRE);
    }
    world.leave(dies);
    let last = *locks.last().unwrap();
    assert_eq!(world.hear(lives, last, false, ACQUIRE), Heard::Unsettled, "a refusal comes after the end");
    let endings = world.state.endings();
    while !world.state.has_released(endings) {
        world.step();
    }
    let call = world.send(lives, last, Wait::No, ACQUIRE);
    assert!(granted(world.answer(call)).1, "its owner died");
    world.steps();
    world.end(&[lives]);
}

#[test]
fn the_tasks_of_an_ended_client_come_back_in_their_order_and_all_together() {
    let mut world = World::in_steps();
    let [dies, lives] = [world.client(), world.client()];
    let queue = world.create(lives, Spec::JoinableQueue { maxsize: 0, max_deliveries: 3 });
    let get = Op::JoinableQueue(JoinableQueueOp::Get);
    let numbers: Vec<_> = (0..u32::try_from(MANY).unwrap()).map(u32::to_le_bytes).collect();
    for number in &numbers {
        world.ask(lives, queue, Op::JoinableQueue(JoinableQueueOp::Put(raw(number)))).unwrap();
        world.ask(dies, queue, get.clone()).unwrap();
    }
    // It has read all answers, so the first step already returns tasks.
    world.state.acknowledge(dies, u64::MAX);
    world.leave(dies);
    assert_eq!(world.hear(lives, queue, true, get.clone()), Heard::Unsettled, "not the newest one first");
    assert!(world.steps() > 2);
    for number in &numbers {
        match world.ask(lives, queue, get.clone()) {
            Ok(Reply::Leased { task, .. }) => assert_eq!(task.raw().bytes, number),
            other => panic!("{other:?}"),
        }
    }
    world.end(&[lives]);
}

#[test]
fn items_that_an_ended_client_did_not_read_come_back_in_their_order_and_all_together() {
    let mut world = World::in_steps();
    let [dies, lives] = [world.client(), world.client()];
    let queue = world.create(lives, Spec::Queue(0));
    let numbers: Vec<_> = (0..u32::try_from(2 * MANY).unwrap()).map(u32::to_le_bytes).collect();
    for number in &numbers {
        world.ask(lives, queue, Op::Queue(QueueOp::Put(raw(number)))).unwrap();
        world.ask(dies, queue, Op::Queue(QueueOp::Get)).unwrap();
    }
    world.leave_unread(dies, 0);
    let get = Op::Queue(QueueOp::Get);
    assert_eq!(world.hear(lives, queue, true, get.clone()), Heard::Unsettled, "not the newest one first");
    world.steps();
    for number in &numbers {
        let payload = Payload::copy(raw(number));
        assert_eq!(world.ask(lives, queue, get.clone()), Ok(Reply::Value(payload)));
    }
    world.end(&[lives]);
}

#[test]
fn many_waits_end_by_time_in_steps() {
    let mut world = World::in_steps();
    let client = world.client();
    let event = world.create(client, Spec::Event);
    let calls: Vec<_> = (0..MANY).map(|_| world.send(client, event, Wait::For(5), WAIT)).collect();
    world.now += 5;
    let mut effects = Effects::default();
    world.state.advance(world.now, &mut effects);
    let ended = effects.answers.len();
    world.note(effects);
    assert!(ended < MANY && world.state.units() <= 6 * STEP_UNITS, "{ended} in one step");
    world.pass(0);
    assert!(calls.iter().all(|call| world.answer(*call) == Some(Err(Fault::TimedOut))));
    world.end(&[client]);
}

#[test]
fn a_transaction_does_a_limited_amount_of_work() {
    let mut world = World::in_steps();
    let client = world.client();
    let list = world.create(client, Spec::List);
    let items = 1 << 15;
    world.ask(client, list, Op::List(ListOp::Extend(vec![raw(b"x"); items]))).unwrap();
    let search = || {
        let op = Op::List(ListOp::Count(Scan { value: raw(b"y"), from: 0, version: None }));
        Step { object: list, op }
    };
    let push = Step { object: list, op: Op::List(ListOp::Push(raw(b"z"))) };
    let within = OPERATION_UNITS_MAX / items - 1;
    let steps = std::iter::repeat_with(search).take(within).collect();
    assert!(world.transact(client, steps).is_ok());
    let steps = std::iter::once(push).chain(std::iter::repeat_with(search).take(within + 2)).collect();
    let limit = u64::try_from(OPERATION_UNITS_MAX).unwrap();
    assert_eq!(world.transact(client, steps), Err(Fault::TooMuchWork { limit }));
    let len = world.ask(client, list, Op::List(ListOp::Len));
    assert_eq!(len, Ok(Reply::Len { len: u64::try_from(items).unwrap(), version: 1 }), "nothing was done");
    world.end(&[client]);
}

#[test]
fn what_a_manager_holds_is_known_without_a_look_at_each_object() {
    let mut world = World::in_steps();
    let client = world.client();
    let lock = world.create(client, Spec::Lock);
    for _ in 0..100_000 {
        world.create(client, Spec::Lock);
    }
    world.send(client, lock, Wait::Forever, ACQUIRE);
    // A look at each object each time would take most of a minute.
    let deadline = Deadline::after(Duration::from_secs(10));
    for _ in 0..50_000 {
        match world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Info)) {
            Ok(Reply::Info(info)) => assert_eq!((info.objects, info.held), (100_001, 1)),
            other => panic!("{other:?}"),
        }
    }
    assert!(!deadline.has_passed());
    world.ask(client, lock, RELEASE(1)).unwrap();
    assert_eq!(world.state.info().held, 0);
}

#[test]
fn a_list_is_sorted_in_short_pieces() {
    let mut world = World::in_steps();
    let client = world.client();
    let (list, other) = (world.create(client, Spec::List), world.create(client, Spec::List));
    world.ask(client, list, Op::List(ListOp::Extend(vec![raw(b"x"); 2 * ORDER_ITEMS_AT_ONCE]))).unwrap();
    let order: Vec<_> = (0..u64::try_from(ORDER_ITEMS_AT_ONCE).unwrap()).rev().collect();
    for _ in 0..2 {
        let gather = ListOp::Gather { from: list, version: 1, order: order.clone() };
        world.ask(client, other, Op::List(gather)).unwrap();
        assert!(world.state.units() <= 6 * STEP_UNITS, "{} units", world.state.units());
    }
    world.ask(client, list, Op::List(ListOp::Exchange { with: other, version: 1 })).unwrap();
    assert!(world.state.units() <= STEP_UNITS);
    world.end(&[client]);
}

#[test]
fn references_inside_a_value_are_released_in_steps() {
    let mut world = World::in_steps();
    let client = world.client();
    let ids: Vec<u8> = (0..MANY).flat_map(|_| id(world.create(client, Spec::Event))).collect();
    let value = world.create(client, Spec::Value(Raw { bytes: b"v", ids: &ids }));
    let detach = ids.as_chunks().0.iter().map(|id| (ObjectId(u64::from_le_bytes(*id)), 1)).collect();
    let detach = ManagerOp::Detach { references: detach, lingers: false };
    world.send(client, ObjectId::MANAGER, Wait::No, Op::Manager(detach));
    world.steps();
    let compare =
        Op::Value(ValueOp::CompareExchange { expected: Raw { bytes: b"v", ids: &ids }, new: raw(b"") });
    assert_eq!(world.ask(client, value, compare), Ok(Reply::Bool(true)));
    assert!(world.state.info().objects > 1, "not all in one step");
    assert!(world.steps() > 2);
    assert_eq!(world.state.info().objects, 1);
    world.end(&[client]);
}

#[test]
fn the_most_that_one_client_can_wait_for_ends_in_short_steps() {
    let mut world = World::in_steps();
    let client = world.client();
    let barrier = world.create(client, Spec::Barrier(u64::try_from(WAITING_CALLS_MAX + 1).unwrap()));
    let wait = Op::Barrier(crate::proto::BarrierOp::Wait { acts: false });
    for _ in 0..WAITING_CALLS_MAX {
        world.send(client, barrier, Wait::Forever, wait.clone());
    }
    let last = world.client();
    let index = Reply::Count(u64::try_from(WAITING_CALLS_MAX).unwrap());
    assert_eq!(world.ask(last, barrier, wait), Ok(index));
    assert!(world.state.units() <= 6 * STEP_UNITS);
    world.steps();
    let mut indices = world.effects.answers.drain(..).filter(|answered| answered.client == client);
    assert!(
        (0..u64::try_from(WAITING_CALLS_MAX).unwrap())
            .all(|index| indices.next().unwrap().answer == Ok(Reply::Count(index))),
        "each has the position in which it arrived"
    );
    drop(indices);
    world.end(&[client, last]);
}
