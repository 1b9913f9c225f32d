//! Helpers for the tests of kinds that hold many values.

use super::*;
use crate::limits::VALUES_AT_ONCE_MAX;
use crate::proto::ListOp;

impl World {
    /// Releases a reference of a client.
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

/// Returns the id of an object in the form that a value contains.
pub(super) fn id(object: ObjectId) -> [u8; 8] {
    object.0.to_le_bytes()
}

/// Makes an operation that always fails in a transaction, as the last step of one that has to be undone.
pub(super) fn failing(client: ClientId, world: &mut World) -> Step<Raw<'static>> {
    let value = world.create(client, Spec::Value(raw(b"\xff")));
    Step { object: value, op: Op::Value(ValueOp::FetchAdd(crate::proto::Number::U64(1))) }
}

/// Makes a list of this many equal items, in as few operations as possible.
pub(super) fn long_list(world: &mut World, client: ClientId, len: usize) -> ObjectId {
    let list = world.create(client, Spec::List);
    for at in (0..len).step_by(VALUES_AT_ONCE_MAX) {
        let items = vec![raw(b"x"); VALUES_AT_ONCE_MAX.min(len - at)];
        world.ask(client, list, Op::List(ListOp::Extend(items))).unwrap();
    }
    list
}
