//! Tests that a client which says to have read very many items delays nobody.

use super::*;
use crate::count::count_of;
use crate::limits::{TAKEN_CALLS_MAX, TRANSACTION_OPS_MAX};
use crate::state::clients::{FORGOTTEN_AT_ONCE, FORGOTTEN_LEAST};
use crate::state::work::{ENTRY, REFERENCE, VALUE};

const GET: Op<Raw<'static>> = Op::Queue(QueueOp::Get);

/// What one item takes, in units. Each call takes a reference in addition.
const ITEM: usize = ENTRY + VALUE;

/// Returns a world in which one client has a queue, and has got items with so many calls.
fn with_items(calls: usize) -> (World, ClientId, ObjectId) {
    let mut world = World::in_steps();
    let client = world.client();
    let queue = world.create(client, Spec::Queue(0));
    for _ in 0..calls {
        assert_eq!(world.ask(client, queue, Op::Queue(QueueOp::Put(raw(b"a")))), DONE);
    }
    for _ in 0..calls {
        world.ask(client, queue, GET).unwrap();
    }
    (world, client, queue)
}

/// Says that the client has read the answers to the calls up to the newest one, and returns how many items are left.
fn take(world: &mut World, client: ClientId, calls: u64) -> usize {
    let (last, now, frame) = (world.calls, world.now, &Bytes::new());
    let control = Control::Taken { first: last - calls + 1, last };
    let caller = Caller { client, call: last + 1, now, frame, is_settled: true };
    let mut effects = Effects::default();
    assert_eq!(world.state.control(caller, control, false, &mut effects), Heard::Done);
    assert!(world.state.units() <= STEP_UNITS + ITEM, "{} units", world.state.units());
    world.note(effects);
    left(world, client)
}

fn left(world: &World, client: ClientId) -> usize {
    world.state.core.clients.get(client).map_or(0, |client| client.deliveries().count())
}

#[test]
fn items_are_forgotten_in_steps_of_a_limited_length() {
    let most = STEP_UNITS / (ITEM + REFERENCE);
    for (calls, has_more) in [(most, false), (most + 1, true)] {
        let (mut world, client, _) = with_items(calls);
        let rest = take(&mut world, client, count_of(calls));
        assert_eq!(world.state.has_backlog(), has_more, "{rest} of {calls}");
        world.steps();
        assert_eq!(left(&world, client), 0);
        world.end(&[client]);
    }
}

#[test]
fn the_items_of_many_transactions_are_forgotten_in_steps_in_which_others_have_turns() {
    const TRANSACTIONS: usize = 3;
    let (mut world, client, queue) = with_items(0);
    for _ in 0..TRANSACTIONS {
        let steps = |op: &Op<Raw<'static>>| {
            (0..TRANSACTION_OPS_MAX).map(|_| Step { object: queue, op: op.clone() }).collect()
        };
        world.transact(client, steps(&Op::Queue(QueueOp::Put(Raw::plain(b"a"))))).unwrap();
        world.transact(client, steps(&GET)).unwrap();
    }
    let all = TRANSACTIONS * TRANSACTION_OPS_MAX;
    let rest = take(&mut world, client, 2 * count_of(TRANSACTIONS));
    assert!(rest > 0 && rest < all, "{rest} of {all}");
    assert_eq!(world.hear(client, queue, true, GET), Heard::Unsettled, "its own calls come later");
    let other = world.client();
    world.create(other, Spec::Event);
    assert!(world.steps() > 2);
    assert_eq!(left(&world, client), 0);
    world.end(&[client, other]);
}

#[test]
fn what_a_client_has_read_does_not_come_back_if_it_ends_before_all_is_forgotten() {
    let calls = usize::try_from(TAKEN_CALLS_MAX).unwrap();
    let (mut world, client, queue) = with_items(calls);
    let other = world.client();
    world.ask(other, ObjectId::MANAGER, Op::Manager(ManagerOp::Attach(vec![queue]))).unwrap();
    world.calls -= 1;
    assert!(take(&mut world, client, TAKEN_CALLS_MAX) > 0);
    world.leave_unread(client, 0);
    world.steps();
    assert_eq!(world.ask(other, queue, GET), Err(Fault::Empty));
    world.end(&[other]);
}

#[test]
fn items_of_as_many_calls_as_the_limit_are_forgotten_and_of_not_one_more() {
    let calls = usize::try_from(TAKEN_CALLS_MAX).unwrap();
    for more in [0, 1] {
        let (mut world, client, _) = with_items(calls + more);
        take(&mut world, client, TAKEN_CALLS_MAX + count_of(more));
        world.steps();
        assert_eq!(left(&world, client), more);
        world.end(&[client]);
    }
}

/// Each frame says how many answers were read, and has no later steps.
#[test]
fn one_frame_forgets_a_limited_number_of_items_and_not_one_delivery_more() {
    let at_once = FORGOTTEN_AT_ONCE / FORGOTTEN_LEAST;
    let (mut world, client, queue) = with_items(at_once + 1);
    let acknowledge = |world: &mut World| {
        world.state.acknowledge(client, u64::MAX);
        left(world, client)
    };
    assert_eq!([(); 2].map(|()| acknowledge(&mut world)), [1, 0]);
    for count in [FORGOTTEN_AT_ONCE, 1, FORGOTTEN_AT_ONCE] {
        let items = vec![raw(b"a"); count];
        assert_eq!(world.ask(client, queue, Op::Queue(QueueOp::PutMany(items))), DONE);
        world.ask(client, queue, Op::Queue(QueueOp::GetMany(count_of(count)))).unwrap();
    }
    assert_eq!([(); 2].map(|()| acknowledge(&mut world)), [2, 0], "a page is not divided");
    world.end(&[client]);
}
