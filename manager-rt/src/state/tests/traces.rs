//! What stays of locks and objects that are used again and again.

use super::*;

#[test]
fn a_lock_has_one_timer_however_often_it_is_leased() {
    let mut world = World::new();
    let client = world.client();
    let lock = world.create(client, Spec::Lock);
    let acquire = || Op::Lock(LockOp::Acquire { lease: 1_000_000 });
    for _ in 0..3 {
        let call = world.send(client, lock, Wait::Forever, acquire());
        let (token, ..) = granted(world.answer(call));
        assert_eq!(world.state.core.waiters.timers(), 1);
        world.ask(client, lock, Op::Lock(LockOp::Release { token })).unwrap();
    }
    world.pass(999_999);
    let call = world.send(client, lock, Wait::Forever, acquire());
    let (token, ..) = granted(world.answer(call));
    world.pass(999_999);
    assert_eq!(world.ask(client, lock, Op::Lock(LockOp::IsLocked)), Ok(Reply::Bool(true)));
    world.pass(1);
    assert_eq!(world.ask(client, lock, Op::Lock(LockOp::Release { token })), Err(Fault::NotOwned));
    world.send(client, lock, Wait::Forever, acquire());
    world.leave(client);
    assert_eq!(world.state.core.waiters.timers(), 0, "the timer ends with its lock");
}

#[test]
fn a_client_forgets_that_it_held_objects_that_have_ended() {
    let mut world = World::new();
    let client = world.client();
    let kept = world.create(client, Spec::Lock);
    world.send(client, kept, Wait::Forever, ACQUIRE);
    for _ in 0..100 {
        let lock = world.create(client, Spec::Lock);
        world.send(client, lock, Wait::Forever, ACQUIRE);
        let detach = ManagerOp::Detach { references: vec![(lock, 1)], lingers: false };
        world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
        assert!(world.state.core.clients.get_mut(client).unwrap().held() <= 4);
    }
    let waiting = world.client();
    let attach = Op::Manager(ManagerOp::Attach(vec![kept]));
    world.ask(waiting, ObjectId::MANAGER, attach).unwrap();
    let call = world.send(waiting, kept, Wait::Forever, ACQUIRE);
    world.leave(client);
    assert!(granted(world.answer(call)).1, "what still exists is released");
}

#[test]
fn all_transits_of_an_object_have_one_timer_and_the_last_one_counts() {
    let grace = u64::try_from(crate::limits::TRANSIT_GRACE.as_nanos()).unwrap();
    let mut world = World::new();
    let (owner, client) = (world.client(), world.client());
    let event = world.create(owner, Spec::Event);
    let transit = || Op::Manager(ManagerOp::Transit(vec![event; 1_000]));
    world.ask(client, ObjectId::MANAGER, transit()).unwrap();
    world.pass(grace - 1);
    world.ask(client, ObjectId::MANAGER, transit()).unwrap();
    assert_eq!(world.state.core.waiters.timers(), 1);
    world.leave(owner);
    world.pass(grace - 1);
    assert_eq!((world.state.info().objects, world.state.core.waiters.timers()), (1, 1));
    world.pass(1);
    assert_eq!((world.state.info().objects, world.state.core.waiters.timers()), (0, 0));
    let named = world.open(client, "n", Spec::Event);
    world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Transit(vec![named]))).unwrap();
    world.remove(client, "n");
    assert_eq!(world.state.core.waiters.timers(), 0, "the timer ends with its object");
}
