//! Operations of the manager that concern very many objects, in steps.
//!
//! A client may name 65,536 objects in one request, may have millions of references when it forks, may say that it has read the items
//! of hundreds of transactions, and, if it is of version 3 of the protocol, asks for all names at once. Such an operation
//! begins in the step of its call. If it takes longer, [`tidy`](State::tidy) continues it, and other clients have their
//! turns in between. Its own client has none until it is finished, so that its calls take effect in their order. If the
//! client ends meanwhile, what concerns others is finished first: transits, bequests, references that linger, and items that it has
//! read, which others must not get.

use std::ops::RangeInclusive;

use crate::account::charged;
use crate::count::count_of;
use crate::limits::{PAGE_BYTES, VALUE_BYTES_MAX};
use crate::proto::{Answer, Fault, ObjectId, Payload, Reply};
use crate::state::clients::Client;
use crate::state::context::{Core, DONE, Outcome};
use crate::state::step::ClientId;
use crate::state::unfinished::{Listing, NAME_OVERHEAD_BYTES, Rest, Unfinished};
use crate::state::work::{ENTRY, Ending, REFERENCE, VALUE};
use crate::state::{Caller, State};

/// Of how many objects of a client one look takes note.
const OBJECTS_PER_LOOK: usize = 64;
/// How many names one look encodes.
const NAMES_PER_LOOK: usize = 64;
/// The work of encoding a name.
const NAME: usize = 8;

impl State {
    /// Runs an operation as far as the step allows, and leaves the rest for later steps.
    pub(super) fn run_in_steps(&mut self, caller: Caller<'_>, mut rest: Rest) -> Outcome {
        if let Some(answer) = self.advance_rest(caller.client, None, &mut rest) {
            return Outcome::Answer(match (answer, rest) {
                (Ok(_), Rest::Names(listing)) => Ok(Reply::Names(listing.names.decode())),
                (answer, _) => answer,
            });
        }
        let charge = self.core.memory.account.charge(rest.bytes());
        let Some(client) = self.core.clients.get_mut(caller.client) else {
            return Outcome::Answer(Err(Fault::Unauthorised));
        };
        client.unfinished = Some(Box::new(Unfinished { call: Some(caller.call), rest, _charge: charge }));
        self.core.work.unfinished.push_back(caller.client);
        Outcome::Parked
    }

    /// Returns `true` if an earlier operation of a client is not finished.
    #[inline]
    pub(super) fn is_unfinished(&self, client: ClientId) -> bool {
        !self.core.work.unfinished.is_empty() && self.core.clients.is_unfinished(client)
    }

    /// Continues with the operations that are not finished, as far as the step allows.
    pub(super) fn continue_unfinished(&mut self) {
        while !self.core.work.is_over()
            && let Some(id) = self.core.work.unfinished.pop_front()
        {
            // One that has ended has taken its operation along.
            let Some(client) = self.core.clients.get_mut(id) else { continue };
            let Some(mut unfinished) = client.unfinished.take() else { continue };
            match self.advance_rest(id, None, &mut unfinished.rest) {
                None => {
                    if let Some(client) = self.core.clients.get_mut(id) {
                        client.unfinished = Some(unfinished);
                        self.core.work.unfinished.push_back(id);
                    }
                }
                Some(answer) => {
                    let Some(call) = unfinished.call else { continue };
                    match (answer, unfinished.rest) {
                        (Ok(_), Rest::Names(listing)) => self.core.answer_names(id, call, listing.names),
                        (answer, _) => self.core.answer(id, call, answer),
                    }
                }
            }
        }
    }

    /// Finishes what concerns others of the operation of a client that has ended. Returns `false` if the step does not
    /// allow all of that.
    pub(super) fn finish_for_others(&mut self, Ending { id, client, .. }: &mut Ending) -> bool {
        let Some(mut unfinished) = client.unfinished.take() else { return true };
        let is_done = match &mut unfinished.rest {
            // Its references end with it, and nobody reads its answers.
            Rest::Attach { .. } | Rest::TakeBack { .. } | Rest::Names(_) => true,
            rest => self.advance_rest(*id, Some(client), rest).is_some(),
        };
        if !is_done {
            client.unfinished = Some(unfinished);
        }
        is_done
    }

    /// Continues an operation of a client, which may have `ended`, and returns the answer once it is finished.
    fn advance_rest(
        &mut self,
        id: ClientId,
        ended: Option<&mut Client>,
        rest: &mut Rest,
    ) -> Option<Answer<Payload>> {
        match rest {
            Rest::Attach { objects, done } => {
                while let Some(object) = objects.get(*done).copied() {
                    if self.core.work.is_over() {
                        return None;
                    }
                    if !self.core.refer(id, object) {
                        *rest = Rest::TakeBack { left: *done, objects: std::mem::take(objects) };
                        return self.advance_rest(id, ended, rest);
                    }
                    *done = done.saturating_add(1);
                }
                Some(DONE)
            }
            Rest::TakeBack { objects, left } => {
                while let Some(last) = left.checked_sub(1) {
                    if self.core.work.is_over() {
                        return None;
                    }
                    self.core.work.charge(REFERENCE);
                    objects.get(last).into_iter().for_each(|object| self.core.take_reference(id, *object));
                    *left = last;
                }
                Some(Err(Fault::UnknownObject))
            }
            Rest::Detach { references, lingers } => self.detach_some(id, ended, references, *lingers),
            Rest::Transit(objects) => {
                while !objects.as_slice().is_empty() && !self.core.work.is_over() {
                    self.core.work.charge(REFERENCE);
                    objects.next().into_iter().for_each(|object| self.hold_in_transit(object));
                }
                objects.as_slice().is_empty().then_some(DONE)
            }
            Rest::Bequeath { heirs, after } => self.bequeath_some((id, ended), *heirs, after),
            Rest::Taken(calls) => {
                let is_done = self.forget_some(id, ended, calls);
                self.core.may_have_room(id);
                is_done.then_some(DONE)
            }
            Rest::Names(listing) => self.list_some(id, listing),
        }
    }

