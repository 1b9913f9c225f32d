//! Requests that concern very many objects or names go on in short steps, and their client has no other turn meanwhile.

use super::*;
use crate::limits::{REFERENCES_AT_ONCE_MAX, TRANSIT_GRACE};
use crate::state::Claimed;

fn references(objects: &[ObjectId]) -> Vec<(ObjectId, u64)> {
    objects.iter().map(|object| (*object, 1)).collect()
}

impl World {
    /// Makes as many objects as one request may name.
    fn most(&mut self, client: ClientId) -> Vec<ObjectId> {
        (0..REFERENCES_AT_ONCE_MAX).map(|_| self.create(client, Spec::Event)).collect()
    }

    /// Sends an operation of the manager that goes on in steps, and checks that the first one is short.
    fn begin(&mut self, client: ClientId, op: ManagerOp<Raw<'_>>) -> u64 {
        let call = self.send(client, ObjectId::MANAGER, Wait::No, Op::Manager(op));
        assert!(self.state.units() <= 6 * STEP_UNITS, "{} units", self.state.units());
        assert_eq!(self.answer(call), None, "not all in one step");
        call
    }

    /// Checks that a client has no other turn, runs the later steps, and returns the answer to its call.
    fn finish(&mut self, client: ClientId, call: u64) -> Option<Answer<Payload>> {
        let info = || Op::Manager(ManagerOp::Info);
        assert_eq!(self.hear(client, ObjectId::MANAGER, true, info()), Heard::Unsettled);
        let other = self.client();
        assert_eq!(self.hear(other, ObjectId::MANAGER, true, info()), Heard::Done);
        assert!(self.steps() > 2);
        self.leave(other);
        self.answer(call)
    }

    fn objects(&self) -> u64 {
        self.state.info().objects
    }
}

#[test]
fn many_references_are_added_and_released_in_steps() {
    let mut world = World::in_steps();
    let [makes, uses] = [world.client(), world.client()];
    let objects = world.most(makes);
    let call = world.begin(uses, ManagerOp::Attach(objects.clone()));
    assert_eq!(world.finish(uses, call), Some(DONE));
    world.leave(makes);
    world.steps();
    assert_eq!(world.objects(), u64::try_from(objects.len()).unwrap());
    let detach = ManagerOp::Detach { references: references(&objects), lingers: true };
    let call = world.begin(uses, detach);
    assert_eq!(world.finish(uses, call), Some(DONE));
    assert_eq!(world.objects(), u64::try_from(objects.len()).unwrap(), "they linger");
    world.pass(u64::try_from(TRANSIT_GRACE.as_nanos()).unwrap());
    world.steps();
    world.end(&[uses]);
}

#[test]
fn if_one_of_many_objects_does_not_exist_no_reference_is_added() {
    let mut world = World::in_steps();
    let [makes, uses] = [world.client(), world.client()];
    let mut objects = world.most(makes);
    let last = objects.len() - 1;
    let detach = ManagerOp::Detach { references: references(&objects[last..]), lingers: false };
    world.ask(makes, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    let call = world.begin(uses, ManagerOp::Attach(objects.clone()));
    assert_eq!(world.finish(uses, call), Some(Err(Fault::UnknownObject)));
    world.leave(makes);
    world.steps();
    assert_eq!(world.objects(), 0);
    objects.clear();
    world.end(&[uses]);
}

#[test]
fn many_objects_travel_in_steps_even_if_their_client_ends() {
    let mut world = World::in_steps();
    let client = world.client();
    let objects = world.most(client);
    world.begin(client, ManagerOp::Transit(objects.clone()));
    world.leave(client);
    world.steps();
    assert_eq!(world.objects(), u64::try_from(objects.len()).unwrap());
    world.pass(u64::try_from(TRANSIT_GRACE.as_nanos()).unwrap());
    world.steps();
    world.end(&[]);
}

#[test]
fn a_client_with_many_references_bequeaths_them_in_steps_even_if_it_ends() {
    for ends in [false, true] {
        let mut world = World::in_steps();
        let client = world.client();
        let objects = world.most(client);
        let call = world.begin(client, ManagerOp::Bequeath { bequest: 1 });
        let Claimed::Heirs(heirs) = world.state.claim(1) else { panic!("it is there") };
        if ends {
            world.leave(client);
            world.steps();
        } else {
            assert_eq!(world.finish(client, call), Some(DONE));
            world.leave(client);
            world.steps();
        }
        assert_eq!(world.objects(), u64::try_from(objects.len()).unwrap());
        world.end(&[heirs]);
    }
}

#[test]
fn heirs_that_end_early_leave_nothing() {
    let mut world = World::in_steps();
    let client = world.client();
    world.most(client);
    let call = world.begin(client, ManagerOp::Bequeath { bequest: 1 });
    let Claimed::Heirs(heirs) = world.state.claim(1) else { panic!("it is there") };
    world.leave(heirs);
    world.steps();
    assert_eq!(world.answer(call), Some(DONE));
    world.end(&[client]);
}

#[test]
fn a_notice_that_goes_on_in_steps_has_no_answer() {
    let mut world = World::in_steps();
    let client = world.client();
    let objects = world.most(client);
    let detach = ManagerOp::Detach { references: references(&objects), lingers: false };
    let (now, frame, mut effects) = (world.now, &Bytes::new(), Effects::default());
    let caller = Caller { client, call: 0, now, frame, is_settled: true };
    let op = Op::Manager(detach);
    let call = Call { object: ObjectId::MANAGER, thread: 1, wait: Wait::No, op };
    assert_eq!(world.state.notice(caller, call, &mut effects), Heard::Done);
    assert!(world.state.units() <= 6 * STEP_UNITS);
    assert!(world.steps() > 2);
    assert!(effects.answers.is_empty() && world.answer(0).is_none());
    assert_eq!(world.objects(), 0);
    world.end(&[client]);
}

#[test]
fn all_names_are_listed_in_steps() {
    let mut world = World::in_steps();
    let client = world.client();
    let names: Vec<_> = (0..20_000).map(|number| format!("{number:05}")).collect();
    for name in &names {
        world.open(client, name, Spec::Event);
    }
    let call = world.begin(client, ManagerOp::Names);
    let answer = world.finish(client, call);
    assert!(answer == Some(Ok(Reply::Names(names.clone()))));
    // One that nobody waits for any more leaves nothing.
    world.begin(client, ManagerOp::Names);
    world.leave(client);
    world.steps();
    let other = world.client();
    for name in &names {
        world.remove(other, name);
        world.steps();
    }
    world.end(&[other]);
}
