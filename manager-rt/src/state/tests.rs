//! Tests of the state machine with a virtual clock.

mod array;
mod audit;
mod barrier;
mod bequests;
mod condition;
mod containers;
mod dict;
mod event;
mod joinable_queue;
mod list;
mod lock;
mod model;
mod names;
mod namespace;
mod queue;
mod report;
mod semaphore;
mod sessions;
mod shares;
mod snapshots;
mod steps;
mod together;
mod traces;

use std::collections::HashMap;

use bytes::Bytes;

use super::context::DONE;
use super::*;
use crate::proto::{Answer, ConditionOp, LockOp, ManagerOp, ObjectId, Spec, ValueOp};
use crate::wire::control::Control;

const PRINT: u64 = 7;

/// A state machine, its clock, and its answers.
struct World {
    state: State,
    now: u64,
    calls: u64,
    effects: Effects,
    /// The answered calls of each client, in order.
    answered: HashMap<ClientId, Vec<u64>>,
    /// Whether each call is followed by what it leaves.
    tidies: bool,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut state = State::new(limits);
        // All work takes as many steps as possible.
        state.set_step(1);
        Self { state, now: 0, calls: 0, effects: Effects::default(), answered: HashMap::new(), tidies: true }
    }

    /// Records the results of a step.
    fn note(&mut self, effects: Effects) {
        for Answered { client, call, .. } in &effects.answers {
            self.answered.entry(*client).or_default().push(*call);
        }
        self.effects.answers.extend(effects.answers);
    }

    /// Returns the number of the answer to a call among those of its client.
    fn number_of(&self, client: ClientId, call: u64) -> u64 {
        let index = self.answered[&client].iter().position(|answered| *answered == call);
        u64::try_from(index.expect("it was answered")).unwrap()
    }

    fn client(&mut self) -> ClientId {
        self.state.connect().unwrap()
    }

    /// Sends a call, and returns its number.
    fn send(&mut self, client: ClientId, object: ObjectId, wait: Wait, op: Op<Raw<'_>>) -> u64 {
        self.calls += 1;
        let (call, now, frame) = (self.calls, self.now, &Bytes::new());
        let caller = Caller { client, call, now, frame, is_settled: true };
        let mut effects = Effects::default();
        let heard = self.state.apply(caller, Call { object, thread: 1, wait, op }, &mut effects);
        assert_eq!(heard, Heard::Done);
        self.note(effects);
        self.tidy_unless_left();
        self.calls
    }

    /// Sends an operation that needs no answer.
    fn tell(&mut self, client: ClientId, object: ObjectId, op: LockOp) {
        self.calls += 1;
        let (call, now, frame) = (self.calls, self.now, &Bytes::new());
        let caller = Caller { client, call, now, frame, is_settled: true };
        let mut effects = Effects::default();
        let call = Call { object, thread: 1, wait: Wait::No, op: Op::Lock(op) };
        assert_eq!(self.state.notice(caller, call, &mut effects), Heard::Done);
        self.note(effects);
        self.tidy_unless_left();
    }

    /// Leaves what the calls leave, and lets each step do as much as in a server.
    fn leave_the_rest(&mut self) {
        self.tidies = false;
        self.state.set_step(work::STEP_UNITS);
    }

    fn tidy_unless_left(&mut self) {
        if self.tidies {
            self.tidy();
        }
    }

    /// Does what the calls so far have left.
    fn tidy(&mut self) {
        let mut effects = Effects::default();
        while self.state.tidy(&mut effects) {}
        self.note(effects);
    }

    /// Sends something about the client's own calls, and checks that it is confirmed.
    fn control(&mut self, client: ClientId, control: Control) {
        self.calls += 1;
        let (call, now, frame) = (self.calls, self.now, &Bytes::new());
        let caller = Caller { client, call, now, frame, is_settled: true };
        let mut effects = Effects::default();
        assert_eq!(self.state.control(caller, control, true, &mut effects), Heard::Done);
        self.note(effects);
        self.tidy_unless_left();
        assert_eq!(self.answer(self.calls), Some(DONE));
    }

    /// Returns the answer to a call, if there is one.
    fn answer(&mut self, call: u64) -> Option<Answer<Payload>> {
        let index = self.effects.answers.iter().position(|answered| answered.call == call)?;
        Some(self.effects.answers.remove(index).into_answer())
    }

    fn ask(&mut self, client: ClientId, object: ObjectId, op: Op<Raw<'_>>) -> Answer<Payload> {
        let call = self.send(client, object, Wait::No, op);
        self.answer(call).expect("a call that does not wait is answered at once")
    }

    fn create(&mut self, client: ClientId, spec: Spec<Raw<'_>>) -> ObjectId {
        let op = Op::Manager(ManagerOp::Create { spec, print: PRINT });
        match self.ask(client, ObjectId::MANAGER, op) {
            Ok(Reply::Object { id, created: true }) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Like [`create`](Self::create), with a name.
    fn open(&mut self, client: ClientId, name: &str, spec: Spec<Raw<'_>>) -> ObjectId {
        let op = Op::Manager(ManagerOp::Open { name: name.to_owned(), spec, print: PRINT });
        match self.ask(client, ObjectId::MANAGER, op) {
            Ok(Reply::Object { id, created: true }) => id,
            other => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, client: ClientId, name: &str) {
        let op = Op::Manager(ManagerOp::Remove { name: name.to_owned() });
        self.ask(client, ObjectId::MANAGER, op).unwrap();
    }

    fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        let mut effects = Effects::default();
        loop {
            self.state.advance(self.now, &mut effects);
            self.note(std::mem::take(&mut effects));
            self.tidy_unless_left();
            if self.state.next_deadline().is_none_or(|next| next > self.now) {
                return;
            }
        }
    }

    fn leave(&mut self, client: ClientId) {
        self.leave_unread(client, u64::MAX);
    }

    /// Ends a client that certainly did not read its answers from number `unread` on.
    fn leave_unread(&mut self, client: ClientId, unread: u64) {
        self.depart(Departure { client, now: self.now, unread, doubtful: unread });
    }

    /// Ends a client that may not have read any answer, but that certainly missed none.
    fn leave_in_doubt(&mut self, client: ClientId) {
        self.depart(Departure { client, now: self.now, unread: u64::MAX, doubtful: 0 });
    }

    fn cancel(&mut self, client: ClientId, call: u64) {
        self.control(client, Control::Cancel { call });
    }

    fn depart(&mut self, departure: Departure) {
        let mut effects = Effects::default();
        self.state.disconnect(departure, &mut effects);
        self.note(effects);
        self.tidy_unless_left();
    }

    fn transact(&mut self, client: ClientId, steps: Vec<Step<Raw<'_>>>) -> Answer<Payload> {
        self.calls += 1;
        let (call, now, frame) = (self.calls, self.now, &Bytes::new());
        let caller = Caller { client, call, now, frame, is_settled: true };
        let mut effects = Effects::default();
        self.state.transaction(caller, steps, &mut effects);
        self.note(effects);
        self.tidy_unless_left();
        self.answer(self.calls).expect("a transaction is answered at once")
    }

    /// Returns what the manager holds, apart from the memory: a container that has grown stays larger even if what it held
    /// is undone.
    fn counts(&self) -> Info {
        Info { bytes: 0, ..self.state.info() }
    }

    /// Ends all clients. Then nothing may be left.
    fn end(mut self, clients: &[ClientId]) {
        clients.iter().for_each(|client| self.leave(*client));
        while self.state.tidy(&mut self.effects) {}
        // The values of answers belong to the manager's memory until they are written.
        self.effects.answers.clear();
        assert_eq!(self.state.info(), Info::default());
    }
}

fn granted(answer: Option<Answer<Payload>>) -> (u64, bool, bool) {
    match answer {
        Some(Ok(
            Reply::Granted { token, owner_died, timed_out }
            | Reply::GrantedLease { token, owner_died, timed_out, .. },
        )) => (token, owner_died, timed_out),
        other => panic!("{other:?}"),
    }
}

const ACQUIRE: Op<Raw<'static>> = Op::Lock(LockOp::Acquire { lease: 0 });

#[test]
fn a_lock_passes_on_in_the_order_of_the_line_and_past_the_dead() {
    let mut world = World::new();
    let [one, two, three] = [world.client(), world.client(), world.client()];
    let lock = world.create(three, Spec::Lock);
    let first = world.send(one, lock, Wait::Forever, ACQUIRE);
    assert_eq!(granted(world.answer(first)), (1, false, false));
    assert_eq!(world.ask(two, lock, ACQUIRE), Err(Fault::WouldBlock));
    let second = world.send(two, lock, Wait::Forever, ACQUIRE);
    let third = world.send(three, lock, Wait::For(5), ACQUIRE);
    world.leave(one);
    assert_eq!(granted(world.answer(second)), (2, true, false), "the next holder learns of the death");
    world.pass(5);
    assert_eq!(world.answer(third), Some(Err(Fault::TimedOut)));
    assert_eq!(world.ask(three, lock, Op::Lock(LockOp::Release { token: 2 })), Err(Fault::NotOwned));
}

#[test]
fn an_object_ends_with_its_last_reference() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let lock = world.create(one, Spec::Lock);
    let held = lock.0.to_le_bytes();
    let value = world.create(two, Spec::Value(Raw { bytes: b"proxy", ids: &held }));
    world.leave(one);
    assert_eq!(world.state.info().objects, 2, "a stored proxy keeps the object");
    world.ask(two, value, Op::Value(ValueOp::Set(Raw::plain(b"")))).unwrap();
    // The previous value came back with the answer, so the caller now has the reference.
    let detach = ManagerOp::Detach { references: vec![(lock, 1)], lingers: true };
    assert_eq!(world.state.info().objects, 2);
    world.ask(two, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    assert_eq!(world.state.info().objects, 2, "a transit keeps it for a while");
    world.pass(u64::try_from(crate::limits::TRANSIT_GRACE.as_nanos()).unwrap());
    assert_eq!(world.state.info().objects, 1);
    assert_eq!(world.ask(two, lock, ACQUIRE), Err(Fault::UnknownObject));
    world.leave(two);
    assert_eq!(world.state.info(), Info::default());
}

#[test]
fn a_transaction_happens_completely_or_not_at_all() {
    let mut world = World::new();
    let client = world.client();
    let [a, b] = [b"a", b"\xff"].map(|bytes| world.create(client, Spec::Value(Raw::plain(bytes))));
    let before = world.counts();
    let set = |object, bytes| Step { object, op: Op::Value(ValueOp::Set(Raw::plain(bytes))) };
    let wrong = Step { object: b, op: Op::Value(ValueOp::FetchAdd(crate::proto::Number::U64(1))) };
    assert_eq!(world.transact(client, vec![set(a, b"x"), set(a, b"y"), wrong]), Err(Fault::NoNumber));
    assert_eq!(
        world.ask(client, a, Op::Value(ValueOp::Get)),
        Ok(Reply::Value(Payload::copy(Raw::plain(b"a"))))
    );
    assert_eq!(world.counts(), before);
    world.audit();
    world.end(&[client]);
}

#[test]
fn a_failed_transaction_adds_no_reference() {
    let mut world = World::new();
    let client = world.client();
    let inner = world.create(client, Spec::Lock);
    let held = inner.0.to_le_bytes();
    let value = world.create(client, Spec::Value(Raw { bytes: b"proxy", ids: &held }));
    let detach = ManagerOp::Detach { references: vec![(inner, 1)], lingers: false };
    world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    let get = Step { object: value, op: Op::Value(ValueOp::Get) };
    let wrong = Step { object: value, op: Op::Value(ValueOp::FetchAdd(crate::proto::Number::U64(1))) };
    assert_eq!(world.transact(client, vec![get, wrong]), Err(Fault::NoNumber));
    world.ask(client, value, Op::Value(ValueOp::Set(Raw::plain(b"")))).unwrap();
    let detach = ManagerOp::Detach { references: vec![(inner, 1)], lingers: false };
    world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    assert_eq!(world.state.info().objects, 1, "the only reference came with the previous value");
    world.end(&[client]);
}

#[test]
fn a_lease_ends_without_the_help_of_its_holder() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let lock = world.create(one, Spec::Lock);
    let first = world.send(one, lock, Wait::Forever, Op::Lock(LockOp::Acquire { lease: 100 }));
    let (token, ..) = granted(world.answer(first));
    let second = world.send(two, lock, Wait::Forever, ACQUIRE);
    world.pass(99);
    assert_eq!(world.answer(second), None);
    world.pass(1);
    assert_eq!(granted(world.answer(second)), (2, true, false));
    assert_eq!(world.ask(one, lock, Op::Lock(LockOp::Release { token })), Err(Fault::NotOwned));
}

