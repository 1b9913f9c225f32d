//! Compares random calls of three clients with a queue of the standard library.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::state::tests::model::{Answers, ModelLine, Three, wait, who};

#[derive(Debug, Clone)]
enum Act {
    Put(usize, Wait),
    PutMany(usize, Wait, u64),
    Get(usize, Wait),
    GetMany(usize, Wait, u64),
    /// Takes this many, adds this many, and fails.
    Fail(usize, u64),
    Close(usize),
    /// The client dies without having read this many of its newest answers with items.
    Die(usize, usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (who(), wait()).prop_map(|(who, wait)| Act::Put(who, wait)),
        15 => (who(), wait(), 0_u64..5).prop_map(|(who, wait, count)| Act::PutMany(who, wait, count)),
        30 => (who(), wait()).prop_map(|(who, wait)| Act::Get(who, wait)),
        15 => (who(), wait(), 1_u64..5).prop_map(|(who, wait, max)| Act::GetMany(who, wait, max)),
        5 => (who(), 0_u64..4).prop_map(|(who, count)| Act::Fail(who, count)),
        1 => who().prop_map(Act::Close),
        10 => (who(), 0_usize..4).prop_map(|(who, unread)| Act::Die(who, unread)),
        10 => (0_u64..10).prop_map(Act::Pass),
    ]
}

#[derive(Debug, Default)]
struct Model {
    capacity: usize,
    is_closed: bool,
    items: VecDeque<u64>,
    putters: ModelLine<Vec<u64>>,
    getters: ModelLine<Option<u64>>,
    /// The items that each client received, oldest first, with the call.
    given: [Vec<(u64, Vec<u64>)>; 3],
    newest: u64,
}

impl Model {
    fn fits(&self, count: usize) -> bool {
        self.capacity == 0 || self.items.len() + count <= self.capacity
    }

    fn make(&mut self, count: u64) -> Vec<u64> {
        self.newest += count;
        (self.newest - count..self.newest).collect()
    }

    fn put(&mut self, who: (usize, u64), time: (u64, Wait), count: u64, answers: &mut Answers) {
        let items = self.make(count);
        if self.is_closed {
            answers.insert(who.1, Err(Fault::Closed));
        } else if self.capacity > 0 && items.len() > self.capacity {
            let fault = Fault::OutOfRange { least: 0, most: self.capacity as u64 };
            answers.insert(who.1, Err(fault));
        } else if items.is_empty() || self.putters.0.is_empty() && self.fits(items.len()) {
            self.items.extend(items);
            answers.insert(who.1, DONE);
        } else {
            self.putters.join(who, time, items, Fault::Full, answers);
        }
    }

    fn get(&mut self, who: (usize, u64), time: (u64, Wait), max: Option<u64>, answers: &mut Answers) {
        if !self.items.is_empty() && self.getters.0.is_empty() {
            self.give(who, max, answers);
        } else if self.is_closed {
            answers.insert(who.1, Err(Fault::Closed));
        } else {
            self.getters.join(who, time, max, Fault::Empty, answers);
        }
    }

    fn give(&mut self, (client, call): (usize, u64), max: Option<u64>, answers: &mut Answers) {
        let count = self.items.len().min(usize::try_from(max.unwrap_or(1)).unwrap());
        let items: Vec<u64> = self.items.drain(..count).collect();
        let mut values: Vec<_> = items.iter().map(|item| payload(*item)).collect();
        self.given[client].push((call, items));
        let reply = match max {
            None => Reply::Value(values.remove(0)),
            Some(_) => Reply::Values { values, version: 0 },
        };
        answers.insert(call, Ok(reply));
    }

    fn serve(&mut self, answers: &mut Answers) {
        loop {
            if self.putters.0.first().is_some_and(|waits| self.fits(waits.want.len())) {
                let waits = self.putters.pop().unwrap();
                self.items.extend(waits.want);
                answers.insert(waits.call, DONE);
            } else if !self.items.is_empty()
                && let Some(waits) = self.getters.pop()
            {
                self.give((waits.client, waits.call), waits.want, answers);
            } else {
                return;
            }
        }
    }

