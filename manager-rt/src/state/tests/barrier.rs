//! Tests of barriers with the virtual clock.

mod model;

use super::*;
use crate::limits::PARTIES_MAX;
use crate::proto::BarrierOp;

const WAIT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Wait { acts: false });
const ACT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Wait { acts: true });
const REGISTER: Op<Raw<'static>> = Op::Barrier(BarrierOp::Register);
const UNREGISTER: Op<Raw<'static>> = Op::Barrier(BarrierOp::Unregister);
const RESET: Op<Raw<'static>> = Op::Barrier(BarrierOp::Reset);
const ABORT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Abort);
const IS_BROKEN: Op<Raw<'static>> = Op::Barrier(BarrierOp::IsBroken);
const BROKEN: Option<Answer<Payload>> = Some(Err(Fault::Broken));

fn passed(index: u64) -> Option<Answer<Payload>> {
    Some(Ok(Reply::Count(index)))
}

fn end_round(round: u64) -> Op<Raw<'static>> {
    Op::Barrier(BarrierOp::EndRound { round })
}

fn wait_for_all(world: &mut World, client: ClientId, barrier: ObjectId) -> u64 {
    world.send(client, barrier, Wait::Forever, WAIT)
}

#[test]
fn all_parties_pass_in_the_order_of_arrival_round_after_round() {
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
fn one_set_of_clients_after_another_meets() {
    let mut world = World::new();
    let keeper = world.client();
    let barrier = world.open(keeper, "meeting", Spec::Barrier(2));
    for _ in 0..3 {
        let set = [world.client(), world.client()];
        let calls = set.map(|client| {
            world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![barrier]))).unwrap();
            wait_for_all(&mut world, client, barrier)
        });
        assert_eq!(calls.map(|call| world.answer(call)), [passed(0), passed(1)]);
        set.iter().for_each(|client| world.leave(*client));
        assert_eq!(world.ask(keeper, barrier, IS_BROKEN), Ok(Reply::Bool(false)));
    }
    world.remove(keeper, "meeting");
    world.end(&[keeper]);
}

#[test]
fn the_death_of_a_party_breaks_it_if_the_round_needs_it() {
    for (waits, registers) in [(true, false), (false, true), (true, true), (false, false)] {
        let mut world = World::new();
        let clients = [world.client(), world.client(), world.client()];
        let [one, two, three] = clients;
        let barrier = world.create(three, Spec::Barrier(3));
        let calls = [one, two, three].map(|client| wait_for_all(&mut world, client, barrier));
        assert_eq!(calls.map(|call| world.answer(call)), [passed(0), passed(1), passed(2)]);
        let waiting = wait_for_all(&mut world, one, barrier);
        if registers {
            assert_eq!(world.ask(two, barrier, REGISTER), DONE);
        }
        if waits {
            wait_for_all(&mut world, two, barrier);
        }
        world.leave(two);
        let is_needed = waits || registers;
        assert_eq!(world.answer(waiting), if is_needed { BROKEN } else { None });
        assert_eq!(world.ask(one, barrier, IS_BROKEN), Ok(Reply::Bool(is_needed)));
        assert_eq!(world.ask(one, barrier, RESET), DONE);
        let calls = [one, three, three].map(|client| wait_for_all(&mut world, client, barrier));
        assert_eq!(
            calls.map(|call| world.answer(call)),
            [passed(0), passed(1), passed(2)],
            "its place is free"
        );
        world.end(&[one, three]);
    }
}

