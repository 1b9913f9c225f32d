//! What the tests of the kinds that hold many values share.

use super::*;

impl World {
    /// Lets go of all that was let go of in steps.
    pub(super) fn tidy(&mut self) {
        while self.state.tidy(&mut self.effects) {}
    }

    /// Gives a reference of a client back.
    pub(super) fn detach(&mut self, client: ClientId, object: ObjectId) {
        let detach = ManagerOp::Detach { references: vec![(object, 1)], lingers: false };
        self.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    }
}

pub(super) fn payload(bytes: &[u8]) -> Payload {
    Payload::copy(Raw::plain(bytes))
}

pub(super) fn raw(bytes: &[u8]) -> Raw<'_> {
    Raw::plain(bytes)
}

/// The id of an object as it stands in a value.
pub(super) fn id(object: ObjectId) -> [u8; 8] {
    object.0.to_le_bytes()
}

/// An operation that always fails in a transaction: the last step of one that is to be taken back.
pub(super) fn failing(client: ClientId, world: &mut World) -> Step<Raw<'static>> {
    let value = world.create(client, Spec::Value(raw(b"\xff")));
    Step { object: value, op: Op::Value(ValueOp::FetchAdd(crate::proto::Number::U64(1))) }
}