    fn close(&mut self, answers: &mut Answers) {
        self.is_closed = true;
        answers.extend(self.putters.0.drain(..).map(|waits| (waits.call, Err(Fault::Closed))));
        answers.extend(self.getters.0.drain(..).map(|waits| (waits.call, Err(Fault::Closed))));
    }

    fn die(&mut self, who: usize, unread: usize) {
        self.putters.leave(who);
        self.getters.leave(who);
        let given = std::mem::take(&mut self.given[who]);
        for (_, items) in given.into_iter().rev().take(unread) {
            items.into_iter().rev().for_each(|item| self.items.push_front(item));
        }
    }

    fn expire(&mut self, now: u64, answers: &mut Answers) {
        loop {
            let late = [self.putters.next_late(now), self.getters.next_late(now)];
            let Some((_, call)) = late.into_iter().flatten().min() else { return };
            self.putters.remove(call);
            self.getters.remove(call);
            answers.insert(call, Err(Fault::TimedOut));
            self.serve(answers);
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        match *act {
            Act::Put(who, wait) => self.put((who, call), (now, wait), 1, &mut answers),
            Act::PutMany(who, wait, count) => self.put((who, call), (now, wait), count, &mut answers),
            Act::Get(who, wait) => self.get((who, call), (now, wait), None, &mut answers),
            Act::GetMany(who, wait, max) => self.get((who, call), (now, wait), Some(max), &mut answers),
            Act::Fail(..) => {}
            Act::Close(_) => {
                self.close(&mut answers);
                answers.insert(call, DONE);
            }
            Act::Die(who, unread) => self.die(who, unread),
            Act::Pass(_) => self.expire(now, &mut answers),
        }
        self.serve(&mut answers);
        answers
    }
}

fn payload(item: u64) -> Payload {
    Payload::copy(Raw::plain(&item.to_le_bytes()))
}

/// Makes the operation that puts these items.
fn put_op(items: &[[u8; 8]]) -> Op<Raw<'_>> {
    Op::Queue(QueueOp::PutMany(items.iter().map(|item| Raw::plain(item)).collect()))
}

fn act_on(three: &mut Three, act: &Act, model: &Model) {
    let encode = |count: u64| -> Vec<_> { (0..count).map(|n| (model.newest + n).to_le_bytes()).collect() };
    match *act {
        Act::Put(who, wait) => three.send(who, wait, put(&encode(1)[0])),
        Act::PutMany(who, wait, count) => three.send(who, wait, put_op(&encode(count))),
        Act::Get(who, wait) => three.send(who, wait, GET),
        Act::GetMany(who, wait, max) => three.send(who, wait, get_many(max)),
        Act::Fail(who, count) => {
            let object = three.object;
            let mut steps =
                vec![Step { object, op: put(b"never") }, Step { object, op: get_many(count + 1) }];
            steps.push(Step { object, op: put(b"never") });
            steps.push(Step { object, op: GET });
            steps.push(Step { object, op: Op::Queue(QueueOp::Close) });
            three.world.transact(three.clients[who], steps).unwrap_err();
        }
        Act::Close(who) => three.send(who, Wait::No, CLOSE),
        Act::Die(who, unread) => {
            // The number of the oldest unread answer with items.
            let given = &model.given[who];
            let index = given.len().saturating_sub(unread);
            let client = three.clients[who];
            let number = given.get(index).map_or(u64::MAX, |(call, _)| three.world.number_of(client, *call));
            three.replace_unread(who, number);
        }
        Act::Pass(nanos) => three.world.pass(nanos),
    }
}

proptest! {
    #[test]
    fn a_queue_behaves_like_its_model(capacity in 0_usize..4, acts in proptest::collection::vec(act(), 1..100)) {
        let mut three = Three::new(Spec::Queue(capacity as u64));
        let mut model = Model { capacity, ..Model::default() };
        for act in acts {
            let call = three.next_call();
            act_on(&mut three, &act, &model);
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            let info = three.world.state.info();
            prop_assert_eq!(info.waiters, (model.putters.0.len() + model.getters.0.len()) as u64);
            three.world.audit();
            let (client, object) = (three.clients[0], three.object);
            prop_assert_eq!(three.world.ask(client, object, LEN), Ok(Reply::Count(model.items.len() as u64)));
        }
        three.end();
    }
}
