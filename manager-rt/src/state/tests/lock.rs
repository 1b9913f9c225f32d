//! Locks: leases, and the time at which they begin.

mod random;

use super::*;

fn acquire(lease: u64) -> Op<Raw<'static>> {
    Op::Lock(LockOp::Acquire { lease })
}

fn is_locked(world: &mut World, client: ClientId, lock: ObjectId) -> bool {
    world.ask(client, lock, Op::Lock(LockOp::IsLocked)) == Ok(Reply::Bool(true))
}

/// Nothing happens for a while before the event that grants the lock, so the last call was long ago.
#[test]
fn a_lease_begins_with_the_event_that_grants_the_lock() {
    type Event = fn(&mut World, ClientId, ObjectId, u64);
    let death: Event = |world, holder, _, _| world.leave(holder);
    let release: Event = |world, holder, lock, token| {
        world.ask(holder, lock, Op::Lock(LockOp::Release { token })).unwrap();
    };
    let notice: Event = |world, holder, lock, token| world.tell(holder, lock, LockOp::Release { token });
    for (event, why) in [(death, "a death"), (release, "a release"), (notice, "a notice")] {
        let mut world = World::new();
        let [holder, next, other] = [world.client(), world.client(), world.client()];
        let lock = world.create(other, Spec::Lock);
        let held = world.send(holder, lock, Wait::Forever, acquire(0));
        let (token, ..) = granted(world.answer(held));
        let waits = world.send(next, lock, Wait::Forever, acquire(20));
        world.now += 30;
        event(&mut world, holder, lock, token);
        granted(world.answer(waits));
        world.pass(19);
        assert!(is_locked(&mut world, other, lock), "{why} grants the whole lease");
        world.pass(1);
        assert!(!is_locked(&mut world, other, lock), "the lease after {why} ends");
    }
}

#[test]
fn a_lease_that_the_end_of_another_grants_begins_then() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let lock = world.create(two, Spec::Lock);
    let first = world.send(one, lock, Wait::Forever, acquire(10));
    let second = world.send(two, lock, Wait::Forever, acquire(10));
    granted(world.answer(first));
    // The server notices late that the lease has ended.
    world.pass(25);
    assert!(granted(world.answer(second)).1, "the previous holder lost the lock");
    world.pass(9);
    assert!(is_locked(&mut world, one, lock));
    world.pass(1);
    assert!(!is_locked(&mut world, one, lock));
}

#[test]
fn an_event_with_an_earlier_time_does_not_turn_the_clock_back() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let lock = world.create(two, Spec::Lock);
    let event = world.create(two, Spec::Event);
    world.pass(100);
    world.now = 40;
    world.send(one, lock, Wait::Forever, acquire(10));
    let waits = world.send(one, event, Wait::For(10), Op::Event(crate::proto::EventOp::Wait));
    world.now = 100;
    world.pass(9);
    assert!(is_locked(&mut world, two, lock), "the lease ends 10 after the newest event");
    assert_eq!(world.answer(waits), None);
    world.pass(1);
    assert!(!is_locked(&mut world, two, lock));
    assert_eq!(world.answer(waits), Some(Err(Fault::TimedOut)));
}

#[test]
fn a_condition_wait_ends_with_the_lease_that_the_lock_had() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let (lock, condition) = (world.create(two, Spec::RLock), world.create(two, Spec::Condition));
    let held = world.send(one, lock, Wait::Forever, acquire(10));
    let (token, ..) = granted(world.answer(held));
    world.pass(9);
    let waits = world.send(one, condition, Wait::For(50), Op::Condition(ConditionOp::Wait { lock, token }));
    world.pass(49);
    assert!(!is_locked(&mut world, two, lock), "there is no lease while the lock is free");
    world.pass(1);
    assert_eq!(granted(world.answer(waits)), (token + 1, false, true));
    world.pass(9);
    assert!(is_locked(&mut world, two, lock), "the lease begins anew");
    world.pass(1);
    assert!(!is_locked(&mut world, two, lock), "and it ends");
}

/// Returns a lock, a condition, and the call with which a client waits for a notification.
fn waiting(world: &mut World, client: ClientId, lease: u64) -> (ObjectId, ObjectId, u64) {
    let (lock, condition) = (world.create(client, Spec::Lock), world.create(client, Spec::Condition));
    (lock, condition, wait_with(world, client, (lock, condition), lease))
}

fn wait_with(
    world: &mut World,
    client: ClientId,
    (lock, condition): (ObjectId, ObjectId),
    lease: u64,
) -> u64 {
    let held = world.send(client, lock, Wait::Forever, acquire(lease));
    let (token, ..) = granted(world.answer(held));
    world.send(client, condition, Wait::Forever, Op::Condition(ConditionOp::Wait { lock, token }))
}

