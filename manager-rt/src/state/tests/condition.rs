//! Tests of conditions with the virtual clock.

use super::*;

#[test]
fn a_wait_for_a_notification_ends_with_the_lock() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let (lock, condition) = (world.create(one, Spec::RLock), world.create(one, Spec::Condition));
    let mut token = 0;
    for _ in 0..2 {
        let call = world.send(one, lock, Wait::Forever, ACQUIRE);
        token = granted(world.answer(call)).0;
    }
    let wait = Op::Condition(ConditionOp::Wait { lock, token });
    let waiting = world.send(one, condition, Wait::For(10), wait);
    let other = world.send(two, lock, Wait::Forever, ACQUIRE);
    let others_token = granted(world.answer(other)).0;
    assert_eq!(world.ask(two, condition, Op::Condition(ConditionOp::Notify(3))), Ok(Reply::Count(1)));
    assert_eq!(world.answer(waiting), None, "the notified thread waits for the lock");
    world.pass(20);
    assert_eq!(world.answer(waiting), None, "and its timeout no longer applies");
    world.ask(two, lock, Op::Lock(LockOp::Release { token: others_token })).unwrap();
    let (token, owner_died, timed_out) = granted(world.answer(waiting));
    assert_eq!((owner_died, timed_out), (false, false));
    for left in [true, false] {
        world.ask(one, lock, Op::Lock(LockOp::Release { token })).unwrap();
        assert_eq!(
            world.ask(two, lock, Op::Lock(LockOp::IsLocked)),
            Ok(Reply::Bool(left)),
            "the depth is restored"
        );
    }
}

#[test]
fn the_notification_of_a_waiter_that_dies_before_it_has_the_lock_is_passed_on() {
    let mut world = World::new();
    let clients = [world.client(), world.client(), world.client()];
    let [holder, first, second] = clients;
    let (lock, condition) = (world.create(holder, Spec::Lock), world.create(holder, Spec::Condition));
    let mut waiting = Vec::new();
    for client in [first, second] {
        let call = world.send(client, lock, Wait::Forever, ACQUIRE);
        let (token, ..) = granted(world.answer(call));
        let wait = Op::Condition(ConditionOp::Wait { lock, token });
        waiting.push(world.send(client, condition, Wait::Forever, wait));
    }
    let held = world.send(holder, lock, Wait::Forever, ACQUIRE);
    let (token, ..) = granted(world.answer(held));
    assert_eq!(world.ask(holder, condition, Op::Condition(ConditionOp::Notify(1))), Ok(Reply::Count(1)));
    world.leave(first);
    world.ask(holder, lock, Op::Lock(LockOp::Release { token })).unwrap();
    let (_, owner_died, timed_out) = granted(world.answer(waiting[1]));
    assert_eq!((owner_died, timed_out), (false, false));
    world.leave(second);
    world.leave(holder);
    assert_eq!(world.state.info(), Info::default());
}
