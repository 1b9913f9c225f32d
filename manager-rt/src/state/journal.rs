//! The changes since the last commit, and how to undo them.
//!
//! Each change is noted with what it replaced. The commit releases that: its memory becomes free, and the objects that
//! it referred to lose a reference. If the transaction fails, the notes are applied in reverse order, and the objects
//! are as they were before. A single operation is a transaction of one.

use crate::proto::ObjectId;
use crate::proto::Payload;
use crate::state::array::ArrayUndo;
use crate::state::context::Core;
use crate::state::dict::DictUndo;
use crate::state::joinable_queue::TaskUndo;
use crate::state::kinds::{Bodies, Body};
use crate::state::list::ListUndo;
use crate::state::namespace::NamespaceUndo;
use crate::state::queue::QueueUndo;
use crate::state::step::ClientId;

/// How to undo one change of an object.
#[derive(Debug)]
pub(super) enum Undo {
    /// The previous value.
    Value(Payload),
    /// Whether an event was set.
    Event(bool),
    /// The previous items of a queue.
    Queue(QueueUndo),
    /// The previous tasks of a queue of tasks.
    JoinableQueue(TaskUndo),
    /// The previous elements of an array.
    Array(ArrayUndo),
    /// The previous entries of a dict.
    Dict(DictUndo),
    /// The previous items of a list.
    List(ListUndo),
    /// The previous attributes of a namespace.
    Namespace(NamespaceUndo),
}

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

/// The changes since the last commit, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    notes: Vec<(ObjectId, Undo)>,
    /// References that a client gets with the values in its answer.
    given: Vec<(ClientId, ObjectId)>,
}

impl Journal {
    #[inline]
    pub(super) fn push(&mut self, object: ObjectId, undo: Undo) {
        self.notes.push((object, undo));
    }

    /// Notes a reference that a client gets with its answer, but not if the answer is an error.
    pub(super) fn give(&mut self, client: ClientId, object: ObjectId) {
        self.given.push((client, object));
    }

    /// Commits all changes.
    #[inline]
    pub(super) fn commit(&mut self, core: &mut Core) {
        self.notes.drain(..).for_each(|(object, undo)| undo.commit(object, core));
        self.given.clear();
    }

    /// Undoes all changes.
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
                // No other kind makes this note, and no object ends before the end of the transaction.
                _ => tracing::error!(%object, "a change of another kind could not be undone"),
            }
        }
        self.given.drain(..).for_each(|(client, object)| core.take_reference(client, object));
    }
}