#[test]
fn a_registered_place_belongs_to_its_client_until_it_is_given_back() {
    let mut world = World::new();
    let clients = [world.client(), world.client()];
    let [one, two] = clients;
    let barrier = world.create(one, Spec::Barrier(2));
    world.ask(two, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![barrier]))).unwrap();
    let full = Err(Fault::TooMany { limit: 2 });
    assert_eq!(world.ask(one, barrier, UNREGISTER), Err(Fault::NotOwned));
    assert_eq!([REGISTER, REGISTER].map(|op| world.ask(one, barrier, op)), [DONE, DONE]);
    for op in [REGISTER, WAIT] {
        assert_eq!(world.ask(two, barrier, op), full);
    }
    let first = wait_for_all(&mut world, one, barrier);
    // Taken back while a call waits there, so the place stays taken until the round ends.
    assert_eq!([UNREGISTER, UNREGISTER].map(|op| world.ask(one, barrier, op)), [DONE, DONE]);
    assert_eq!(world.ask(two, barrier, REGISTER), DONE);
    assert_eq!(world.ask(two, barrier, REGISTER), full);
    let second = wait_for_all(&mut world, two, barrier);
    assert_eq!([first, second].map(|call| world.answer(call)), [passed(0), passed(1)]);
    assert_eq!(world.ask(one, barrier, REGISTER), DONE, "the round is over");
    let detach = ManagerOp::Detach { references: vec![(barrier, 1)], lingers: false };
    world.ask(two, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    assert_eq!(world.ask(one, barrier, REGISTER), DONE, "the client will not come back");
    assert_eq!(world.ask(one, barrier, ABORT), DONE);
    assert_eq!(world.ask(one, barrier, REGISTER), Err(Fault::Broken));
    world.end(&clients);
}

/// Makes a barrier of two. One party waits, and the other one runs the action in the first round.
fn acting(world: &mut World) -> ([ClientId; 3], ObjectId, u64) {
    let clients = [world.client(), world.client(), world.client()];
    let barrier = world.create(clients[2], Spec::Barrier(2));
    let waiting = wait_for_all(world, clients[0], barrier);
    let acts = world.send(clients[1], barrier, Wait::Forever, ACT);
    assert_eq!(world.answer(acts), Some(Ok(Reply::Acts { index: 1, round: 0 })));
    assert_eq!(world.answer(waiting), None);
    (clients, barrier, waiting)
}

#[test]
fn no_party_goes_on_before_the_action_has_run() {
    let mut world = World::new();
    let ([one, two, three], barrier, waiting) = acting(&mut world);
    assert_eq!(
        world.ask(one, barrier, end_round(0)),
        Err(Fault::Broken),
        "this client does not run the action"
    );
    assert_eq!(world.ask(two, barrier, end_round(1)), Err(Fault::Broken), "this is not the current round");
    let late = world.send(three, barrier, Wait::For(5), WAIT);
    world.pass(5);
    assert_eq!(world.answer(late), Some(Err(Fault::TimedOut)));
    assert_eq!(world.ask(three, barrier, WAIT), Err(Fault::TimedOut));
    assert_eq!(world.ask(three, barrier, IS_BROKEN), Ok(Reply::Bool(false)), "they were not parties yet");
    let early = [three; 3].map(|client| world.send(client, barrier, Wait::Forever, ACT));
    assert_eq!(world.ask(two, barrier, end_round(0)), DONE);
    assert_eq!(world.answer(waiting), passed(0));
    let acts = Some(Ok(Reply::Acts { index: 1, round: 1 }));
    assert_eq!(early.map(|call| world.answer(call)), [None, acts, None], "two make the next round");
    assert_eq!(world.ask(three, barrier, end_round(1)), DONE);
    assert_eq!(world.answer(early[0]), passed(0));
    let last = wait_for_all(&mut world, one, barrier);
    assert_eq!([early[2], last].map(|call| world.answer(call)), [passed(0), passed(1)]);
    world.end(&[one, two, three]);
}

