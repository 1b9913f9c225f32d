//! Tests of events with the virtual clock.

use proptest::prelude::*;

use super::model::{Answers, ModelLine, Three, wait, who};
use super::*;
use crate::limits::WAITING_CALLS_MAX;
use crate::proto::{EventOp, Number};

const WAIT: Op<Raw<'static>> = Op::Event(EventOp::Wait);
const SET: Op<Raw<'static>> = Op::Event(EventOp::Set);
const CLEAR: Op<Raw<'static>> = Op::Event(EventOp::Clear);
const IS_SET: Op<Raw<'static>> = Op::Event(EventOp::IsSet);

#[test]
fn all_waiters_go_on_and_dead_ones_are_ignored() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [one, two, three] = clients;
    let event = world.create(three, Spec::Event);
    assert_eq!(world.ask(one, event, WAIT), Err(Fault::TimedOut));
    let waits = clients.map(|client| world.send(client, event, Wait::Forever, WAIT));
    world.leave(two);
    assert_eq!(world.ask(one, event, SET), DONE);
    assert_eq!(world.ask(one, event, CLEAR), DONE);
    assert_eq!(waits.map(|call| world.answer(call)), [Some(DONE), None, Some(DONE)]);
    assert_eq!(world.ask(one, event, IS_SET), Ok(Reply::Bool(false)));
    world.end(&clients);
}

#[test]
fn waits_end_by_time_by_cancellation_and_with_the_event() {
    let mut world = World::new();
    let client = world.client();
    let event = world.open(client, "flag", Spec::Event);
    let late = world.send(client, event, Wait::For(5), WAIT);
    let cancelled = world.send(client, event, Wait::Forever, WAIT);
    let last = world.send(client, event, Wait::Forever, WAIT);
    world.pass(5);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    world.control(client, Control::Cancel { call: cancelled });
    assert_eq!(world.answer(cancelled), Some(Err(Fault::Cancelled)));
    world.remove(client, "flag");
    assert_eq!(world.answer(last), Some(Err(Fault::UnknownObject)));
    world.end(&[client]);
}

#[test]
fn a_client_has_a_limited_number_of_waiting_calls() {
    let mut world = World::new();
    let client = world.client();
    let event = world.create(client, Spec::Event);
    for _ in 0..WAITING_CALLS_MAX {
        world.send(client, event, Wait::Forever, WAIT);
    }
    let limit = u64::try_from(WAITING_CALLS_MAX).unwrap();
    let one_more = world.send(client, event, Wait::Forever, WAIT);
    assert_eq!(world.answer(one_more), Some(Err(Fault::TooMany { limit })));
    assert_eq!(world.state.info().waiters, limit);
    world.end(&[client]);
}

#[test]
fn a_failed_transaction_wakes_no_waiter() {
    let mut world = World::new();
    let client = world.client();
    let event = world.create(client, Spec::Event);
    let value = world.create(client, Spec::Value(Raw::plain(b"\xff")));
    let waiting = world.send(client, event, Wait::Forever, WAIT);
    let before = world.counts();
    let set = || Step { object: event, op: SET };
    let clear = || Step { object: event, op: CLEAR };
    let wrong = Step { object: value, op: Op::Value(ValueOp::FetchAdd(Number::U64(1))) };
    assert_eq!(world.transact(client, vec![clear(), set(), set(), wrong]), Err(Fault::NoNumber));
    assert_eq!(world.ask(client, event, IS_SET), Ok(Reply::Bool(false)));
    let done = || Reply::Transaction(vec![Reply::Done, Reply::Done]);
    assert_eq!(world.transact(client, vec![set(), clear()]), Ok(done()));
    assert_eq!(world.answer(waiting), None, "only the final state of a transaction counts");
    assert_eq!(world.counts(), before);
    assert_eq!(world.transact(client, vec![clear(), set()]), Ok(done()));
    assert_eq!(world.answer(waiting), Some(DONE));
    world.end(&[client]);
}

#[derive(Debug, Clone)]
enum Act {
    Wait(usize, Wait),
    Set(usize),
    Clear(usize),
    Die(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (who(), wait()).prop_map(|(who, wait)| Act::Wait(who, wait)),
        1 => who().prop_map(Act::Set),
        2 => who().prop_map(Act::Clear),
        1 => who().prop_map(Act::Die),
        2 => (0_u64..10).prop_map(Act::Pass),
    ]
}

fn step(is_set: &mut bool, line: &mut ModelLine<()>, act: &Act, (call, now): (u64, u64)) -> Answers {
    let mut answers = Answers::new();
    match *act {
        Act::Wait(who, wait) if !*is_set => {
            line.join((who, call), (now, wait), (), Fault::TimedOut, &mut answers);
        }
        Act::Wait(..) => {
            answers.insert(call, DONE);
        }
        Act::Set(_) => {
            *is_set = true;
            answers.insert(call, DONE);
            answers.extend(line.0.drain(..).map(|waits| (waits.call, DONE)));
        }
        Act::Clear(_) => {
            *is_set = false;
            answers.insert(call, DONE);
        }
        Act::Die(who) => line.leave(who),
        Act::Pass(_) => {
            while let Some((_, late)) = line.next_late(now) {
                line.remove(late);
                answers.insert(late, Err(Fault::TimedOut));
            }
        }
    }
    answers
}

proptest! {
    #[test]
    fn an_event_behaves_like_its_model(acts in proptest::collection::vec(act(), 1..60)) {
        let mut three = Three::new(Spec::Event);
        let (mut is_set, mut line) = (false, ModelLine::default());
        for act in acts {
            let call = three.next_call();
            match act {
                Act::Wait(who, wait) => three.send(who, wait, WAIT),
                Act::Set(who) => three.send(who, Wait::No, SET),
                Act::Clear(who) => three.send(who, Wait::No, CLEAR),
                Act::Die(who) => three.replace(who),
                Act::Pass(nanos) => three.world.pass(nanos),
            }
            let expected = step(&mut is_set, &mut line, &act, (call, three.world.now));
            prop_assert_eq!(three.answers(), expected, "{:?}", act);
            prop_assert_eq!(three.world.state.info().waiters, line.0.len() as u64);
        }
        three.end();
    }
}