    /// Encodes some of the names. They are encoded here and not with the answer, which would take as long again.
    /// The pages are unread answers of the client from the beginning.
    fn list_some(&mut self, id: ClientId, listing: &mut Listing) -> Option<Answer<Payload>> {
        let Core { registry, work, memory, clients, .. } = &mut self.core;
        let Some(share) = clients.get(id).map(Client::share) else {
            return Some(Err(Fault::Unauthorised));
        };
        loop {
            if work.is_over() {
                return None;
            }
            work.charge(ENTRY);
            let before = listing.names.count;
            // No name is empty, so all of them come after the empty one.
            let mut newest = None;
            for name in registry.names_after(&listing.last).take(NAMES_PER_LOOK) {
                work.charge(NAME);
                listing.names.count = listing.names.count.saturating_add(1);
                listing.bytes = listing.bytes.saturating_add(name.len()).saturating_add(NAME_OVERHEAD_BYTES);
                listing.page.extend(postcard::to_allocvec(name).unwrap_or_default());
                newest = Some(name);
            }
            if listing.bytes > VALUE_BYTES_MAX {
                return Some(Err(Fault::TooLarge { limit: count_of(VALUE_BYTES_MAX) }));
            }
            let is_last = listing.names.count == before;
            if is_last || listing.page.len() >= PAGE_BYTES {
                let mut page = std::mem::take(&mut listing.page);
                page.shrink_to_fit();
                let room = memory.account.check(page.len()).and_then(|()| share.check_bulk(0, page.len()));
                if let Err(full) = room {
                    return Some(Err(full.into()));
                }
                let bytes = page.capacity();
                let charges = (memory.answers.charge(bytes), share.charge_bulk(bytes));
                listing.names.pages.push(charged(page, charges));
            }
            if is_last {
                return Some(DONE);
            }
            listing.last = newest.map(str::to_owned).unwrap_or_default();
        }
    }

    /// Returns `true` once nothing of the calls is left.
    fn forget_some(
        &mut self,
        id: ClientId,
        ended: Option<&mut Client>,
        calls: &mut RangeInclusive<u64>,
    ) -> bool {
        let Core { clients, work, .. } = &mut self.core;
        let Some(client) = ended.or_else(|| clients.get_mut(id)) else { return true };
        while !calls.is_empty() {
            if work.is_over() {
                return false;
            }
            let call = *calls.start();
            let answer = client.delivered_to(call);
            if let Some(delivery) = answer.and_then(|answer| client.take_delivery(call, answer)) {
                work.charge(ENTRY.saturating_add(delivery.items.len().saturating_mul(VALUE)));
            } else {
                work.charge(REFERENCE);
                calls.next();
            }
        }
        true
    }

    fn detach_some(
        &mut self,
        id: ClientId,
        mut ended: Option<&mut Client>,
        references: &mut std::vec::IntoIter<(ObjectId, u64)>,
        lingers: bool,
    ) -> Option<Answer<Payload>> {
        while !references.as_slice().is_empty() {
            if self.core.work.is_over() {
                return None;
            }
            self.core.work.charge(REFERENCE);
            let Some((object, count)) = references.next() else { break };
            if lingers {
                self.hold_in_transit(object);
            }
            let client = match &mut ended {
                Some(ended) => Some(&mut **ended),
                None => self.core.clients.get_mut(id),
            };
            let Some(client) = client else { break };
            let (dropped, is_last) = client.drop_references(object, count);
            if is_last && let Some(body) = self.body(object) {
                body.client_detached(id);
            }
            self.core.registry.release(object, dropped);
        }
        Some(DONE)
    }

    fn bequeath_some(
        &mut self,
        (id, mut ended): (ClientId, Option<&mut Client>),
        heirs: ClientId,
        after: &mut Option<ObjectId>,
    ) -> Option<Answer<Payload>> {
        // The heirs may have ended already.
        while self.core.clients.contains(heirs) {
            if self.core.work.is_over() {
                return None;
            }
            let client = match &mut ended {
                Some(ended) => Some(&**ended),
                None => self.core.clients.get_mut(id).map(|client| &*client),
            };
            let some: Vec<_> = client
                .into_iter()
                .flat_map(|client| client.objects_after(*after))
                .take(OBJECTS_PER_LOOK)
                .collect();
            let Some(last) = some.last() else { break };
            *after = Some(*last);
            for object in some {
                self.core.refer(heirs, object);
            }
        }
        Some(DONE)
    }
}
