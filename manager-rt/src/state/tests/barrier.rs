//! Barriers under the virtual clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::model::{Answers, ModelLine, Three, wait, who};
use super::*;
use crate::limits::PARTIES_MAX;
use crate::proto::BarrierOp;

const WAIT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Wait);
const RESET: Op<Raw<'static>> = Op::Barrier(BarrierOp::Reset);
const ABORT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Abort);
const IS_BROKEN: Op<Raw<'static>> = Op::Barrier(BarrierOp::IsBroken);
const BROKEN: Option<Answer<Payload>> = Some(Err(Fault::Broken));

fn passed(index: u64) -> Option<Answer<Payload>> {
    Some(Ok(Reply::Count(index)))
}

fn wait_for_all(world: &mut World, client: ClientId, barrier: ObjectId) -> u64 {
    world.send(client, barrier, Wait::Forever, WAIT)
}

#[test]
fn all_pass_in_the_order_in_which_they_came_round_after_round() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let barrier = world.create(clients[0], Spec::Barrier(3));
    for _ in 0..3 {
        let calls = clients.map(|client| wait_for_all(&mut world, client, barrier));
        let answers = calls.map(|call| world.answer(call));
        assert_eq!(answers, [passed(0), passed(1), passed(2)]);
    }
    world.end(&clients);
}

#[test]
fn the_death_of_a_party_breaks_it_whether_it_waits_or_not() {
    for dies_waiting in [true, false] {
        let mut world = World::new();
        let clients = [world.client(), world.client(), world.client()];
        let [one, two, three] = clients;
        let barrier = world.create(three, Spec::Barrier(2));
        let other = if dies_waiting { world.create(three, Spec::Barrier(3)) } else { barrier };
        let calls = [one, two].map(|client| wait_for_all(&mut world, client, other));
        if dies_waiting {
            world.leave(two);
            assert_eq!(world.answer(calls[0]), BROKEN);
        } else {
            assert_eq!(calls.map(|call| world.answer(call)), [passed(0), passed(1)]);
            let waiting = wait_for_all(&mut world, one, barrier);
            world.leave(two);
            assert_eq!(world.answer(waiting), BROKEN, "the other one will not come");
        }
        assert_eq!(world.ask(one, other, WAIT), Err(Fault::Broken));
        assert_eq!(world.ask(one, other, IS_BROKEN), Ok(Reply::Bool(true)));
        assert_eq!(world.ask(one, other, RESET), DONE);
        let calls = [wait_for_all(&mut world, one, barrier), wait_for_all(&mut world, three, barrier)];
        assert_eq!(calls.map(|call| world.answer(call)), [passed(0), passed(1)], "its place is free");
        world.end(&clients);
    }
}

#[test]
fn a_party_that_gives_up_breaks_it_and_a_detached_one_does_not() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [one, two, three] = clients;
    let barrier = world.open(three, "meeting", Spec::Barrier(3));
    world.ask(one, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![barrier]))).unwrap();
    let late = world.send(one, barrier, Wait::For(5), WAIT);
    let other = wait_for_all(&mut world, two, barrier);
    world.pass(5);
    assert_eq!((world.answer(late), world.answer(other)), (Some(Err(Fault::TimedOut)), BROKEN));
    assert_eq!(world.ask(one, barrier, RESET), DONE);
    let [gives_up, other] = [one, two].map(|client| wait_for_all(&mut world, client, barrier));
    world.ask(one, ObjectId::MANAGER, Op::Manager(ManagerOp::Cancel { call: gives_up })).unwrap();
    assert_eq!((world.answer(gives_up), world.answer(other)), (Some(Err(Fault::Cancelled)), BROKEN));
    assert_eq!(world.ask(one, barrier, RESET), DONE);
    let other = wait_for_all(&mut world, two, barrier);
    assert_eq!(world.ask(one, barrier, WAIT), Err(Fault::TimedOut), "who does not wait breaks it too");
    assert_eq!(world.answer(other), BROKEN);
    assert_eq!(world.ask(one, barrier, RESET), DONE);
    let detach = ManagerOp::Detach { references: vec![(barrier, 1)], lingers: false };
    world.ask(one, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    let waiting = wait_for_all(&mut world, two, barrier);
    world.leave(one);
    assert_eq!(world.answer(waiting), None, "it came to say goodbye");
    assert_eq!(world.ask(three, barrier, ABORT), DONE);
    assert_eq!(world.answer(waiting), BROKEN);
    assert_eq!(world.ask(three, barrier, RESET), DONE);
    let waiting = wait_for_all(&mut world, two, barrier);
    world.remove(three, "meeting");
    assert_eq!(world.answer(waiting), Some(Err(Fault::UnknownObject)));
    world.end(&clients);
}

