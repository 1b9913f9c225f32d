//! Tests of semaphores with the virtual clock.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::model::{Answers, ModelLine, Three, wait, who};
use super::*;
use crate::limits::PERMITS_MAX;
use crate::proto::SemaphoreOp;

const TAKE: Op<Raw<'static>> = Op::Semaphore(SemaphoreOp::Acquire);
const GIVE: Op<Raw<'static>> = Op::Semaphore(SemaphoreOp::Release);
const FORGET: Op<Raw<'static>> = Op::Semaphore(SemaphoreOp::Forget);

const fn add(count: u64) -> Op<Raw<'static>> {
    Op::Semaphore(SemaphoreOp::Add(count))
}

fn available(world: &mut World, client: ClientId, semaphore: ObjectId) -> u64 {
    match world.ask(client, semaphore, Op::Semaphore(SemaphoreOp::Available)) {
        Ok(Reply::Count(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn permits_of_dead_clients_go_to_the_longest_waiters() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client(), world.client()];
    let [one, two, three, four] = clients;
    let semaphore = world.create(four, Spec::Semaphore(2));
    for _ in 0..2 {
        assert_eq!(world.ask(one, semaphore, TAKE), DONE);
    }
    assert_eq!(world.ask(two, semaphore, TAKE), Err(Fault::WouldBlock));
    let second = world.send(two, semaphore, Wait::Forever, TAKE);
    let third = world.send(three, semaphore, Wait::Forever, TAKE);
    let fourth = world.send(four, semaphore, Wait::Forever, TAKE);
    world.leave(two);
    assert_eq!(world.state.info().held, 2);
    world.leave(one);
    assert_eq!(world.answer(second), None, "dead waiters take no permit");
    assert_eq!((world.answer(third), world.answer(fourth)), (Some(DONE), Some(DONE)));
    assert_eq!(world.state.info().held, 2);
    world.end(&clients);
}

#[test]
fn waits_that_time_out_or_are_cancelled_take_nothing() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let semaphore = world.create(one, Spec::BoundedSemaphore(1));
    assert_eq!(world.ask(one, semaphore, TAKE), DONE);
    let late = world.send(two, semaphore, Wait::For(5), TAKE);
    let cancelled = world.send(two, semaphore, Wait::For(9), TAKE);
    world.pass(4);
    assert_eq!(world.answer(late), None);
    world.pass(1);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    world.control(two, Control::Cancel { call: cancelled });
    assert_eq!(world.answer(cancelled), Some(Err(Fault::Cancelled)));
    assert_eq!(world.ask(one, semaphore, GIVE), DONE);
    assert_eq!(available(&mut world, one, semaphore), 1);
    assert_eq!(world.ask(one, semaphore, GIVE), Err(Fault::NotOwned));
    assert_eq!(world.ask(two, semaphore, FORGET), Err(Fault::NotOwned));
    world.end(&[one, two]);
}

#[test]
fn no_more_permits_come_back_than_the_limit() {
    let mut world = World::new();
    let client = world.client();
    let create = |spec| Op::Manager(ManagerOp::Create { spec, print: PRINT });
    for spec in [Spec::Semaphore(PERMITS_MAX + 1), Spec::BoundedSemaphore(PERMITS_MAX + 1)] {
        let fault = Fault::OutOfRange { least: 0, most: PERMITS_MAX };
        assert_eq!(world.ask(client, ObjectId::MANAGER, create(spec)), Err(fault));
    }
    let free = world.create(client, Spec::Semaphore(PERMITS_MAX - 1));
    assert_eq!(world.ask(client, free, TAKE), DONE);
    assert_eq!(world.ask(client, free, add(2)), Err(Fault::OutOfRange { least: 0, most: 1 }));
    assert_eq!(world.ask(client, free, add(1)), DONE);
    let bounded = world.create(client, Spec::BoundedSemaphore(2));
    assert_eq!(world.ask(client, bounded, TAKE), DONE);
    assert_eq!(world.ask(client, bounded, add(1)), Err(Fault::OverReleased), "it is taken, not forgotten");
    assert_eq!(world.ask(client, bounded, FORGET), DONE);
    assert_eq!(world.ask(client, bounded, add(2)), Err(Fault::OverReleased));
    assert_eq!(world.ask(client, bounded, add(1)), DONE);
    assert_eq!(available(&mut world, client, bounded), 2);
    world.end(&[client]);
}

#[test]
fn a_named_permit_is_released_only_by_its_connection() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let semaphore = world.create(one, Spec::BoundedSemaphore(2));
    let take = Op::Semaphore(SemaphoreOp::Take);
    let token_of = |answer: Option<Answer<Payload>>| match answer {
        Some(Ok(Reply::Granted { token, owner_died: false, timed_out: false })) => token,
        other => panic!("{other:?}"),
    };
    let first = token_of(Some(world.ask(one, semaphore, take.clone())));
    let second = token_of(Some(world.ask(two, semaphore, take.clone())));
    assert_ne!(first, second);
    let waiting = world.send(two, semaphore, Wait::Forever, take.clone());
    for op in [SemaphoreOp::Return { token: first }, SemaphoreOp::Disown { token: first }] {
        assert_eq!(world.ask(two, semaphore, Op::Semaphore(op)), Err(Fault::NotOwned));
    }
    assert_eq!(world.answer(waiting), None);
    let back = Op::Semaphore(SemaphoreOp::Return { token: first });
    assert_eq!(world.ask(one, semaphore, back.clone()), DONE);
    assert_eq!(world.ask(one, semaphore, back), Err(Fault::NotOwned), "it has no other one");
    assert_eq!(token_of(world.answer(waiting)), second, "permits of a connection are alike");
    assert_eq!(world.ask(two, semaphore, Op::Semaphore(SemaphoreOp::Disown { token: second })), DONE);
    assert_eq!(world.state.info().held, 1);
    world.leave(two);
    assert_eq!((world.state.info().held, available(&mut world, one, semaphore)), (0, 1));
    world.end(&[one]);
}

