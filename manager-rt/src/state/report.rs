//! Operations of the manager that report what it knows, page by page.
//!
//! A page is short, so that even a manager without memory answers, and a turn is short, too: a page ends with the step, whether
//! it found something or not, and the answer says where the next one begins. What exists while all pages are fetched is in
//! one of them, and what is made or removed meanwhile may be.

use std::time::Duration;

use mp_sys::stream::own_process;

use crate::count::{count_of, index_of};
use crate::limits::UNSENT_BYTES_LEAST;
use crate::proto::report::{
    ClientOrigin, ClientReport, ObjectReport, Paged, ServerReport, WaitFor, WaitReport,
};
use crate::proto::{Answer, Fault, ManagerOp, Payload, Raw, Reply};
use crate::state::State;
use crate::state::clients::{Activity, Client};
use crate::state::context::Core;
use crate::state::kinds::Body;
use crate::state::manager::OBJECT_BYTES;
use crate::state::registry::{Entry, name_bytes};
use crate::state::step::{Changes, ClientId};
use crate::state::waiters::{Waiter, WaiterId, Want};

/// The work of looking at a place that adds nothing to the page.
const LOOK: usize = 4;
/// The work of reporting one thing, apart from the values at which it looks.
const REPORT: usize = 32;

/// A page of a report.
struct Sheet<T> {
    items: Vec<T>,
    /// The bytes that are left. An answer of up to [`UNSENT_BYTES_LEAST`] is never refused.
    room: usize,
}

impl<T: Paged> Sheet<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), room: UNSENT_BYTES_LEAST.saturating_sub(PAGE_HEAD_BYTES) }
    }

    /// Adds an item, or returns `false` if there is no room for it. The first one has room.
    fn add(&mut self, item: T) -> bool {
        let bytes = item.memory();
        let has_room = bytes <= self.room || self.items.is_empty();
        if has_room {
            self.room = self.room.saturating_sub(bytes);
            self.items.push(item);
        }
        has_room
    }
}

/// What an answer takes besides its items, in bytes.
const PAGE_HEAD_BYTES: usize = 256;

impl State {
    /// Notes where a client is, and that it connected now.
    pub(crate) fn introduce(&mut self, client: ClientId, origin: ClientOrigin, now: u64) {
        self.core.reach(now);
        if let Some(client) = self.core.clients.get_mut(client) {
            (client.origin, client.since) = (origin, now);
        }
    }

    /// Notes that the manager begins to serve now.
    pub(crate) const fn begins(&mut self, now: u64) {
        self.core.reach(now);
        self.core.started = now;
    }

    /// Returns what differs if anything has changed that a snapshot contains.
    pub(crate) const fn changes(&self) -> Changes {
        Changes { operations: self.core.operations, endings: self.endings_begun }
    }

    /// Returns what a client has done so far.
    pub(crate) fn activity_of(&self, client: ClientId) -> Activity {
        self.core.clients.get(client).map_or(Activity::None, Client::activity)
    }

    /// Runs an operation that reports something.
    pub(super) fn report(&mut self, op: &ManagerOp<Raw<'_>>) -> Answer<Payload> {
        Ok(match op {
            ManagerOp::Clients { from } => self.clients_from(index_of(*from)),
            ManagerOp::Objects { from, is_busy } => self.objects_from(index_of(*from), *is_busy),
            ManagerOp::Object { name } => self.object_named(name)?,
            ManagerOp::Waits { after } => self.waits_after(WaiterId(*after)),
            _ => Reply::Server(Box::new(self.server())),
        })
    }

