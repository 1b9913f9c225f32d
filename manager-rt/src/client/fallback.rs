//! What a client sends to a server of an older version.
//!
//! Some operations replace an older one that does the same and says more or less. A server that does not know the new one
//! gets the old one, and its answer is turned into that of the new one:
//!
//! | operation | before | difference |
//! |---|---|---|
//! | `Store`, `Delete` | `Set`, `Insert`, `Remove` | the old value comes back, and is released |
//! | `Take`, `Enrol` | `Acquire`, `Register` | the token is the number of this process's connection |
//! | `Return`, `Disown`, `Withdraw` | `Release`, `Forget`, `Unregister` | sent only if what they name is of this connection |
//! | `NamesAfter` | `Names` | all names come at once |
//!
//! Any other operation that a server is too old for is not sent, and fails with an error that names the versions. Who
//! sends it may know a way that takes the server more time: see the sorting of lists, and long arrays.

use super::connection::Connection;
use super::link::Local;
use crate::proto::version::NEWEST;
use crate::proto::{
    Answer, ArrayOp, BarrierOp, Call, DictOp, ListOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply,
    SemaphoreOp, Step, Travels, ValueOp,
};

/// How to turn the answer to the old operation into that of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It can stand for the new one.
    Nothing,
    /// A grant of this connection.
    Grant,
    /// Whether there was a value.
    WasThere,
    /// The names after this one.
    After(String),
}

/// Returns the operation that does the same as one that is too new for the server, if there is one.
fn older<'a>(op: &Op<Raw<'a>>) -> Option<(Op<Raw<'a>>, Turn)> {
    Some(match op {
        Op::List(ListOp::Store(at, item)) => (Op::List(ListOp::Set(*at, *item)), Turn::Nothing),
        Op::List(ListOp::Delete(at)) => (Op::List(ListOp::Remove(*at)), Turn::Nothing),
        Op::Dict(DictOp::Store(key, value)) => (Op::Dict(DictOp::Insert(*key, *value)), Turn::Nothing),
        Op::Dict(DictOp::Delete(key)) => (Op::Dict(DictOp::Remove(*key)), Turn::WasThere),
        Op::Value(ValueOp::Store(value)) => (Op::Value(ValueOp::Set(*value)), Turn::Nothing),
        Op::Array(ArrayOp::Store(at, element)) => (Op::Array(ArrayOp::Set(*at, *element)), Turn::Nothing),
        Op::Semaphore(SemaphoreOp::Take) => (Op::Semaphore(SemaphoreOp::Acquire), Turn::Grant),
        Op::Semaphore(SemaphoreOp::Return { .. }) => (Op::Semaphore(SemaphoreOp::Release), Turn::Nothing),
        Op::Semaphore(SemaphoreOp::Disown { .. }) => (Op::Semaphore(SemaphoreOp::Forget), Turn::Nothing),
        Op::Barrier(BarrierOp::Enrol) => (Op::Barrier(BarrierOp::Register), Turn::Grant),
        Op::Barrier(BarrierOp::Withdraw { .. }) => (Op::Barrier(BarrierOp::Unregister), Turn::Nothing),
        Op::Manager(ManagerOp::NamesAfter { name }) => {
            (Op::Manager(ManagerOp::Names), Turn::After(name.clone()))
        }
        _ => return None,
    })
}

/// Returns the older operation to send to a server of this version, if it is too old for this one.
fn for_version<'a>(op: &Op<Raw<'a>>, version: u16) -> Option<(Op<Raw<'a>>, Turn)> {
    if version == NEWEST || op.since() <= version { None } else { older(op) }
}

/// Returns the call to send to a server of this version instead of this one, if it is too old for that.
pub(super) fn call_for<'a>(call: &Call<Raw<'a>>, version: u16) -> Option<(Call<Raw<'a>>, Turn)> {
    let Call { object, thread, wait, op } = call;
    let (op, turn) = for_version(op, version)?;
    Some((Call { object: *object, thread: *thread, wait: *wait, op }, turn))
}

/// Steps of which some were replaced.
pub(super) struct Older<'a> {
    pub(super) steps: Vec<Step<Raw<'a>>>,
    /// The places of those that were replaced, and how to turn their answers.
    pub(super) turns: Vec<(usize, Turn)>,
}

/// Returns the steps to send to a server of this version instead of these, if it is too old for one of them.
pub(super) fn steps_for<'a>(steps: &[Step<Raw<'a>>], version: u16) -> Option<Older<'a>> {
    if version == NEWEST {
        return None;
    }
    let mut turns = Vec::new();
    let step = |(place, step): (usize, &Step<Raw<'a>>)| match for_version(&step.op, version) {
        Some((op, turn)) => {
            turns.push((place, turn));
            Step { object: step.object, op }
        }
        None => step.clone(),
    };
    let steps = steps.iter().enumerate().map(step).collect();
    (!turns.is_empty()).then_some(Older { steps, turns })
}

impl Turn {
    /// Turns an answer into that of the new operation.
    pub(super) fn reply(
        &self,
        reply: Reply<Payload>,
        local: &Local,
        connection: &Connection,
    ) -> Reply<Payload> {
        match (self, reply) {
            (Self::Grant, Reply::Done) => {
                Reply::Granted { token: connection.serial, owner_died: false, timed_out: false }
            }
            (Self::WasThere, Reply::Option(value)) => {
                let was_there = value.is_some();
                let inside: Vec<ObjectId> =
                    value.iter().flat_map(|value| value.raw().objects().collect::<Vec<_>>()).collect();
                local.give_back(Some(connection), inside, false);
                Reply::Bool(was_there)
            }
            (Self::After(name), Reply::Names(mut names)) => {
                names.retain(|other| other > name);
                names.sort_unstable();
                Reply::Names(names)
            }
            (_, reply) => reply,
        }
    }

    pub(super) fn answer(
        &self,
        answer: Answer<Payload>,
        local: &Local,
        connection: &Connection,
    ) -> Answer<Payload> {
        answer.map(|reply| self.reply(reply, local, connection))
    }
}
