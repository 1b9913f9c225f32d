//! What another engine beside this one needs to know: see [`Mixed`](crate::engine::Mixed).

use super::RabbitMq;
use super::line::{Pace, now};
use crate::backend::{Backend, CallError};
use crate::count::count_of;
use crate::proto::{ObjectId, Payload};

impl RabbitMq {
    /// Returns the number of the queue with a name, whether it exists or not.
    pub(in crate::engine) fn id_of(name: &str) -> ObjectId {
        ObjectId(super::id_of(name))
    }

    /// Finds out whether a queue exists.
    ///
    /// # Errors
    /// [`CallError`]; [`Fault::UnknownObject`](crate::proto::Fault::UnknownObject) if it does not.
    pub(in crate::engine) fn find(&self, object: ObjectId) -> Result<(), CallError> {
        self.process().forget(object);
        self.attach(object)
    }

    /// Returns so many bytes of each failed task of a queue.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn heads_of_failed(
        &self,
        object: ObjectId,
        bytes: usize,
    ) -> Result<Vec<Payload>, CallError> {
        let definition = self.definition(object)?;
        now(self.failed_heads(&definition, count_of(bytes), Pace::Blocks))
    }

    /// Returns how often a task of a queue may be delivered.
    ///
    /// # Errors
    /// [`CallError`].
    pub(in crate::engine) fn deliveries_max(&self, object: ObjectId) -> Result<u32, CallError> {
        Ok(self.definition(object)?.max_deliveries)
    }
}
