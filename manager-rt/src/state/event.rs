//! `Event`: a flag that clients can wait for.
//!
//! A caller that waits when the flag is set goes on, even if the flag is cleared right afterwards, because the line is
//! served between two calls. Within a transaction, only the final state counts: a flag that is set and cleared again
//! has no effect.

use crate::proto::{EventOp, Fault, Reply};
use crate::state::context::{Context, Core, DONE, Outcome};
use crate::state::undo::Undo;
use crate::state::waiters::{Line, WaiterId, Want};

/// An event.
#[derive(Debug, Default)]
pub(super) struct Event {
    is_set: bool,
    line: Line,
}

impl Event {
    pub(super) const fn is_set(&self) -> bool {
        self.is_set
    }

    pub(super) const fn restored(is_set: bool) -> Self {
        Self { is_set, line: Line::new() }
    }

    pub(super) fn apply(&mut self, op: &EventOp, context: &mut Context<'_>) -> Outcome {
        match op {
            EventOp::Wait if self.is_set => DONE.into(),
            EventOp::Wait => context.park(&mut self.line, Want::Flag, Fault::TimedOut),
            EventOp::Set => self.change(true, context),
            EventOp::Clear => self.change(false, context),
            EventOp::IsSet => Outcome::Answer(Ok(Reply::Bool(self.is_set))),
        }
    }

    fn change(&mut self, is_set: bool, context: &mut Context<'_>) -> Outcome {
        context.note(Undo::Event(std::mem::replace(&mut self.is_set, is_set)));
        context.touch();
        DONE.into()
    }

    pub(super) const fn undo(&mut self, was_set: bool) {
        self.is_set = was_set;
    }

    pub(super) fn serve(&mut self, core: &mut Core) {
        if self.is_set {
            core.answer_all(&mut self.line, &DONE);
        }
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.line.remove(&waiter)
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) const fn line(&mut self) -> &mut Line {
        &mut self.line
    }
}