#[test]
fn an_action_that_fails_breaks_it() {
    for (n, op) in [None, Some(ABORT), Some(RESET)].into_iter().enumerate() {
        let mut world = World::new();
        let ([one, two, three], barrier, waiting) = acting(&mut world);
        let early = wait_for_all(&mut world, three, barrier);
        match op {
            None => world.leave(two),
            Some(ref op) => assert_eq!(world.ask(two, barrier, op.clone()), DONE),
        }
        assert_eq!(world.answer(waiting), BROKEN);
        let is_reset = n == 2;
        assert_eq!(
            world.answer(early),
            if is_reset { None } else { BROKEN },
            "the call belongs to the next round"
        );
        assert_eq!(world.ask(three, barrier, IS_BROKEN), Ok(Reply::Bool(!is_reset)));
        if op.is_some() {
            assert_eq!(world.ask(two, barrier, end_round(0)), Err(Fault::Broken));
            world.end(&[one, two, three]);
        } else {
            world.end(&[one, three]);
        }
    }
    let mut world = World::new();
    let ([one, two, three], barrier, _) = acting(&mut world);
    world.leave(one);
    assert_eq!(world.ask(two, barrier, end_round(0)), Err(Fault::Broken), "the waiting party is dead");
    world.end(&[two, three]);
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
    world.control(one, Control::Cancel { call: gives_up });
    assert_eq!((world.answer(gives_up), world.answer(other)), (Some(Err(Fault::Cancelled)), BROKEN));
    assert_eq!(world.ask(one, barrier, RESET), DONE);
    let other = wait_for_all(&mut world, two, barrier);
    assert_eq!(
        world.ask(one, barrier, WAIT),
        Err(Fault::TimedOut),
        "a party that does not wait breaks it too"
    );
    assert_eq!(world.answer(other), BROKEN);
    assert_eq!(world.ask(one, barrier, RESET), DONE);
    let detach = ManagerOp::Detach { references: vec![(barrier, 1)], lingers: false };
    world.ask(one, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    let waiting = wait_for_all(&mut world, two, barrier);
    world.leave(one);
    assert_eq!(world.answer(waiting), None, "the client detached");
    assert_eq!(world.ask(three, barrier, ABORT), DONE);
    assert_eq!(world.answer(waiting), BROKEN);
    assert_eq!(world.ask(three, barrier, RESET), DONE);
    let waiting = wait_for_all(&mut world, two, barrier);
    world.remove(three, "meeting");
    assert_eq!(world.answer(waiting), Some(Err(Fault::UnknownObject)));
    world.end(&clients);
}

#[test]
fn a_barrier_has_no_more_parties_than_it_was_made_for() {
    let mut world = World::new();
    let clients = [world.client(), world.client()];
    for parties in [0, PARTIES_MAX + 1] {
        let op = Op::Manager(ManagerOp::Create { spec: Spec::Barrier(parties), print: PRINT });
        let fault = Fault::OutOfRange { least: 1, most: PARTIES_MAX };
        assert_eq!(world.ask(clients[0], ObjectId::MANAGER, op), Err(fault));
    }
    let widest = world.create(clients[0], Spec::Barrier(PARTIES_MAX));
    let waiting = [(); 2].map(|()| wait_for_all(&mut world, clients[0], widest));
    assert_eq!(waiting.map(|call| world.answer(call)), [None, None]);
    let barrier = world.create(clients[0], Spec::Barrier(1));
    assert_eq!(world.ask(clients[0], barrier, REGISTER), DONE);
    assert_eq!(world.ask(clients[0], barrier, WAIT), Ok(Reply::Count(0)));
    assert_eq!(world.ask(clients[1], barrier, WAIT), Err(Fault::TooMany { limit: 1 }));
    assert_eq!(
        world.transact(clients[0], vec![Step { object: barrier, op: WAIT }]),
        Err(Fault::NotInTransaction)
    );
    world.end(&clients);
}

#[test]
fn a_named_place_is_given_back_only_by_its_connection() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let barrier = world.create(one, Spec::Barrier(2));
    let [first, second] =
        [one, two].map(|client| match world.ask(client, barrier, Op::Barrier(BarrierOp::Enrol)) {
            Ok(Reply::Granted { token, owner_died: false, timed_out: false }) => token,
            other => panic!("{other:?}"),
        });
    let withdraw = |token| Op::Barrier(BarrierOp::Withdraw { token });
    assert_eq!(world.ask(two, barrier, withdraw(first)), Err(Fault::NotOwned));
    assert_eq!(world.ask(one, barrier, REGISTER), Err(Fault::TooMany { limit: 2 }));
    assert_eq!(world.ask(two, barrier, withdraw(second)), DONE);
    assert_eq!(world.ask(two, barrier, withdraw(second)), Err(Fault::NotOwned), "it has no other one");
    assert_eq!(world.ask(one, barrier, REGISTER), DONE);
    world.leave(two);
    assert_eq!(world.ask(one, barrier, IS_BROKEN), Ok(Reply::Bool(false)));
    world.end(&[one]);
}