#[test]
fn a_refused_wait_for_a_notification_keeps_the_lock() {
    let mut world = World::new();
    let client = world.client();
    let (lock, condition, event) = (
        world.create(client, Spec::Lock),
        world.create(client, Spec::Condition),
        world.create(client, Spec::Event),
    );
    let call = world.send(client, lock, Wait::Forever, ACQUIRE);
    let (token, ..) = granted(world.answer(call));
    for _ in 0..crate::limits::WAITING_CALLS_MAX {
        world.send(client, event, Wait::Forever, Op::Event(crate::proto::EventOp::Wait));
    }
    let wait = Op::Condition(ConditionOp::Wait { lock, token });
    let refused = world.send(client, condition, Wait::Forever, wait);
    assert!(matches!(world.answer(refused), Some(Err(Fault::TooMany { .. }))));
    assert_eq!(world.ask(client, lock, Op::Lock(LockOp::IsLocked)), Ok(Reply::Bool(true)));
    world.leave(client);
    assert_eq!(world.state.info(), Info::default());
}

#[test]
fn two_calls_with_one_number_do_not_both_wait() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let (lock, event) = (world.create(one, Spec::Lock), world.create(one, Spec::Event));
    let condition = world.create(one, Spec::Condition);
    let held = world.send(two, lock, Wait::Forever, ACQUIRE);
    let (token, ..) = granted(world.answer(held));
    let wait = Op::Event(crate::proto::EventOp::Wait);
    let first = world.send(two, event, Wait::Forever, wait.clone());
    assert_eq!(world.answer(first), None);
    for (object, op) in [(event, wait), (condition, Op::Condition(ConditionOp::Wait { lock, token }))] {
        world.calls = first - 1;
        let again = world.send(two, object, Wait::Forever, op);
        assert_eq!((again, world.answer(again)), (first, Some(Err(Fault::Malformed))));
    }
    assert_eq!(
        world.ask(one, lock, Op::Lock(LockOp::IsLocked)),
        Ok(Reply::Bool(true)),
        "it was not released"
    );
    world.calls = first;
    assert_eq!(world.state.info().waiters, 1);
    world.end(&[two, one]);
}
