//! Compares the barrier with a model that has a list of places.

use proptest::prelude::*;

use super::super::model::{Answers, ModelLine, Three, wait, who};
use super::*;

#[derive(Debug, Clone)]
enum Act {
    Wait(usize, Wait, bool),
    EndRound(usize),
    Register(usize),
    Unregister(usize),
    Abort(usize),
    Reset(usize),
    Detach(usize),
    Die(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let waits = (who(), wait(), proptest::bool::weighted(0.3));
    prop_oneof![
        12 => waits.prop_map(|(who, wait, acts)| Act::Wait(who, wait, acts)),
        3 => who().prop_map(Act::EndRound),
        1 => who().prop_map(Act::Register),
        1 => who().prop_map(Act::Unregister),
        1 => who().prop_map(Act::Abort),
        4 => who().prop_map(Act::Reset),
        1 => who().prop_map(Act::Detach),
        1 => who().prop_map(Act::Die),
        1 => (0_u64..10).prop_map(Act::Pass),
    ]
}

/// A taken place.
#[derive(Debug)]
struct Place {
    who: usize,
    is_registered: bool,
    has_arrived: bool,
}

#[derive(Debug, Default)]
struct Model {
    parties: usize,
    is_broken: bool,
    round: u64,
    places: Vec<Place>,
    /// For each waiter, whether it has an action.
    line: ModelLine<bool>,
    acting: Option<usize>,
    early: ModelLine<bool>,
}

impl Model {
    fn full(&self) -> Answer<Payload> {
        Err(Fault::TooMany { limit: self.parties as u64 })
    }

    fn end_round(&mut self) {
        self.acting = None;
        self.round += 1;
        self.places.retain(|place| place.is_registered);
        self.places.iter_mut().for_each(|place| place.has_arrived = false);
    }

    fn break_up(&mut self, answers: &mut Answers) {
        self.is_broken = true;
        for line in [&mut self.line, &mut self.early] {
            answers.extend(line.0.drain(..).map(|waits| (waits.call, Err(Fault::Broken))));
        }
        self.end_round();
    }

    fn pass(&mut self, answers: &mut Answers) {
        let calls = self.line.0.drain(..).map(|waits| waits.call);
        answers.extend(calls.zip(0..).map(|(call, index)| (call, Ok(Reply::Count(index)))));
        self.end_round();
    }

    fn take_place(&mut self, who: usize) -> bool {
        let mut own = self.places.iter_mut().filter(|place| place.who == who && !place.has_arrived);
        if let Some(place) = own.next() {
            place.has_arrived = true;
            return true;
        }
        let is_free = self.places.len() < self.parties;
        if is_free {
            self.places.push(Place { who, is_registered: false, has_arrived: true });
        }
        is_free
    }

    /// Completes a round after the last party has arrived.
    fn complete(&mut self, (who, call): (usize, u64), acts: bool, answers: &mut Answers) {
        let index = self.line.0.len() as u64;
        let answer = if acts { Reply::Acts { index, round: self.round } } else { Reply::Count(index) };
        answers.insert(call, Ok(answer));
        if acts {
            self.acting = Some(who);
        } else {
            self.pass(answers);
        }
    }

    fn arrive(&mut self, act: &Act, (call, now): (u64, u64), answers: &mut Answers) {
        let Act::Wait(who, wait, acts) = *act else { return };
        let late = Fault::TimedOut;
        if self.is_broken {
            answers.insert(call, Err(Fault::Broken));
        } else if self.acting.is_some() {
            self.early.join((who, call), (now, wait), acts, late, answers);
        } else if !self.take_place(who) {
            answers.insert(call, self.full());
        } else if self.line.0.len() + 1 == self.parties {
            self.complete((who, call), acts, answers);
        } else {
            self.line.join((who, call), (now, wait), acts, late, answers);
            if wait == Wait::No {
                self.break_up(answers);
            }
        }
    }

    fn let_early_in(&mut self, answers: &mut Answers) {
        while self.acting.is_none()
            && let Some(waits) = self.early.pop()
        {
            if !self.take_place(waits.client) {
                answers.insert(waits.call, self.full());
            } else if self.line.0.len() + 1 == self.parties {
                self.complete((waits.client, waits.call), waits.want, answers);
            } else {
                self.line.0.push(waits);
            }
        }
    }

