//! The changes since the last commit, and how to undo them.
//!
//! Each change is noted with what it replaced. The commit releases that: its memory becomes free, and the objects that
//! it referred to lose a reference. If the transaction fails, the notes are applied in reverse order, and the objects
//! are as they were before. A single operation is a transaction of one.

use crate::proto::ObjectId;
use crate::state::step::ClientId;
use crate::state::undo::Undo;

/// The memory for at most this many notes is kept between two transactions.
const NOTES_KEPT_MAX: usize = 1_024;

/// The changes since the last commit, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) notes: Vec<(ObjectId, Undo)>,
    /// References that a client gets with the values in its answer.
    pub(super) given: Vec<(ClientId, ObjectId)>,
}

impl Journal {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.given.is_empty()
    }

    #[inline]
    pub(super) fn push(&mut self, object: ObjectId, undo: Undo) {
        self.notes.push((object, undo));
    }

    /// Gives up the memory that a large transaction needed.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.notes.capacity() > NOTES_KEPT_MAX {
            self.notes = Vec::new();
        }
        if self.given.capacity() > NOTES_KEPT_MAX {
            self.given = Vec::new();
        }
    }

    /// Notes a reference that a client gets with its answer, but not if the answer is an error.
    pub(super) fn give(&mut self, client: ClientId, object: ObjectId) {
        self.given.push((client, object));
    }
}
