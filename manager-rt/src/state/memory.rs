//! The memory that values take, and the references inside them.
//!
//! A stored value has one reference to each object whose proxy is inside, until it is released. A client receives a
//! copy, which has its own references. The bytes of a value are charged until nothing uses them any more, neither an
//! object nor an answer. Its place in a container is charged with the container.

use bytes::Bytes;

use crate::account::Full;
use crate::limits::{UNSENT_BYTES_LEAST, UNSENT_BYTES_MAX, VALUE_BYTES_MAX, VALUE_OBJECTS_MAX};
use crate::proto::{Answer, Fault, ObjectId, Payload, Raw, Reply, Room};
use crate::state::charges::{REFERENCE_BYTES, Retired};
use crate::state::context::Core;
use crate::state::step::ClientId;
use crate::state::work::{INSIDE, REFERENCE, VALUE};

/// Up to how many values, or references inside a value, are released at once and not step by step.
const LET_GO_AT_ONCE: usize = 64;
/// The bytes of memory that are freed with one unit of work.
const PAGE_BYTES: usize = 4 << 10;

impl Core {
    /// Returns how many bytes are charged.
    pub(super) fn memory_used(&self) -> usize {
        self.memory.account.used()
    }

    /// Stores a value in the manager's memory, and counts its references and bytes. A long value may keep the frame.
    pub(super) fn keep(&mut self, raw: Raw<'_>, frame: &Bytes) -> Result<Payload, Fault> {
        self.work.charge(VALUE);
        self.work.check()?;
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
            self.work.charge(INSIDE);
            if !self.registry.retain(object, 1) {
                payload.raw().objects().take(done).for_each(|object| self.registry.release(object, 1));
                return Err(Fault::UnknownObject);
            }
        }
        Ok(())
    }

    /// Releases a stored value. If it refers to many objects, that happens step by step.
    pub(super) fn let_go(&mut self, payload: Payload) {
        if !payload.is_plain()
            && payload.raw().ids.len() > LET_GO_AT_ONCE.saturating_mul(size_of::<ObjectId>())
        {
            self.retire(std::iter::once(payload), 0);
        } else {
            self.let_go_now(payload);
        }
    }

    /// Releases several stored values. If they are many, that happens step by step.
    pub(super) fn let_go_all(&mut self, payloads: Vec<Payload>) {
        if payloads.len() > LET_GO_AT_ONCE {
            let bytes = payloads.capacity().saturating_mul(size_of::<Payload>());
            self.retire(payloads.into_iter(), bytes);
        } else {
            payloads.into_iter().for_each(|payload| self.let_go(payload));
        }
    }

    fn let_go_now(&mut self, payload: Payload) {
        if !payload.is_plain() {
            let objects = payload.raw().objects();
            objects.for_each(|object| self.registry.release(object, 1));
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
        self.work.charge(REFERENCE);
        if !self.registry.retain(object, 1) {
            return false;
        }
        // One more of what it has already needs no memory.
        if to.add_reference(object)
            && let Err(full) = to.share().check_records(0)
        {
            self.memory.overdrawn = Some(Full { asked: REFERENCE_BYTES, ..full });
        }
        true
    }

    /// Takes back a reference of an answer that is not sent.
    pub(super) fn take_reference(&mut self, client: ClientId, object: ObjectId) {
        let Some(client) = self.clients.get_mut(client) else { return };
        let (dropped, _) = client.drop_references(object, 1);
        self.registry.release(object, dropped);
    }

    /// Checks whether a client may have records of this many bytes more.
    pub(super) fn check_records(&self, client: ClientId, bytes: usize) -> Result<(), Fault> {
        let client = self.clients.get(client).ok_or(Fault::Unauthorised)?;
        Ok(client.share().check_records(bytes)?)
    }

    /// Checks whether a client may have something of this many bytes at once, beside what it has.
    pub(super) fn check_bulk(&self, client: ClientId, bytes: usize) -> Result<(), Fault> {
        let client = self.clients.get(client).ok_or(Fault::Unauthorised)?;
        Ok(client.share().check_bulk(0, bytes)?)
    }

    /// Returns for how many bytes of items a client has room in the present transaction.
    pub(super) fn bulk_room(&self, client: ClientId) -> usize {
        self.clients.get(client).map_or(0, |client| client.share().bulk_room(self.memory.taken))
    }

    /// Checks whether a client may take these items out of a queue, in the present transaction.
    pub(super) fn check_items(&mut self, client: ClientId, items: &[Payload]) -> Result<(), Fault> {
        let client = self.clients.get(client).ok_or(Fault::Unauthorised)?;
        let bytes = client.check_items(self.memory.taken, items)?;
        self.memory.taken = self.memory.taken.saturating_add(bytes);
        Ok(())
    }

    /// Checks whether there is memory for an answer until its client has read it. If not, the operation is undone. Short
    /// answers are always admitted, so that a full manager still answers.
    #[inline]
    pub(super) fn admit(&self, client: ClientId, reply: Reply<Payload>) -> Answer<Payload> {
        self.check_answer(client, reply.memory())?;
        Ok(reply)
    }

    /// Checks whether there is memory for an answer of this many bytes.
    pub(super) fn check_answer(&self, client: ClientId, bytes: usize) -> Result<(), Fault> {
        if bytes <= UNSENT_BYTES_LEAST {
            return Ok(());
        }
        let client = self.clients.get(client).ok_or(Fault::Unauthorised)?;
        client.share().check_bulk(0, bytes)?;
        let (account, answers) = (&self.memory.account, &self.memory.answers);
        // If only other answers leave no room for it, the server disconnects the clients that have left the most unread.
        let room = account.limit().saturating_add(account.reserve()).saturating_add(answers.used());
        account.check_up_to(Room::Reserve, room, bytes)?;
        if bytes > UNSENT_BYTES_MAX {
            // This client would be the one.
            answers.check_up_to(Room::Answers, answers.limit().saturating_mul(2), bytes)?;
        }
        Ok(())
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
        self.retire_of(values, bytes, Vec::new());
    }

    /// Like [`retire`](Self::retire), for values that count in the shares of these clients.
    pub(super) fn retire_of(
        &mut self,
        values: impl Iterator<Item = Payload> + Send + 'static,
        bytes: usize,
        holders: Vec<ClientId>,
    ) {
        let charge = self.memory.account.charge(bytes);
        self.memory.retired.push(Retired { values: Box::new(values), _container: charge, holders });
    }

    /// Returns `true` if something is left for later steps.
    pub(super) fn has_backlog(&self) -> bool {
        self.work.has_more()
            || !self.memory.retired.is_empty()
            || self.registry.has_unreferenced()
            || self.may_any_go_on()
    }

    /// Releases retired values as far as the step allows.
    pub(super) fn bury(&mut self) {
        while let Some(mut retired) = self.memory.retired.pop() {
            loop {
                if self.work.is_over() {
                    self.memory.retired.push(retired);
                    return;
                }
                let Some(value) = retired.values.next() else { break };
                let references = value.raw().objects().count();
                // The system takes the memory of a long value back page by page.
                let pages = value.raw().bytes.len() / PAGE_BYTES;
                let units = references.saturating_mul(REFERENCE).saturating_add(pages);
                self.work.charge(units.saturating_add(VALUE));
                self.let_go_now(value);
            }
            let Retired { values, holders, .. } = retired;
            drop(values);
            holders.into_iter().for_each(|holder| self.may_have_room(holder));
        }
    }
}
