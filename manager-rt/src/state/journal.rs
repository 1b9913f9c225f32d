//! What was changed since the last commit, and how to take it back.
//!
//! Each change is noted by what it replaced. At the commit that is let go of: its memory is free, what it referred to loses
//! a reference. If the transaction fails, the notes are used in reverse order, and the objects are as they were. An
//! operation alone is a transaction of one.

use crate::proto::ObjectId;
use crate::proto::Payload;
use crate::state::array::ArrayUndo;
use crate::state::clients::ClientId;
use crate::state::context::Core;
use crate::state::dict::DictUndo;
use crate::state::joinable_queue::TaskUndo;
use crate::state::kinds::{Bodies, Body};
use crate::state::list::ListUndo;
use crate::state::namespace::NamespaceUndo;
use crate::state::queue::QueueUndo;

/// How to take one change of an object back.
#[derive(Debug)]
pub(super) enum Undo {
    /// A value was another one.
    Value(Payload),
    /// An event was set, or not.
    Event(bool),
    /// A queue had other items.
    Queue(QueueUndo),
    /// A queue of tasks had other tasks.
    JoinableQueue(TaskUndo),
    /// An array had other elements.
    Array(ArrayUndo),
    /// A dict had other entries.
    Dict(DictUndo),
    /// A list had other items.
    List(ListUndo),
    /// A namespace had other attributes.
    Namespace(NamespaceUndo),
}

impl Undo {
    /// The change stays: lets go of what it replaced.
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

/// The changes since the last commit, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    notes: Vec<(ObjectId, Undo)>,
    /// References that a client gets with the values of its answer.
    given: Vec<(ClientId, ObjectId)>,
}

impl Journal {
    #[inline]
    pub(super) fn push(&mut self, object: ObjectId, undo: Undo) {
        self.notes.push((object, undo));
    }

    /// Notes a reference that a client gets with its answer, which it does not get if the answer is an error.
    pub(super) fn give(&mut self, client: ClientId, object: ObjectId) {
        self.given.push((client, object));
    }

    /// All changes stay.
    #[inline]
    pub(super) fn commit(&mut self, core: &mut Core) {
        self.notes.drain(..).for_each(|(object, undo)| undo.commit(object, core));
        self.given.clear();
    }

    /// All changes are taken back.
    pub(super) fn roll_back(&mut self, bodies: &mut Bodies, core: &mut Core) {
        for (object, undo) in self.notes.drain(..).rev() {
            let body = core.registry.slot(object).and_then(|slot| bodies.get_mut(slot));
            match (body, undo) {
                (Some(Body::Value(value)), Undo::Value(old)) => value.undo(old, core),
                (Some(Body::Event(event)), Undo::Event(was_set)) => event.undo(was_set),
                (Some(Body::Queue(queue)), Undo::Queue(undo)) => queue.undo(undo, core),
                (Some(Body::JoinableQueue(queue)), Undo::JoinableQueue(undo)) => queue.undo(undo, core),
                (Some(Body::Array(array)), Undo::Array(undo)) => array.undo(undo, core),
                (Some(Body::Dict(dict)), Undo::Dict(undo)) => dict.undo(undo, core),
                (Some(Body::List(list)), Undo::List(undo)) => list.undo(undo, core),
                (Some(Body::Namespace(names)), Undo::Namespace(undo)) => names.undo(undo, core),
                // Nothing else notes this, and no object ends before the end of the transaction.
                _ => tracing::error!(%object, "a change of another object could not be taken back"),
            }
        }
        self.given.drain(..).for_each(|(client, object)| core.take_reference(client, object));
    }
}