    fn server(&self) -> ServerReport {
        let info = self.info();
        ServerReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: own_process(),
            uptime: Duration::from_nanos(self.core.now().saturating_sub(self.core.started)),
            memory_used: info.bytes,
            memory_max: count_of(self.core.limits.memory_bytes),
            clients: info.clients,
            clients_max: count_of(self.core.limits.clients),
            objects: info.objects,
            waiters: info.waiters,
            held: info.held,
            operations: self.core.operations,
            failed_saves: self.snapshots.failed_saves,
            last_save: self
                .snapshots
                .last_save
                .map(|at| Duration::from_nanos(self.core.now().saturating_sub(at))),
        }
    }

    fn clients_from(&mut self, from: usize) -> Reply<Payload> {
        let mut page = Sheet::new();
        let end = self.core.clients.slots();
        for slot in from..end {
            if let Some(client) = self.core.clients.in_slot(slot) {
                if !page.add(report_of_client(client, self.core.now())) {
                    return Reply::Clients { clients: page.items, next: Some(count_of(slot)) };
                }
                self.core.work.charge(REPORT);
            }
            self.core.work.charge(LOOK);
            let next = slot.saturating_add(1);
            if self.core.work.is_over() && next < end {
                return Reply::Clients { clients: page.items, next: Some(count_of(next)) };
            }
        }
        Reply::Clients { clients: page.items, next: None }
    }

    fn objects_from(&mut self, from: usize, is_busy: bool) -> Reply<Payload> {
        let mut page = Sheet::new();
        let end = self.core.registry.slots();
        for slot in from..end {
            if let Some((object, seen)) = self.object_in(slot, is_busy) {
                if !page.add(object) {
                    return Reply::Objects { objects: page.items, next: Some(count_of(slot)) };
                }
                self.core.work.charge(REPORT.saturating_add(seen));
            }
            self.core.work.charge(LOOK);
            let next = slot.saturating_add(1);
            if self.core.work.is_over() && next < end {
                return Reply::Objects { objects: page.items, next: Some(count_of(next)) };
            }
        }
        Reply::Objects { objects: page.items, next: None }
    }

    fn object_named(&self, name: &str) -> Answer<Payload> {
        let id = self.core.registry.named(name).ok_or(Fault::UnknownName)?;
        let slot = self.core.registry.slot(id).ok_or(Fault::UnknownObject)?;
        let object = self.object_in(slot, false).map(|(object, _)| object);
        Ok(Reply::Objects { objects: object.into_iter().collect(), next: None })
    }

    /// Reports the object in a slot, if there is one, and returns at how many values that took a look.
    fn object_in(&self, slot: usize, is_busy: bool) -> Option<(ObjectReport, usize)> {
        let body = self.bodies.get(slot).filter(|body| !is_busy || body.is_busy())?;
        let Entry { id, kind, print, references, ref name, .. } = *self.core.registry.in_slot(slot)?;
        let size = body.size();
        let place = OBJECT_BYTES.saturating_add(name.as_deref().map_or(0, name_bytes));
        let report = ObjectReport {
            id,
            kind,
            print,
            name: name.as_deref().map(str::to_owned),
            len: body.len(),
            bytes: size.bytes.saturating_add(count_of(place)),
            is_estimate: size.is_estimate,
            references,
            waiters: count_of(body.waiting()),
            held: body.held(),
            holder: body.holder(self.core.now()),
        };
        Some((report, size.seen))
    }

    fn waits_after(&mut self, after: WaiterId) -> Reply<Payload> {
        let (mut page, mut last) = (Sheet::new(), after);
        let now = self.core.now();
        let Core { waiters, clients, work, registry, .. } = &mut self.core;
        for (id, waiter) in waiters.after(after) {
            // At least one is looked at, however short the step is.
            if work.is_over() && last != after {
                return Reply::Waits { waits: page.items, next: Some(last.0) };
            }
            work.charge(LOOK);
            let slot = registry.slot(waiter.object);
            // One of a client that has ended leaves its line soon.
            if clients.contains(waiter.client)
                && let Some(entry) = registry.entry(waiter.object)
                && let Some(body) = slot.and_then(|slot| self.bodies.get(slot))
            {
                work.charge(REPORT);
                if !page.add(report_of_wait((id, waiter), (entry, body), now)) {
                    return Reply::Waits { waits: page.items, next: Some(last.0) };
                }
            }
            last = id;
        }
        Reply::Waits { waits: page.items, next: None }
    }
}

fn report_of_client(client: &Client, now: u64) -> ClientReport {
    ClientReport {
        number: client.serial,
        origin: client.origin.clone(),
        connected_for: Duration::from_nanos(now.saturating_sub(client.since)),
        operations: client.operations(),
        waiting: count_of(client.waiting()),
        references: count_of(client.references()),
        bytes: count_of(client.share().bytes()),
    }
}

fn report_of_wait((id, waiter): (WaiterId, &Waiter), (entry, body): (&Entry, &Body), now: u64) -> WaitReport {
    let wait_for = match waiter.want {
        Want::Lock(_) => WaitFor::Lock,
        Want::Permit { .. } => WaitFor::Permit,
        Want::Notification { .. } => WaitFor::Notification,
        Want::Flag => WaitFor::Flag,
        Want::Room(_) => WaitFor::Room,
        Want::Items(_) => WaitFor::Items,
        Want::AllDone => WaitFor::AllDone,
        Want::Parties { .. } => WaitFor::Parties,
    };
    let left = waiter.deadline.map(|deadline| deadline.saturating_sub(now));
    WaitReport {
        number: id.0,
        client: waiter.client.serial(),
        thread: waiter.thread,
        object: waiter.object,
        kind: entry.kind,
        name: entry.name.as_deref().map(str::to_owned),
        wait_for,
        waited: Duration::from_nanos(now.saturating_sub(waiter.since)),
        time_left: left.map(Duration::from_nanos),
        holder: body.holder(now),
    }
}
