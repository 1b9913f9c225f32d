//! Compares random calls of three clients with tasks in containers of the standard library.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::state::tests::model::{Answers, ModelLine, Three, wait, who};

const MAX_DELIVERIES: u32 = 3;

#[derive(Debug, Clone)]
enum Act {
    Put(usize, Wait, u64),
    Get(usize, Wait),
    /// Ends one of the client's leases: the task is done, or requeued.
    End(usize, usize, bool),
    Join(usize, Wait),
    /// Ends one of the client's leases and does something else, in a transaction that fails.
    Fail(usize, usize, bool),
    TakeFailed(usize),
    Close(usize),
    Die(usize),
    /// Ends a client that may not have read any answer.
    DieInDoubt(usize),
    /// Gives up the call that got one of the client's leases.
    GiveUp(usize, usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (who(), wait(), 1_u64..4).prop_map(|(who, wait, count)| Act::Put(who, wait, count)),
        40 => (who(), wait()).prop_map(|(who, wait)| Act::Get(who, wait)),
        40 => (who(), 0_usize..4, any::<bool>()).prop_map(|(who, nth, is_done)| Act::End(who, nth, is_done)),
        10 => (who(), wait()).prop_map(|(who, wait)| Act::Join(who, wait)),
        10 => (who(), 0_usize..4, any::<bool>()).prop_map(|(who, nth, is_done)| Act::Fail(who, nth, is_done)),
        2 => who().prop_map(Act::TakeFailed),
        1 => who().prop_map(Act::Close),
        10 => who().prop_map(Act::Die),
        5 => who().prop_map(Act::DieInDoubt),
        10 => (who(), 0_usize..4).prop_map(|(who, nth)| Act::GiveUp(who, nth)),
        10 => (0_u64..10).prop_map(Act::Pass),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Task {
    number: u64,
    deliveries: u32,
}

#[derive(Debug, Default)]
struct Model {
    capacity: usize,
    is_closed: bool,
    tasks: VecDeque<Task>,
    /// By client and order of delivery. The answer names the lease.
    leases: BTreeMap<(usize, u64), Task>,
    /// The calls that got the leases.
    calls: BTreeMap<u64, u64>,
    failed: Vec<u64>,
    putters: ModelLine<Vec<Task>>,
    getters: ModelLine<()>,
    joiners: ModelLine<()>,
    newest_lease: u64,
    newest_task: u64,
}

impl Model {
    fn fits(&self, count: usize) -> bool {
        self.capacity == 0 || self.tasks.len() + count <= self.capacity
    }

    fn unfinished(&self) -> usize {
        self.tasks.len() + self.leases.len()
    }

    fn put(&mut self, who: (usize, u64), time: (u64, Wait), count: u64, answers: &mut Answers) {
        let numbers = self.newest_task..self.newest_task + count;
        self.newest_task += count;
        let tasks: Vec<_> = numbers.map(|number| Task { number, deliveries: 0 }).collect();
        if self.is_closed {
            answers.insert(who.1, Err(Fault::Closed));
        } else if self.capacity > 0 && tasks.len() > self.capacity {
            answers.insert(who.1, Err(Fault::OutOfRange { least: 0, most: self.capacity as u64 }));
        } else if self.putters.0.is_empty() && self.fits(tasks.len()) {
            self.tasks.extend(tasks);
            answers.insert(who.1, DONE);
        } else {
            self.putters.join(who, time, tasks, Fault::Full, answers);
        }
    }

    fn get(&mut self, who: (usize, u64), time: (u64, Wait), answers: &mut Answers) {
        if self.getters.0.is_empty() && !self.tasks.is_empty() {
            self.lease(who, answers);
        } else if self.is_closed && self.unfinished() == 0 {
            answers.insert(who.1, Err(Fault::Closed));
        } else {
            self.getters.join(who, time, (), Fault::Empty, answers);
        }
    }

    fn lease(&mut self, (client, call): (usize, u64), answers: &mut Answers) {
        let mut task = self.tasks.pop_front().unwrap();
        task.deliveries += 1;
        self.newest_lease += 1;
        self.leases.insert((client, self.newest_lease), task);
        self.calls.insert(self.newest_lease, call);
        answers.insert(call, leased(self.newest_lease, task.deliveries, &task.number.to_le_bytes()));
    }

    /// Returns the lease that an act refers to, or one that never existed.
    fn nth_lease(&self, who: usize, nth: usize) -> u64 {
        let own = self.leases.keys().filter(|key| key.0 == who);
        own.map(|key| key.1).nth(nth).unwrap_or(u64::MAX)
    }

    fn end_lease(&mut self, who: usize, lease: u64, is_done: bool) -> Answer<Payload> {
        let task = self.leases.remove(&(who, lease)).ok_or(Fault::NotOwned)?;
        match task.deliveries {
            _ if is_done => {}
            MAX_DELIVERIES => self.failed.push(task.number),
            _ => self.tasks.push_front(task),
        }
        DONE
    }

    /// Ends a lease that its client has not seen.
    fn take_back(&mut self, who: usize, lease: u64) {
        if let Some(mut task) = self.leases.remove(&(who, lease)) {
            task.deliveries -= 1;
            self.tasks.push_front(task);
        }
    }

    fn serve(&mut self, answers: &mut Answers) {
        loop {
            if self.putters.0.first().is_some_and(|waits| self.fits(waits.want.len())) {
                let waits = self.putters.pop().unwrap();
                self.tasks.extend(waits.want);
                answers.insert(waits.call, DONE);
            } else if !self.tasks.is_empty()
                && let Some(waits) = self.getters.pop()
            {
                self.lease((waits.client, waits.call), answers);
            } else {
                break;
            }
        }
        if self.unfinished() == 0 {
            answers.extend(self.joiners.0.drain(..).map(|waits| (waits.call, DONE)));
            if self.is_closed {
                answers.extend(self.getters.0.drain(..).map(|waits| (waits.call, Err(Fault::Closed))));
            }
        }
    }

    fn die(&mut self, who: usize, is_in_doubt: bool) {
        self.putters.leave(who);
        self.getters.leave(who);
        self.joiners.leave(who);
        let leases: Vec<u64> = self.leases.keys().filter(|key| key.0 == who).map(|key| key.1).collect();
        for lease in leases.into_iter().rev() {
            if is_in_doubt {
                self.take_back(who, lease);
            } else {
                self.end_lease(who, lease, false).unwrap();
            }
        }
    }

    fn expire(&mut self, now: u64, answers: &mut Answers) {
        loop {
            let late =
                [self.putters.next_late(now), self.getters.next_late(now), self.joiners.next_late(now)];
            let Some((_, call)) = late.into_iter().flatten().min() else { return };
            self.putters.remove(call);
            self.getters.remove(call);
            self.joiners.remove(call);
            answers.insert(call, Err(Fault::TimedOut));
            self.serve(answers);
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        match *act {
            Act::Put(who, wait, count) => self.put((who, call), (now, wait), count, &mut answers),
            Act::Get(who, wait) => self.get((who, call), (now, wait), &mut answers),
            Act::End(who, nth, is_done) => {
                let answer = self.end_lease(who, self.nth_lease(who, nth), is_done);
                answers.insert(call, answer);
            }
            Act::Join(who, wait) => {
                self.joiners.join((who, call), (now, wait), (), Fault::TimedOut, &mut answers);
                if self.unfinished() == 0 {
                    answers.insert(call, DONE);
                }
            }
            Act::Fail(..) => {}
            Act::TakeFailed(_) => {
                let taken =
                    self.failed.drain(..).map(|number| Payload::copy(Raw::plain(&number.to_le_bytes())));
                answers.insert(call, Ok(Reply::Values { values: taken.collect(), version: 0 }));
            }
            Act::Close(_) => {
                self.is_closed = true;
                answers.extend(self.putters.0.drain(..).map(|waits| (waits.call, Err(Fault::Closed))));
                answers.insert(call, DONE);
            }
            Act::Die(who) => self.die(who, false),
            Act::DieInDoubt(who) => self.die(who, true),
            Act::GiveUp(who, nth) => self.take_back(who, self.nth_lease(who, nth)),
            Act::Pass(_) => self.expire(now, &mut answers),
        }
        self.serve(&mut answers);
        answers
    }
}

fn act_on(three: &mut Three, act: &Act, model: &Model) {
    match *act {
        Act::Put(who, wait, count) => {
            let tasks: Vec<_> = (0..count).map(|n| (model.newest_task + n).to_le_bytes()).collect();
            let tasks: Vec<&[u8]> = tasks.iter().map(|task| &task[..]).collect();
            three.send(who, wait, if count == 1 { put(tasks[0]) } else { put_many(&tasks) });
        }
        Act::Get(who, wait) => three.send(who, wait, GET),
        Act::End(who, nth, is_done) => {
            let lease = model.nth_lease(who, nth);
            three.send(who, Wait::No, if is_done { done(lease) } else { requeue(lease) });
        }
        Act::Join(who, wait) => three.send(who, wait, JOIN),
        Act::Fail(who, nth, is_done) => {
            let lease = model.nth_lease(who, nth);
            let end = if is_done { done(lease) } else { requeue(lease) };
            let ops = [end, failed(0, true), put(b"never"), failed(0, true), CLOSE];
            let object = three.object;
            let steps = ops.into_iter().map(|op| Step { object, op }).collect();
            three.world.transact(three.clients[who], steps).unwrap_err();
        }
        Act::TakeFailed(who) => three.send(who, Wait::No, failed(0, true)),
        Act::Close(who) => three.send(who, Wait::No, CLOSE),
        Act::Die(who) => three.replace(who),
        Act::DieInDoubt(who) => three.replace_in_doubt(who),
        Act::GiveUp(who, nth) => {
            let call = model.calls.get(&model.nth_lease(who, nth)).copied();
            three.cancel(who, call.unwrap_or(u64::MAX));
        }
        Act::Pass(nanos) => three.world.pass(nanos),
    }
}

/// Removes the numbers of failed tasks, which other tests check.
fn without_numbers(mut answers: Answers) -> Answers {
    for answer in answers.values_mut() {
        if let Ok(Reply::Values { version, .. }) = answer {
            *version = 0;
        }
    }
    answers
}

proptest! {
    #[test]
    fn a_queue_of_tasks_behaves_like_its_model(
        capacity in 0_usize..4,
        acts in proptest::collection::vec(act(), 1..100),
    ) {
        let mut three = Three::new(spec(capacity as u64, MAX_DELIVERIES));
        let mut model = Model { capacity, ..Model::default() };
        for act in acts {
            let call = three.next_call();
            act_on(&mut three, &act, &model);
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(without_numbers(three.answers()), expected, "{:?}", act);
            let info = three.world.state.info();
            let waiting = model.putters.0.len() + model.getters.0.len() + model.joiners.0.len();
            prop_assert_eq!(info.waiters, waiting as u64);
            prop_assert_eq!(info.held, model.leases.len() as u64);
            three.world.audit();
            let (client, object) = (three.clients[0], three.object);
            let unfinished = three.world.ask(client, object, UNFINISHED);
            prop_assert_eq!(unfinished, Ok(Reply::Count(model.unfinished() as u64)));
        }
        three.end();
    }
}