#[test]
fn waiters_get_an_error_at_the_end() {
    let mut world = World::new();
    let client = world.client();
    let semaphore = world.open(client, "permits", Spec::Semaphore(0));
    let waiting = world.send(client, semaphore, Wait::Forever, TAKE);
    world.remove(client, "permits");
    assert_eq!(world.answer(waiting), Some(Err(Fault::UnknownObject)));
    world.end(&[client]);
}

#[test]
fn a_transaction_takes_no_permit() {
    let mut world = World::new();
    let client = world.client();
    let semaphore = world.create(client, Spec::Semaphore(1));
    let before = world.counts();
    let steps = vec![Step { object: semaphore, op: TAKE }];
    assert_eq!(world.transact(client, steps), Err(Fault::NotInTransaction));
    assert_eq!(world.counts(), before);
    world.end(&[client]);
}

#[derive(Debug, Clone)]
enum Act {
    Acquire(usize, Wait),
    Release(usize),
    Forget(usize),
    Add(usize, u64),
    Cancel(usize, u64),
    Die(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (who(), wait()).prop_map(|(who, wait)| Act::Acquire(who, wait)),
        4 => who().prop_map(Act::Release),
        1 => who().prop_map(Act::Forget),
        2 => (who(), 0_u64..3).prop_map(|(who, count)| Act::Add(who, count)),
        1 => (who(), 0_u64..8).prop_map(|(who, back)| Act::Cancel(who, back)),
        1 => who().prop_map(Act::Die),
        2 => (0_u64..10).prop_map(Act::Pass),
    ]
}

#[derive(Debug, Default)]
struct Model {
    bound: Option<u64>,
    free: u64,
    taken: BTreeMap<usize, u64>,
    /// The calls that got a permit with an answer that their client has not read yet.
    granted: BTreeSet<(usize, u64)>,
    line: ModelLine<()>,
}

