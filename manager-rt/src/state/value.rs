//! `Value`: a single value.

use crate::proto::{Answer, Payload, Raw, Reply, ValueOp};
use crate::state::context::{Context, Core, DONE};
use crate::state::numbers;
use crate::state::undo::Undo;

/// A single value.
#[derive(Debug)]
pub(super) struct Value {
    payload: Payload,
}

impl Value {
    pub(super) const fn new(payload: Payload) -> Self {
        Self { payload }
    }

    pub(super) fn apply(&mut self, op: ValueOp<Raw<'_>>, context: &mut Context<'_>) -> Answer<Payload> {
        match op {
            ValueOp::Get => Ok(Reply::Value(context.give(&self.payload))),
            ValueOp::Set(new) => {
                let new = context.keep(new)?;
                Ok(Reply::Value(self.replace(new, context)))
            }
            ValueOp::CompareExchange { expected, new } => {
                if self.payload.raw() != expected {
                    return Ok(Reply::Found(Some(context.give(&self.payload))));
                }
                let new = context.keep(new)?;
                // The answer does not contain the previous value, so no references are handed out.
                context.note(Undo::Value(std::mem::replace(&mut self.payload, new)));
                Ok(Reply::Bool(true))
            }
            ValueOp::Store(new) => {
                let new = context.keep(new)?;
                context.note(Undo::Value(std::mem::replace(&mut self.payload, new)));
                DONE
            }
            ValueOp::FetchAdd(number) => {
                let sum = context.keep(numbers::add(self.payload.raw(), number)?.raw())?;
                Ok(Reply::Before(self.replace(sum, context)))
            }
        }
    }

    /// Replaces the value, and returns the previous one to the caller.
    fn replace(&mut self, new: Payload, context: &mut Context<'_>) -> Payload {
        let old = std::mem::replace(&mut self.payload, new);
        let given = context.give(&old);
        context.note(Undo::Value(old));
        given
    }

    pub(super) fn undo(&mut self, old: Payload, core: &mut Core) {
        core.let_go(std::mem::replace(&mut self.payload, old));
    }

    pub(super) const fn payload(&self) -> &Payload {
        &self.payload
    }

    pub(super) fn into_payload(self) -> Payload {
        self.payload
    }
}
