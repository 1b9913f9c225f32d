//! Bequests: what they keep, for how long, and their limits.

use super::super::bequests::REFUSALS_MAX;
use super::World;
use crate::limits::TRANSIT_GRACE;
use crate::proto::{Answer, Fault, LockOp, ManagerOp, ObjectId, Op, Payload, Reply, Spec, Wait};
use crate::state::{Claimed, ClientId, Limits};

const HOUR: u64 = 3_600_000_000_000;

fn bequeath(world: &mut World, client: ClientId, bequest: u128) -> Answer<Payload> {
    world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Bequeath { bequest }))
}

fn heirs_of(world: &mut World, bequest: u128) -> ClientId {
    match world.state.claim(bequest) {
        Claimed::Heirs(heirs) => heirs,
        other => panic!("{other:?}"),
    }
}

fn drop_all(world: &mut World, client: ClientId, objects: &[ObjectId]) {
    let references = objects.iter().map(|object| (*object, 1)).collect();
    let detach = ManagerOp::Detach { references, lingers: false };
    assert_eq!(world.ask(client, ObjectId::MANAGER, Op::Manager(detach)), Ok(Reply::Done));
}

fn objects(world: &World) -> u64 {
    world.state.info().objects
}

#[test]
fn a_bequest_keeps_what_its_client_had_until_its_heirs_are_gone() {
    let mut world = World::new();
    let client = world.client();
    let before = [Spec::List, Spec::Event].map(|spec| world.create(client, spec));
    assert_eq!(bequeath(&mut world, client, 7), Ok(Reply::Done));
    let heirs = heirs_of(&mut world, 7);
    assert_eq!(world.state.claim(7), Claimed::Nothing, "it is claimed once");
    let after = world.create(client, Spec::Event);
    assert_eq!(world.state.info().clients, 1, "heirs are no client");
    drop_all(&mut world, client, &[before[0], after]);
    assert_eq!(objects(&world), 2);
    world.leave(client);
    world.pass(HOUR);
    assert_eq!(objects(&world), 2, "no time ends it");
    world.leave(heirs);
    assert_eq!(objects(&world), 0);
}

#[test]
fn a_bequest_that_nobody_claims_ends_after_the_grace_of_a_transit() {
    let mut world = World::new();
    let client = world.client();
    world.create(client, Spec::List);
    assert_eq!(bequeath(&mut world, client, 1), Ok(Reply::Done));
    world.leave(client);
    let grace = u64::try_from(TRANSIT_GRACE.as_nanos()).unwrap();
    world.pass(grace - 1);
    assert_eq!(objects(&world), 1);
    world.pass(1);
    assert_eq!(objects(&world), 0);
    assert_eq!(world.state.claim(1), Claimed::Nothing);
}

#[test]
fn locks_are_no_part_of_a_bequest() {
    let mut world = World::new();
    let (client, other) = (world.client(), world.client());
    let lock = world.open(client, "lock", Spec::Lock);
    let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
    let granted = |token, owner_died| Ok(Reply::Granted { token, owner_died, timed_out: false });
    assert_eq!(world.ask(client, lock, acquire()), granted(1, false));
    bequeath(&mut world, client, 1).unwrap();
    let heirs = heirs_of(&mut world, 1);
    let waiting = world.send(other, lock, Wait::Forever, acquire());
    world.leave(client);
    assert_eq!(world.answer(waiting), Some(granted(2, true)));
    world.leave(heirs);
}

#[test]
fn there_are_bequests_up_to_the_limit_and_not_one_more() {
    let limits = Limits { clients: 2, bequests: 3, ..Limits::default() };
    let mut world = World::with(limits);
    let client = world.client();
    world.create(client, Spec::List);
    for bequest in 0..3 {
        assert_eq!(bequeath(&mut world, client, bequest), Ok(Reply::Done));
    }
    assert_eq!(bequeath(&mut world, client, 3), Err(Fault::TooMany { limit: 3 }));
    let heirs = heirs_of(&mut world, 0);
    assert_eq!(bequeath(&mut world, client, 3), Err(Fault::TooMany { limit: 3 }));
    world.leave(heirs);
    assert_eq!(bequeath(&mut world, client, 3), Ok(Reply::Done));
    assert_eq!(bequeath(&mut world, client, 4), Err(Fault::TooMany { limit: 3 }));
    // Clients have their own places.
    assert!(world.state.connect().is_ok());
}

#[test]
fn a_number_stands_for_one_bequest() {
    let mut world = World::new();
    let client = world.client();
    assert_eq!(bequeath(&mut world, client, 1), Ok(Reply::Done));
    assert_eq!(bequeath(&mut world, client, 1), Err(Fault::Malformed));
}

#[test]
fn references_of_bequests_count_towards_the_memory() {
    let mut world = World::new();
    let client = world.client();
    for _ in 0..1_000 {
        world.create(client, Spec::Event);
    }
    let before = world.state.info().bytes;
    bequeath(&mut world, client, 1).unwrap();
    assert!(world.state.info().bytes >= before + 1_000 * 16);
    let heirs = heirs_of(&mut world, 1);
    world.leave(heirs);
    assert_eq!(world.state.info().bytes, before);
}

#[test]
fn heirs_learn_why_a_bequest_was_refused_and_the_newest_refusals_are_kept() {
    let limits = Limits { bequests: 0, ..Limits::default() };
    let mut world = World::with(limits);
    let client = world.client();
    let full = Fault::TooMany { limit: 0 };
    for bequest in 0..=u128::try_from(REFUSALS_MAX).unwrap() {
        assert_eq!(bequeath(&mut world, client, bequest), Err(full));
    }
    assert_eq!(world.state.claim(0), Claimed::Nothing, "it is one more than the limit");
    for bequest in [1, 7] {
        assert_eq!(world.state.claim(bequest), Claimed::Refused(full));
        assert_eq!(world.state.claim(bequest), Claimed::Nothing, "it is claimed once");
    }
    world.end(&[client]);
}