#[test]
fn there_are_no_more_parties_than_it_was_made_for() {
    let mut world = World::new();
    let clients = [world.client(), world.client()];
    for parties in [0, PARTIES_MAX + 1] {
        let op = Op::Manager(ManagerOp::Create { spec: Spec::Barrier(parties), print: PRINT });
        let fault = Fault::OutOfRange { least: 1, most: PARTIES_MAX };
        assert_eq!(world.ask(clients[0], ObjectId::MANAGER, op), Err(fault));
    }
    let widest = world.create(clients[0], Spec::Barrier(PARTIES_MAX));
    let waiting = wait_for_all(&mut world, clients[0], widest);
    assert_eq!(world.ask(clients[0], widest, WAIT), Err(Fault::TooMany { limit: 1 }), "one thread, twice");
    assert_eq!(world.answer(waiting), None);
    let barrier = world.create(clients[0], Spec::Barrier(1));
    assert_eq!(world.ask(clients[0], barrier, WAIT), Ok(Reply::Count(0)));
    assert_eq!(world.ask(clients[1], barrier, WAIT), Err(Fault::TooMany { limit: 1 }));
    assert_eq!(
        world.transact(clients[0], vec![Step { object: barrier, op: WAIT }]),
        Err(Fault::NotInTransaction)
    );
    world.end(&clients);
}

#[derive(Debug, Clone)]
enum Act {
    Wait(usize, Wait),
    Abort(usize),
    Reset(usize),
    Detach(usize),
    Die(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (who(), wait()).prop_map(|(who, wait)| Act::Wait(who, wait)),
        1 => who().prop_map(Act::Abort),
        4 => who().prop_map(Act::Reset),
        1 => who().prop_map(Act::Detach),
        1 => who().prop_map(Act::Die),
        1 => (0_u64..10).prop_map(Act::Pass),
    ]
}

#[derive(Debug, Default)]
struct Model {
    parties: usize,
    is_broken: bool,
    /// Who registered.
    registered: BTreeMap<usize, ()>,
    line: ModelLine<()>,
}

impl Model {
    fn break_up(&mut self, answers: &mut Answers) {
        self.is_broken = true;
        answers.extend(self.line.0.drain(..).map(|waits| (waits.call, Err(Fault::Broken))));
    }

    fn arrive(&mut self, (who, call): (usize, u64), (now, wait): (u64, Wait), answers: &mut Answers) {
        let limit = self.parties as u64;
        if self.is_broken {
            answers.insert(call, Err(Fault::Broken));
        } else if self.line.0.iter().any(|waits| waits.client == who) {
            answers.insert(call, Err(Fault::TooMany { limit: 1 }));
        } else if !self.registered.contains_key(&who) && self.registered.len() == self.parties {
            answers.insert(call, Err(Fault::TooMany { limit }));
        } else {
            self.registered.insert(who, ());
            if self.line.0.len() + 1 == self.parties {
                let calls = self.line.0.drain(..).map(|waits| waits.call).chain([call]);
                answers.extend(calls.zip(0..).map(|(call, index)| (call, Ok(Reply::Count(index)))));
                return;
            }
            self.line.join((who, call), (now, wait), (), Fault::TimedOut, answers);
            if wait == Wait::No {
                self.break_up(answers);
            }
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        match *act {
            Act::Wait(who, wait) => self.arrive((who, call), (now, wait), &mut answers),
            Act::Abort(_) => {
                self.break_up(&mut answers);
                answers.insert(call, DONE);
            }
            Act::Reset(_) => {
                self.break_up(&mut answers);
                self.is_broken = false;
                answers.insert(call, DONE);
            }
            Act::Detach(who) => {
                if !self.line.0.iter().any(|waits| waits.client == who) {
                    self.registered.remove(&who);
                }
            }
            Act::Die(who) => {
                self.line.leave(who);
                if self.registered.remove(&who).is_some() {
                    self.break_up(&mut answers);
                }
            }
            Act::Pass(_) => {
                if let Some((_, late)) = self.line.next_late(now) {
                    self.line.remove(late);
                    answers.insert(late, Err(Fault::TimedOut));
                    self.break_up(&mut answers);
                }
            }
        }
        answers
    }
}

proptest! {
    #[test]
    fn a_barrier_is_as_its_model(parties in 1_usize..4, acts in proptest::collection::vec(act(), 1..80)) {
        let mut three = Three::new(Spec::Barrier(parties as u64));
        let mut model = Model { parties, ..Model::default() };
        for act in acts {
            let call = three.next_call();
            match act {
                Act::Wait(who, wait) => three.send(who, wait, WAIT),
                Act::Abort(who) => three.send(who, Wait::No, ABORT),
                Act::Reset(who) => three.send(who, Wait::No, RESET),
                Act::Detach(who) => three.detach_and_attach(who),
                Act::Die(who) => three.replace(who),
                Act::Pass(nanos) => three.world.pass(nanos),
            }
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            prop_assert_eq!(three.world.state.info().waiters, model.line.0.len() as u64);
            let (client, object) = (three.clients[0], three.object);
            prop_assert_eq!(three.world.ask(client, object, IS_BROKEN), Ok(Reply::Bool(model.is_broken)));
        }
        three.end();
    }
}
