//! Tests of clients that connect again.

use super::*;

const SESSION: u128 = 7;

fn succeed(world: &mut World, client: ClientId, session: u128, serial: u64) -> Answer<Payload> {
    world.ask(client, ObjectId::MANAGER, Op::Manager(ManagerOp::Succeed { session, serial }))
}

#[test]
fn only_the_same_session_ends_an_earlier_connection() {
    let mut world = World::new();
    let [one, two, other] = [world.client(), world.client(), world.client()];
    assert_eq!(succeed(&mut world, one, SESSION, 1), DONE);
    assert_eq!(succeed(&mut world, other, SESSION + 1, 9), DONE);
    assert_eq!(succeed(&mut world, one, SESSION, 1), DONE, "it does not end itself");
    assert_eq!(succeed(&mut world, one, SESSION + 1, 10), Err(Fault::Malformed), "it cannot end others");
    assert_eq!(succeed(&mut world, one, SESSION, 2), Err(Fault::Malformed), "it keeps its number");
    assert_eq!(world.state.pop_superseded(), None);
    assert_eq!(succeed(&mut world, two, SESSION, 2), DONE);
    assert_eq!((world.state.pop_superseded(), world.state.pop_superseded()), (Some(one), None));
    world.leave(one);
    let three = world.client();
    assert_eq!(succeed(&mut world, three, SESSION, 3), DONE);
    assert_eq!(world.state.pop_superseded(), Some(two), "the newest one is known");
    for client in [two, three, other] {
        world.leave(client);
    }
    assert_eq!(world.state.core.sessions.len(), 0, "no session is left");
}

#[test]
fn an_earlier_connection_that_is_heard_of_late_ends_itself() {
    let mut world = World::new();
    let [late, later, newest] = [world.client(), world.client(), world.client()];
    assert_eq!(succeed(&mut world, newest, SESSION, 3), DONE);
    for (client, serial) in [(late, 1), (later, 2)] {
        assert_eq!(succeed(&mut world, client, SESSION, serial), DONE);
        assert_eq!((world.state.pop_superseded(), world.state.pop_superseded()), (Some(client), None));
        world.leave(client);
    }
    // Two connections never have the same number, unless a client is wrong: then the first one stays.
    let same = world.client();
    assert_eq!(succeed(&mut world, same, SESSION, 3), DONE);
    assert_eq!((world.state.pop_superseded(), world.state.pop_superseded()), (Some(same), None));
    world.leave(same);
    let next = world.client();
    assert_eq!(succeed(&mut world, next, SESSION, 4), DONE);
    assert_eq!(world.state.pop_superseded(), Some(newest), "it was still known");
    for client in [newest, next] {
        world.leave(client);
    }
    assert_eq!(world.state.core.sessions.len(), 0, "no session is left");
}
