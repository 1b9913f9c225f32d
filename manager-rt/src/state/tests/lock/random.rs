//! Compares random calls of three clients with a lock and a condition in containers of the standard library.
//!
//! Clients die, leases end, waits time out, and the clock also moves without an event that lets time pass. All waits
//! and steps are even, and all leases odd, so no two of them end at the same moment.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::ConditionOp;
use crate::state::tests::model::{Answers, ModelLine, Three, Waits, wait, who};

#[derive(Debug, Clone)]
enum Act {
    Acquire(usize, Wait, u64),
    Release(usize),
    Await(usize, Wait),
    Notify(usize, u64),
    Die(usize),
    /// Ends a client that has read no answer.
    DieUnread(usize),
    /// Gives up a call of a client: this many before the next one.
    GiveUp(usize, u64),
    /// The clock moves, and the next event comes later.
    Move(u64),
    Pass(u64),
}

fn lease() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 3 => (0_u64..15).prop_map(|half| 2 * half + 1)]
}

fn even_wait() -> impl Strategy<Value = Wait> {
    wait().prop_map(|wait| match wait {
        Wait::For(nanos) => Wait::For(2 * nanos),
        wait => wait,
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        30 => (who(), even_wait(), lease()).prop_map(|(who, wait, lease)| Act::Acquire(who, wait, lease)),
        25 => who().prop_map(Act::Release),
        25 => (who(), even_wait()).prop_map(|(who, wait)| Act::Await(who, wait)),
        15 => (who(), 0_u64..3).prop_map(|(who, count)| Act::Notify(who, count)),
        6 => who().prop_map(Act::Die),
        4 => who().prop_map(Act::DieUnread),
        8 => (who(), 1_u64..8).prop_map(|(who, back)| Act::GiveUp(who, back)),
        10 => (0_u64..10).prop_map(|half| Act::Move(2 * half)),
        15 => (0_u64..10).prop_map(|half| Act::Pass(2 * half)),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    client: usize,
    token: u64,
    lease: u64,
    /// When the lease ends.
    end: Option<u64>,
}

/// What a caller in the line for the lock gets.
#[derive(Debug, Clone, Copy)]
struct Wants {
    lease: u64,
    /// When the call arrived.
    since: u64,
    /// For a caller that waited for a notification: whether none came.
    timed_out: Option<bool>,
}

/// A grant whose answer was not read.
#[derive(Debug, Clone, Copy)]
struct Grant {
    client: usize,
    token: u64,
    owner_died: bool,
    was_notified: bool,
}

#[derive(Debug, Default)]
struct Model {
    holder: Option<Holder>,
    newest: u64,
    owner_died: bool,
    /// By call.
    unread: BTreeMap<u64, Grant>,
    line: ModelLine<Wants>,
    /// Waiters for a notification, the leases of their locks, and when they came.
    waiting: ModelLine<(u64, u64)>,
}

impl Model {
    fn grant(&mut self, (client, call): (usize, u64), now: u64, wants: Wants, answers: &mut Answers) {
        self.newest += 1;
        let end = (wants.lease > 0).then_some(now + wants.lease);
        self.holder = Some(Holder { client, token: self.newest, lease: wants.lease, end });
        let owner_died = std::mem::take(&mut self.owner_died);
        let timed_out = wants.timed_out == Some(true);
        let was_notified = wants.timed_out == Some(false);
        self.unread.insert(call, Grant { client, token: self.newest, owner_died, was_notified });
        let (token, waited) = (self.newest, now - wants.since);
        let granted = match wants.lease {
            0 => Reply::Granted { token, owner_died, timed_out },
            _ => Reply::GrantedLease { token, owner_died, timed_out, waited },
        };
        answers.insert(call, Ok(granted));
    }

    fn serve(&mut self, now: u64, answers: &mut Answers) {
        while self.holder.is_none()
            && let Some(next) = self.line.pop()
        {
            self.grant((next.client, next.call), now, next.want, answers);
        }
    }

    fn acquire(&mut self, who: (usize, u64), (now, wait): (u64, Wait), lease: u64, answers: &mut Answers) {
        let wants = Wants { lease, since: now, timed_out: None };
        match self.holder {
            Some(holder) if holder.client == who.0 => {
                let fault = if wait == Wait::No { Fault::WouldBlock } else { Fault::Deadlock };
                answers.insert(who.1, Err(fault));
            }
            None if self.line.0.is_empty() => self.grant(who, now, wants, answers),
            _ => self.line.join(who, (now, wait), wants, Fault::WouldBlock, answers),
        }
    }

    fn token_of(&self, client: usize) -> u64 {
        self.holder.filter(|holder| holder.client == client).map_or(0, |holder| holder.token)
    }

    fn release(&mut self, (client, call): (usize, u64), now: u64, answers: &mut Answers) {
        if self.token_of(client) == 0 {
            answers.insert(call, Err(Fault::NotOwned));
            return;
        }
        answers.insert(call, DONE);
        self.holder = None;
        self.serve(now, answers);
    }

    fn wait_for(&mut self, who: (usize, u64), (now, wait): (u64, Wait), answers: &mut Answers) {
        let Some(holder) = self.holder.filter(|holder| holder.client == who.0) else {
            answers.insert(who.1, Err(Fault::NotOwned));
            return;
        };
        let wait = if wait == Wait::No { Wait::For(0) } else { wait };
        self.waiting.join(who, (now, wait), (holder.lease, now), Fault::TimedOut, answers);
        self.holder = None;
        self.serve(now, answers);
    }

    fn line_up(&mut self, (client, call): (usize, u64), (lease, since): (u64, u64), timed_out: bool) {
        let wants = Wants { lease, since, timed_out: Some(timed_out) };
        self.line.join((client, call), (0, Wait::Forever), wants, Fault::WouldBlock, &mut Answers::new());
    }

    fn notify(&mut self, count: u64, now: u64, answers: &mut Answers) -> u64 {
        let mut woken = 0;
        while woken < count
            && let Some(next) = self.waiting.pop()
        {
            self.line_up((next.client, next.call), next.want, false);
            woken += 1;
        }
        self.serve(now, answers);
        woken
    }

    /// Notifications of callers that ended before they had the lock go to others.
    fn die(&mut self, client: usize, has_read: bool, now: u64, answers: &mut Answers) {
        self.waiting.leave(client);
        let unused = |waits: &&Waits<Wants>| waits.client == client && waits.want.timed_out == Some(false);
        let mut passed_on = self.line.0.iter().filter(unused).count();
        self.line.leave(client);
        if self.token_of(client) != 0 {
            (self.holder, self.owner_died) = (None, true);
        }
        let is_own = |grant: &&Grant| grant.client == client && grant.was_notified;
        let unseen = self.unread.values().filter(is_own).count();
        self.unread.retain(|_, grant| grant.client != client);
        passed_on += if has_read { 0 } else { unseen };
        self.notify(passed_on as u64, now, answers);
    }

    /// What a client gives up before it has read the answer goes to others.
    fn give_up(&mut self, client: usize, call: u64, now: u64, answers: &mut Answers) {
        let in_line = self.line.0.iter().any(|waits| (waits.client, waits.call) == (client, call));
        let waits = self.waiting.0.iter().any(|waits| (waits.client, waits.call) == (client, call));
        let mut was_notified = false;
        if in_line {
            was_notified = self.line.remove(call).is_some_and(|waits| waits.want.timed_out == Some(false));
            answers.insert(call, Err(Fault::Cancelled));
        } else if waits {
            self.waiting.remove(call);
            answers.insert(call, Err(Fault::Cancelled));
        } else if self.unread.get(&call).is_some_and(|grant| grant.client == client)
            && let Some(grant) = self.unread.remove(&call)
        {
            if self.token_of(client) == grant.token {
                self.holder = None;
                self.owner_died |= grant.owner_died;
            }
            was_notified = grant.was_notified;
        }
        self.notify(u64::from(was_notified), now, answers);
    }

    /// Ends all leases and waits whose time is over, in their order.
    fn pass(&mut self, now: u64, answers: &mut Answers) {
        loop {
            let lease = self.holder.and_then(|holder| holder.end).filter(|end| *end <= now);
            let lease = lease.map(|end| (end, 0));
            let (line, waiting) = (self.line.next_late(now), self.waiting.next_late(now));
            let Some((at, call)) = [lease, line, waiting].into_iter().flatten().min() else { return };
            if lease == Some((at, call)) {
                (self.holder, self.owner_died) = (None, true);
            } else if self.line.remove(call).is_some() {
                answers.insert(call, Err(Fault::TimedOut));
            } else if let Some(late) = self.waiting.remove(call) {
                self.line_up((late.client, late.call), late.want, true);
            }
            self.serve(now, answers);
        }
    }

    fn step(&mut self, act: &Act, call: u64, now: u64) -> Answers {
        let mut answers = Answers::new();
        match *act {
            Act::Acquire(who, wait, lease) => self.acquire((who, call), (now, wait), lease, &mut answers),
            Act::Release(who) => self.release((who, call), now, &mut answers),
            Act::Await(who, wait) => self.wait_for((who, call), (now, wait), &mut answers),
            Act::Notify(_, count) => {
                let woken = self.notify(count, now, &mut answers);
                answers.insert(call, Ok(Reply::Count(woken)));
            }
            Act::Die(who) => self.die(who, true, now, &mut answers),
            Act::DieUnread(who) => self.die(who, false, now, &mut answers),
            Act::GiveUp(who, back) => self.give_up(who, call.saturating_sub(back), now, &mut answers),
            Act::Move(_) => {}
            Act::Pass(_) => self.pass(now, &mut answers),
        }
        answers
    }
}

fn act_on(three: &mut Three, condition: ObjectId, act: &Act, model: &Model) {
    match *act {
        Act::Acquire(who, wait, lease) => three.send(who, wait, acquire(lease)),
        Act::Release(who) => {
            three.send(who, Wait::No, Op::Lock(LockOp::Release { token: model.token_of(who) }));
        }
        Act::Await(who, wait) => {
            let op = ConditionOp::Wait { lock: three.object, token: model.token_of(who) };
            three.world.send(three.clients[who], condition, wait, Op::Condition(op));
        }
        Act::Notify(who, count) => {
            let op = Op::Condition(ConditionOp::Notify(count));
            three.world.send(three.clients[who], condition, Wait::No, op);
        }
        Act::Die(who) => three.replace(who),
        Act::DieUnread(who) => three.replace_unread(who, 0),
        Act::GiveUp(who, back) => three.cancel(who, three.next_call().saturating_sub(back)),
        Act::Move(nanos) => three.world.now += nanos,
        Act::Pass(nanos) => three.world.pass(nanos),
    }
}

proptest! {
    #[test]
    fn a_lock_and_a_condition_behave_like_their_model(acts in proptest::collection::vec(act(), 1..120)) {
        let mut three = Three::new(Spec::Lock);
        let condition = three.world.create(three.clients[0], Spec::Condition);
        let attach = Op::Manager(ManagerOp::Attach(vec![condition]));
        three.world.ask(three.owner, ObjectId::MANAGER, attach).unwrap();
        let mut model = Model::default();
        for act in acts {
            let call = three.next_call();
            act_on(&mut three, condition, &act, &model);
            let expected = model.step(&act, call, three.world.now);
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            let info = three.world.state.info();
            prop_assert_eq!(info.waiters, (model.line.0.len() + model.waiting.0.len()) as u64);
            prop_assert_eq!(info.held, u64::from(model.holder.is_some()));
        }
        three.end();
    }
}