const NOTIFY: Op<Raw<'static>> = Op::Condition(ConditionOp::Notify(1));

/// The waiter may be in the line of the condition, in that of the lock, or have the lock without having read that.
#[test]
fn a_notification_of_a_wait_that_is_given_up_goes_to_another_waiter() {
    type End = fn(&mut World, ClientId, u64);
    let cancel: End = |world, client, call| world.cancel(client, call);
    let die: End = |world, client, _| world.leave_unread(client, 0);
    for (end, is_cancel) in [(cancel, true), (die, false)] {
        for stage in 0..3 {
            let mut world = World::new();
            let [first, second, holder] = [world.client(), world.client(), world.client()];
            let (lock, condition, gives_up) = waiting(&mut world, first, 0);
            let attach = ManagerOp::Attach(vec![lock, condition]);
            world.ask(second, ObjectId::MANAGER, Op::Manager(attach)).unwrap();
            let goes_on = wait_with(&mut world, second, (lock, condition), 0);
            let held = world.send(holder, lock, Wait::Forever, ACQUIRE);
            let (token, ..) = granted(world.answer(held));
            let release = Op::Lock(LockOp::Release { token });
            if stage > 0 {
                world.ask(holder, condition, NOTIFY).unwrap();
            }
            if stage > 1 {
                world.ask(holder, lock, release.clone()).unwrap();
            }
            end(&mut world, first, gives_up);
            if stage == 0 {
                world.ask(holder, condition, NOTIFY).unwrap();
            }
            if stage < 2 {
                if is_cancel {
                    assert_eq!(world.answer(gives_up), Some(Err(Fault::Cancelled)));
                }
                world.ask(holder, lock, release).unwrap();
            }
            let (_, _, timed_out) = granted(world.answer(goes_on));
            assert!(!timed_out, "stage {stage}");
            assert_eq!(world.state.info().waiters, 0);
        }
    }
}

#[test]
fn a_lock_that_nobody_has_seen_is_taken_back_with_what_its_answer_said() {
    let mut world = World::new();
    let [dies, late, next] = [world.client(), world.client(), world.client()];
    let lock = world.create(next, Spec::RLock);
    world.send(dies, lock, Wait::Forever, ACQUIRE);
    let given_up = world.send(late, lock, Wait::For(5), ACQUIRE);
    world.leave(dies);
    world.cancel(late, given_up);
    assert!(granted(world.answer(given_up)).1, "the answer was on its way");
    let call = world.send(next, lock, Wait::No, ACQUIRE);
    assert!(granted(world.answer(call)).1, "nobody else has learned of the death");
    // Once the answer is read, the lock is not taken back.
    world.state.acknowledge(next, u64::MAX);
    world.cancel(next, call);
    assert!(is_locked(&mut world, late, lock));
    let again = world.send(next, lock, Wait::No, ACQUIRE);
    world.cancel(next, again);
    assert!(is_locked(&mut world, late, lock), "only one depth is taken back");
}

#[test]
fn a_leased_grant_says_how_long_its_call_waited() {
    let mut world = World::new();
    let [one, two] = [world.client(), world.client()];
    let (lock, condition) = (world.create(one, Spec::Lock), world.create(one, Spec::Condition));
    let lease = |token, timed_out, waited| {
        Some(Ok(Reply::GrantedLease { token, owner_died: false, timed_out, waited }))
    };
    let acquire = || Op::Lock(LockOp::Acquire { lease: 1_000 });
    let held = world.send(one, lock, Wait::Forever, acquire());
    assert_eq!(world.answer(held), lease(1, false, 0));
    let waits = world.send(two, lock, Wait::Forever, acquire());
    world.pass(7);
    world.ask(one, lock, Op::Lock(LockOp::Release { token: 1 })).unwrap();
    assert_eq!(world.answer(waits), lease(2, false, 7));
    // After a wait for a notification, the lease begins anew when the lock is there again.
    let wait = Op::Condition(ConditionOp::Wait { lock, token: 2 });
    let waits = world.send(two, condition, Wait::For(20), wait);
    let held = world.send(one, lock, Wait::Forever, acquire());
    assert_eq!(world.answer(held), lease(3, false, 0));
    world.pass(30);
    world.ask(one, lock, Op::Lock(LockOp::Release { token: 3 })).unwrap();
    assert_eq!(world.answer(waits), lease(4, true, 30));
    world.end(&[one, two]);
}
