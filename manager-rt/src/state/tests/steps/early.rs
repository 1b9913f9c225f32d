//! Calls that arrive at a barrier while the action of a round runs.

use super::*;
use crate::proto::BarrierOp;

const MEET: Op<Raw<'static>> = Op::Barrier(BarrierOp::Wait { acts: false });
const ACT: Op<Raw<'static>> = Op::Barrier(BarrierOp::Wait { acts: true });
const END_ROUND: Op<Raw<'static>> = Op::Barrier(BarrierOp::EndRound { round: 0 });
const RESET: Op<Raw<'static>> = Op::Barrier(BarrierOp::Reset);

/// Makes a barrier of two at which the first client runs the action.
fn acting(world: &mut World, [acts, other]: [ClientId; 2]) -> ObjectId {
    let barrier = world.create(acts, Spec::Barrier(2));
    world.send(other, barrier, Wait::Forever, MEET);
    world.send(acts, barrier, Wait::Forever, ACT);
    barrier
}

#[test]
fn they_are_let_into_their_rounds_in_steps() {
    for op in [END_ROUND, RESET] {
        let mut world = World::in_steps();
        let [acts, waits] = [world.client(), world.client()];
        let barrier = acting(&mut world, [acts, waits]);
        let early = world.wait_many(waits, barrier, &MEET);
        assert_eq!(world.hear(acts, barrier, true, op), Heard::Done);
        assert!(world.state.units() <= 2 * STEP_UNITS, "not all in one step: {}", world.state.units());
        let heard = world.hear(acts, barrier, true, MEET);
        assert_eq!(heard, Heard::Unsettled, "a newcomer comes after them");
        assert!(world.steps() > 2);
        let answers: Vec<_> = early.iter().map(|call| world.answer(*call)).collect();
        for pair in answers.chunks(2) {
            assert_eq!(pair, [0, 1].map(|place| Some(Ok(Reply::Count(place)))));
        }
        world.end(&[acts, waits]);
    }
}

/// Nobody would end the action of a client that has ended.
#[test]
fn those_of_a_client_whose_end_takes_several_steps_are_passed_over() {
    let mut world = World::in_steps();
    let clients @ [acts, other] = [world.client(), world.client()];
    let barrier = acting(&mut world, clients);
    let dies = world.client();
    world.ask(dies, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![barrier]))).unwrap();
    let event = world.create(dies, Spec::Event);
    world.wait_many(dies, event, &WAIT);
    let first = world.send(other, barrier, Wait::Forever, MEET);
    world.send(dies, barrier, Wait::Forever, ACT);
    world.leave(dies);
    assert!(!world.state.has_released(world.state.endings()));
    world.ask(acts, barrier, END_ROUND).unwrap();
    world.steps();
    let last = world.send(acts, barrier, Wait::Forever, MEET);
    assert_eq!(
        [first, last].map(|call| world.answer(call)),
        [0, 1].map(|place| Some(Ok(Reply::Count(place))))
    );
    world.end(&clients);
}