impl Model {
    fn booked(&self) -> u64 {
        self.free + self.taken.values().sum::<u64>()
    }

    fn take_from(&mut self, who: usize) -> Answer<Payload> {
        match self.taken.get_mut(&who) {
            Some(taken) if *taken > 0 => {
                *taken -= 1;
                DONE
            }
            _ => Err(Fault::NotOwned),
        }
    }

    fn serve(&mut self, answers: &mut Answers) {
        while self.free > 0
            && let Some(waits) = self.line.pop()
        {
            self.free -= 1;
            *self.taken.entry(waits.client).or_default() += 1;
            self.granted.insert((waits.client, waits.call));
            answers.insert(waits.call, DONE);
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        match *act {
            Act::Acquire(who, wait) if self.free == 0 || !self.line.0.is_empty() => {
                self.line.join((who, call), (now, wait), (), Fault::WouldBlock, &mut answers);
            }
            Act::Acquire(who, _) => {
                self.free -= 1;
                *self.taken.entry(who).or_default() += 1;
                self.granted.insert((who, call));
                answers.insert(call, DONE);
            }
            Act::Release(who) => {
                let answer = self.take_from(who);
                self.free += u64::from(answer.is_ok());
                answers.insert(call, answer);
            }
            Act::Forget(who) => {
                let answer = self.take_from(who);
                answers.insert(call, answer);
            }
            Act::Add(_, count) => {
                let is_too_much = self.bound.is_some_and(|bound| self.booked() + count > bound);
                self.free += if is_too_much { 0 } else { count };
                answers.insert(call, if is_too_much { Err(Fault::OverReleased) } else { DONE });
            }
            Act::Cancel(who, back) => {
                let other = call.saturating_sub(back);
                if self.line.0.iter().any(|waits| (waits.client, waits.call) == (who, other)) {
                    self.line.remove(other);
                    answers.insert(other, Err(Fault::Cancelled));
                } else if self.granted.remove(&(who, other)) {
                    // Nobody has seen the permit, unless the client has already released it.
                    self.free += u64::from(self.take_from(who).is_ok());
                }
            }
            Act::Die(who) => {
                self.line.leave(who);
                self.granted.retain(|granted| granted.0 != who);
                self.free += self.taken.remove(&who).unwrap_or(0);
            }
            Act::Pass(_) => {
                while let Some((_, late)) = self.line.next_late(now) {
                    self.line.remove(late);
                    answers.insert(late, Err(Fault::TimedOut));
                }
            }
        }
        self.serve(&mut answers);
        answers
    }
}

fn act_on(three: &mut Three, act: &Act, call: u64) {
    match *act {
        Act::Acquire(who, wait) => three.send(who, wait, TAKE),
        Act::Release(who) => three.send(who, Wait::No, GIVE),
        Act::Forget(who) => three.send(who, Wait::No, FORGET),
        Act::Add(who, count) => three.send(who, Wait::No, add(count)),
        Act::Cancel(who, back) => three.cancel(who, call.saturating_sub(back)),
        Act::Die(who) => three.replace(who),
        Act::Pass(nanos) => three.world.pass(nanos),
    }
}

proptest! {
    #[test]
    fn a_semaphore_behaves_like_its_model(
        permits in 0_u64..3,
        is_bounded in any::<bool>(),
        acts in proptest::collection::vec(act(), 1..80),
    ) {
        let spec = if is_bounded { Spec::BoundedSemaphore(permits) } else { Spec::Semaphore(permits) };
        let mut three = Three::new(spec);
        let mut model = Model { bound: is_bounded.then_some(permits), free: permits, ..Model::default() };
        for act in acts {
            let call = three.next_call();
            act_on(&mut three, &act, call);
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            let info = three.world.state.info();
            prop_assert_eq!(info.waiters, model.line.0.len() as u64);
            prop_assert_eq!(info.held, model.taken.values().sum::<u64>());
            prop_assert_eq!(available(&mut three.world, three.clients[0], three.object), model.free);
        }
        three.end();
    }
}