    /// Takes back the registrations of a client: all of them, or one.
    fn unregister(&mut self, who: usize, all: bool) -> bool {
        // The places at which no call waits come first.
        self.places.sort_by_key(|place| place.has_arrived);
        let mut own = self.places.iter_mut().filter(|place| place.who == who && place.is_registered);
        let mut any = false;
        while let Some(place) = own.next()
            && (all || !any)
        {
            any = true;
            place.is_registered = false;
        }
        self.places.retain(|place| place.is_registered || place.has_arrived);
        any
    }

    fn end_action(&mut self, who: usize, answers: &mut Answers) -> Answer<Payload> {
        if self.acting != Some(who) {
            return Err(Fault::Broken);
        }
        self.pass(answers);
        self.let_early_in(answers);
        DONE
    }

    fn register(&mut self, who: usize) -> Answer<Payload> {
        if self.is_broken {
            return Err(Fault::Broken);
        }
        if self.places.len() == self.parties {
            return self.full();
        }
        self.places.push(Place { who, is_registered: true, has_arrived: false });
        DONE
    }

    fn reset(&mut self, answers: &mut Answers) {
        let early = std::mem::take(&mut self.early);
        self.break_up(answers);
        self.is_broken = false;
        self.early = early;
        self.let_early_in(answers);
    }

    fn die(&mut self, who: usize, answers: &mut Answers) {
        let waits = self.line.0.iter().any(|waits| waits.client == who);
        self.line.leave(who);
        self.early.leave(who);
        // Once, whatever the client had.
        if self.unregister(who, true) || self.acting == Some(who) || waits {
            self.break_up(answers);
        }
    }

    fn pass_time(&mut self, now: u64, answers: &mut Answers) {
        while let Some((_, late)) =
            self.line.next_late(now).into_iter().chain(self.early.next_late(now)).min()
        {
            answers.insert(late, Err(Fault::TimedOut));
            if self.early.remove(late).is_none() {
                self.line.remove(late);
                self.break_up(answers);
            }
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        let answer = match *act {
            Act::Wait(..) => {
                self.arrive(act, (call, now), &mut answers);
                return answers;
            }
            Act::EndRound(who) => self.end_action(who, &mut answers),
            Act::Register(who) => self.register(who),
            Act::Unregister(who) if self.unregister(who, false) => DONE,
            Act::Unregister(_) => Err(Fault::NotOwned),
            Act::Abort(_) => {
                self.break_up(&mut answers);
                DONE
            }
            Act::Reset(_) => {
                self.reset(&mut answers);
                DONE
            }
            Act::Detach(who) => {
                self.unregister(who, true);
                return answers;
            }
            Act::Die(who) => {
                self.die(who, &mut answers);
                return answers;
            }
            Act::Pass(_) => {
                self.pass_time(now, &mut answers);
                return answers;
            }
        };
        answers.insert(call, answer);
        answers
    }
}

proptest! {
    #[test]
    fn a_barrier_behaves_like_its_model(parties in 1_usize..4, acts in proptest::collection::vec(act(), 1..80)) {
        let mut three = Three::new(Spec::Barrier(parties as u64));
        let mut model = Model { parties, ..Model::default() };
        for act in acts {
            let call = three.next_call();
            match act {
                Act::Wait(who, wait, acts) => three.send(who, wait, Op::Barrier(BarrierOp::Wait { acts })),
                Act::EndRound(who) => three.send(who, Wait::No, end_round(model.round)),
                Act::Register(who) => three.send(who, Wait::No, REGISTER),
                Act::Unregister(who) => three.send(who, Wait::No, UNREGISTER),
                Act::Abort(who) => three.send(who, Wait::No, ABORT),
                Act::Reset(who) => three.send(who, Wait::No, RESET),
                Act::Detach(who) => three.detach_and_attach(who),
                Act::Die(who) => three.replace(who),
                Act::Pass(nanos) => three.world.pass(nanos),
            }
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            let waiters = model.line.0.len() + model.early.0.len();
            prop_assert_eq!(three.world.state.info().waiters, waiters as u64);
            let (client, object) = (three.clients[0], three.object);
            prop_assert_eq!(three.world.ask(client, object, IS_BROKEN), Ok(Reply::Bool(model.is_broken)));
        }
        three.end();
    }
}
