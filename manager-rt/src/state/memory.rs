//! The memory that values take, and the references inside them.
//!
//! A stored value has one reference to each object whose proxy is inside, until it is released. A client receives a
//! copy, which has its own references. The bytes of a value are charged until nothing uses them any more, neither an
//! object nor an answer. Its place in a container is charged with the container.

use bytes::Bytes;

use crate::limits::{VALUE_BYTES_MAX, VALUE_OBJECTS_MAX};
use crate::proto::{Fault, ObjectId, Payload, Raw};
use crate::state::charges::Retired;
use crate::state::context::Core;
use crate::state::step::ClientId;

/// How many values of removed containers are released in one step.
pub(super) const BURIED_AT_ONCE: usize = 512;

impl Core {
    /// Returns how many bytes are charged.
    pub(super) fn memory_used(&self) -> usize {
        self.memory.account.used()
    }

    /// Stores a value in the manager's memory, and counts its references and bytes. A long value may keep the frame.
    pub(super) fn keep(&mut self, raw: Raw<'_>, frame: &Bytes) -> Result<Payload, Fault> {
        if raw.bytes.len() > VALUE_BYTES_MAX || raw.objects().nth(VALUE_OBJECTS_MAX).is_some() {
            return Err(Fault::TooLarge { limit: VALUE_BYTES_MAX.try_into().unwrap_or(u64::MAX) });
        }
        let payload = Payload::charged(raw, frame, &self.memory.account)?;
        if !payload.is_plain() {
            self.retain_inside(&payload)?;
        }
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
        if !payload.is_plain() {
            payload.raw().objects().for_each(|object| self.registry.release(object, 1));
        }
    }

    /// Like [`keep`](Self::keep), for a value that was stored before and comes back. This is never refused. An object
    /// that the value refers to may have ended meanwhile; as ids are never reused, releasing such a reference does
    /// nothing.
    pub(super) fn keep_again(&mut self, payload: Payload) -> Payload {
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
        self.memory.is_overdrawn |= self.memory.account.check_reserve(0).is_err();
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

    /// Releases many values, now or step by step. Their container takes this many bytes until then.
    pub(super) fn retire(&mut self, values: impl Iterator<Item = Payload> + Send + 'static, bytes: usize) {
        let charge = self.memory.account.charge(bytes);
        self.memory.retired.push(Retired { values: Box::new(values), _container: charge });
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.memory.retired.is_empty()
    }

    /// Releases at most `left` of the retired values.
    pub(super) fn bury(&mut self, left: &mut usize) {
        while let Some(mut retired) = self.memory.retired.pop() {
            loop {
                if *left == 0 {
                    self.memory.retired.push(retired);
                    return;
                }
                *left = left.saturating_sub(1);
                match retired.values.next() {
                    Some(value) => self.let_go(value),
                    None => break,
                }
            }
        }
    }
}
