//! Tests of clients that connect again.

use super::*;

const SESSION: u128 = 7;

fn succeed(world: &mut World, client: ClientId, session: u128) -> Answer<Payload> {
    world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Succeed { session }))
}

#[test]
fn only_the_same_session_ends_an_earlier_connection() {
    let mut world = World::new();
    let [one, two, other] = [world.client(), world.client(), world.client()];
    assert_eq!(succeed(&mut world, one, SESSION), DONE);
    assert_eq!(succeed(&mut world, other, SESSION + 1), DONE);
    assert_eq!(succeed(&mut world, one, SESSION), DONE, "it does not end itself");
    assert_eq!(succeed(&mut world, one, SESSION + 1), Err(Fault::Malformed), "it cannot end others");
    assert_eq!(world.state.pop_superseded(), None);
    assert_eq!(succeed(&mut world, two, SESSION), DONE);
    assert_eq!((world.state.pop_superseded(), world.state.pop_superseded()), (Some(one), None));
    world.leave(one);
    let three = world.client();
    assert_eq!(succeed(&mut world, three, SESSION), DONE);
    assert_eq!(world.state.pop_superseded(), Some(two), "the newest one is known");
    for client in [two, three, other] {
        world.leave(client);
    }
    assert_eq!(world.state.core.sessions.len(), 0, "no session is left");
}
