//! [`Kept`]: the objects of a batch, which live until its operations are sent.
//!
//! The closure of a batch may drop a proxy after it has recorded an operation on it, or on a container of it. The reference
//! would be released at once, over the same connection, and so before the operation arrives. So the batch has a
//! reference of its own to each object. It is only counted in this process, since the process has one already.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::backend::Backend;
use crate::proto::ObjectId;

/// References to the objects that a batch concerns.
pub(super) struct Kept<'b> {
    backend: &'b Arc<dyn Backend>,
    /// The newest of them: operations that follow one another often have the same object.
    newest: Option<ObjectId>,
    objects: HashSet<ObjectId>,
}

impl<'b> Kept<'b> {
    pub(super) fn of(backend: &'b Arc<dyn Backend>) -> Self {
        Self { backend, newest: None, objects: HashSet::new() }
    }

    /// Keeps an object of which this process has a proxy.
    #[inline]
    pub(super) fn keep(&mut self, object: ObjectId) {
        if self.newest != Some(object) {
            self.keep_another(object);
        }
    }

    fn keep_another(&mut self, object: ObjectId) {
        self.newest = Some(object);
        if !self.objects.contains(&object) && self.backend.attach(object).is_ok() {
            self.objects.insert(object);
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.objects.drain().for_each(|object| self.backend.detach(object));
    }
}
