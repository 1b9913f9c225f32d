//! The memory that values take, and the references inside them.
//!
//! A value is counted from when it is stored until it is released: its bytes, and one reference to each object whose
//! proxy is inside. A client receives a copy, which has its own references.

use crate::limits::{VALUE_BYTES_MAX, VALUE_OBJECTS_MAX};
use crate::proto::{Fault, ObjectId, Payload};
use crate::state::context::Core;
use crate::state::step::ClientId;

/// The approximate overhead of a stored value in addition to its own weight, in bytes: its share of the container.
const ENTRY_BYTES: usize = 16;
/// How many values of removed containers are released in one step.
pub(super) const BURIED_AT_ONCE: usize = 512;

impl Core {
    pub(super) const fn memory_used(&self) -> usize {
        self.memory.used
    }

    /// Stores a value in the manager's memory, and counts its references and bytes.
    pub(super) fn keep(&mut self, payload: Payload) -> Result<Payload, Fault> {
        let raw = payload.raw();
        if raw.bytes.len() > VALUE_BYTES_MAX || raw.objects().nth(VALUE_OBJECTS_MAX).is_some() {
            return Err(Fault::TooLarge { limit: VALUE_BYTES_MAX.try_into().unwrap_or(u64::MAX) });
        }
        let used = self.memory.used.saturating_add(payload.weight()).saturating_add(ENTRY_BYTES);
        if used > self.limits.memory_bytes {
            return Err(Fault::NoSpace);
        }
        if !payload.is_plain() {
            self.retain_inside(&payload)?;
        }
        self.memory.used = used;
        Ok(payload)
    }

    /// Adds all references inside a value, or none.
    fn retain_inside(&mut self, payload: &Payload) -> Result<(), Fault> {
        for (done, object) in payload.raw().objects().enumerate() {
            if !self.registry.retain(object, 1) {
                payload.raw().objects().take(done).for_each(|object| self.registry.release(object, 1));
                return Err(Fault::UnknownObject);
            }
        }
        Ok(())
    }

    /// Releases a stored value.
    pub(super) fn let_go(&mut self, payload: Payload) {
        self.memory.used = self.memory.used.saturating_sub(payload.weight().saturating_add(ENTRY_BYTES));
        if !payload.is_plain() {
            payload.raw().objects().for_each(|object| self.registry.release(object, 1));
        }
    }

    /// Like [`keep`](Self::keep), for a value that was stored before and comes back. This is never refused. An object
    /// that the value refers to may have ended meanwhile; as ids are never reused, releasing such a reference does
    /// nothing.
    pub(super) fn keep_again(&mut self, payload: Payload) -> Payload {
        self.memory.used = self.memory.used.saturating_add(payload.weight()).saturating_add(ENTRY_BYTES);
        if !payload.is_plain() {
            for object in payload.raw().objects() {
                if !self.registry.retain(object, 1) {
                    tracing::debug!(%object, "an item that came back refers to an object that has ended");
                }
            }
        }
        payload
    }

    /// Copies a stored value for a client, who also gets references to the objects inside.
    #[inline]
    pub(super) fn give(&mut self, client: ClientId, payload: &Payload) -> Payload {
        if !payload.is_plain() {
            for object in payload.raw().objects() {
                self.refer(client, object);
            }
        }
        payload.clone()
    }

    /// Gives a client a reference. Returns `false` if there is no such object.
    pub(super) fn refer(&mut self, client: ClientId, object: ObjectId) -> bool {
        let Some(to) = self.clients.get_mut(client) else { return false };
        if !self.registry.retain(object, 1) {
            return false;
        }
        to.add_reference(object);
        true
    }

    /// Takes back a reference of an answer that is not sent.
    pub(super) fn take_reference(&mut self, client: ClientId, object: ObjectId) {
        let Some(client) = self.clients.get_mut(client) else { return };
        let (dropped, _) = client.drop_references(object, 1);
        self.registry.release(object, dropped);
    }

    /// Notes the items that leave a queue with the next answer, which belongs to this call, and releases them.
    pub(super) fn deliver(&mut self, client: ClientId, call: u64, queue: ObjectId, items: Vec<Payload>) {
        items.iter().for_each(|item| self.let_go(item.clone()));
        if let Some(client) = self.clients.get_mut(client) {
            client.deliver(call, queue, items);
        }
    }

    /// Releases many values, now or step by step.
    pub(super) fn retire(&mut self, values: impl Iterator<Item = Payload> + Send + 'static) {
        self.memory.retired.push(Box::new(values));
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.memory.retired.is_empty()
    }

    /// Releases at most `left` of the retired values.
    pub(super) fn bury(&mut self, left: &mut usize) {
        while let Some(mut values) = self.memory.retired.pop() {
            loop {
                if *left == 0 {
                    self.memory.retired.push(values);
                    return;
                }
                *left = left.saturating_sub(1);
                match values.next() {
                    Some(value) => self.let_go(value),
                    None => break,
                }
            }
        }
    }
}
