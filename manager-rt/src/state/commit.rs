//! The end of a transaction: its changes are committed or undone, kind by kind.

use crate::proto::ObjectId;
use crate::state::bodies::Bodies;
use crate::state::context::Core;
use crate::state::journal::Journal;
use crate::state::kinds::Body;
use crate::state::undo::Undo;

impl Undo {
    /// Commits the change: releases what it replaced.
    fn commit(self, object: ObjectId, core: &mut Core) {
        match self {
            Self::Value(old) => core.let_go(old),
            Self::Event(_) => {}
            Self::Queue(undo) => undo.commit(object, core),
            Self::JoinableQueue(undo) => undo.commit(object, core),
            Self::Array(undo) => undo.commit(core),
            Self::Dict(undo) => undo.commit(core),
            Self::List(undo) => undo.commit(core),
            Self::Namespace(undo) => undo.commit(core),
        }
    }
}

impl Journal {
    /// Commits all changes.
    #[inline]
    pub(super) fn commit(&mut self, core: &mut Core) {
        self.notes.drain(..).for_each(|(object, undo)| undo.commit(object, core));
        self.given.clear();
        self.shrink();
    }

    /// Undoes all changes.
    pub(super) fn roll_back(&mut self, bodies: &mut Bodies, core: &mut Core) {
        for (object, undo) in self.notes.drain(..).rev() {
            let slot = core.registry.slot(object);
            let body = slot.and_then(|slot| bodies.get_mut(slot));
            match (body, undo) {
                (Some(Body::Value(value)), Undo::Value(old)) => value.undo(old, core),
                (Some(Body::Event(event)), Undo::Event(was_set)) => event.undo(was_set),
                (Some(Body::Queue(queue)), Undo::Queue(undo)) => queue.undo(undo, core),
                (Some(Body::JoinableQueue(queue)), Undo::JoinableQueue(undo)) => queue.undo(undo, core),
                (Some(Body::Array(array)), Undo::Array(undo)) => array.undo(undo, core),
                (Some(Body::Dict(dict)), Undo::Dict(undo)) => dict.undo(undo, core),
                (Some(Body::List(list)), Undo::List(undo)) => list.undo(undo, core),
                (Some(Body::Namespace(names)), Undo::Namespace(undo)) => names.undo(undo, core),
                // No other kind makes this note, and no object ends before the end of the transaction.
                _ => tracing::error!(%object, "a change of another kind could not be undone"),
            }
            if let Some(slot) = slot {
                bodies.recharge(slot, &mut core.memory.containers);
            }
        }
        self.given.drain(..).for_each(|(client, object)| core.take_reference(client, object));
        self.shrink();
    }
}
