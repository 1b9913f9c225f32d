//! The connected clients, and what belongs to each: references, places in lines, holdings, and deliveries that it may
//! not have read yet.

mod all;
mod deliveries;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

pub(super) use self::all::Clients;
use self::deliveries::Deliveries;
use crate::account::{Charge, Full, Share};
use crate::proto::report::ClientOrigin;
use crate::proto::{ObjectId, Payload};
use crate::state::charges::{CLIENT_BYTES, HOLD_BYTES, REFERENCE_BYTES};
use crate::state::delivery::Delivery;
use crate::state::grants::{Grant, Granted, Grants};
use crate::state::unfinished::Unfinished;
use crate::state::waiters::{TIMER_BYTES, WAITER_BYTES, WaiterId};

/// How many objects that a client may hold are looked at when one is added.
const SWEPT_AT_ONCE: usize = 2;
/// What a client may hold of one object, in bytes of its share: it may have a lease, whose end is a timer.
const HOLD_SHARE_BYTES: usize = HOLD_BYTES + TIMER_BYTES;
/// A waiting call, in bytes of its client's share.
const WAITER_SHARE_BYTES: usize = WAITER_BYTES + TIMER_BYTES;
/// How many delivered items are forgotten at once, or one delivery of more.
pub(super) const FORGOTTEN_AT_ONCE: usize = 4_096;
/// What forgetting a delivery takes at least, in items.
pub(super) const FORGOTTEN_LEAST: usize = 8;

/// What a client has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nothing.
    None,
    /// It has only asked for reports, as the page of `mp-manager` does, and neither has nor waits for anything else.
    Looks,
    /// Anything else.
    Works,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) serial: u64,
    /// Whether it has the references of a bequest, and does nothing.
    is_heir: bool,
    /// Whether it is among the clients whose stalled calls are looked at.
    pub(super) is_roomier: bool,
    references: BTreeMap<ObjectId, u64>,
    /// Objects of which the client may hold something.
    holds: BTreeSet<ObjectId>,
    /// The one of them that was looked at last.
    swept: Option<ObjectId>,
    /// The client's waiting calls, and what the items take that they want to put, in bytes.
    waiters: BTreeMap<u64, (WaiterId, usize)>,
    /// Those of them that wait for room in the share, by how many bytes they need.
    stalled: BTreeSet<(usize, WaiterId)>,
    deliveries: Deliveries,
    grants: Grants,
    /// An operation that goes on in later steps.
    pub(super) unfinished: Option<Box<Unfinished>>,
    /// The number of answers so far, and of those that the client has read, as far as it has said.
    answers: u64,
    pub(super) read: u64,
    /// The number of calls so far that were answered together with another one.
    pub(super) joined: u64,
    /// The number of notices so far.
    pub(super) notices: u64,
    /// Whether it has asked for a snapshot.
    pub(super) has_asked: bool,
    /// How many operations only reported what the manager does, and how many said which client this is.
    pub(super) looks: u64,
    pub(super) introductions: u64,
    /// Where it is, and when it connected.
    pub(super) origin: ClientOrigin,
    pub(super) since: u64,
    /// What is charged to the manager: everything here but the waiting calls and the items.
    charge: Charge,
    share: Share,
    /// What is charged to the client's share.
    records: Charge,
    bulk: Charge,
}

impl Client {
    fn new(serial: u64, since: u64, charge: Charge, share: Share) -> Self {
        let (records, bulk) = (share.charge_records(CLIENT_BYTES), share.charge_bulk(0));
        Self {
            serial,
            is_heir: false,
            is_roomier: false,
            references: BTreeMap::new(),
            holds: BTreeSet::new(),
            swept: None,
            waiters: BTreeMap::new(),
            stalled: BTreeSet::new(),
            deliveries: Deliveries::default(),
            grants: Grants::default(),
            unfinished: None,
            answers: 0,
            read: 0,
            joined: 0,
            notices: 0,
            has_asked: false,
            looks: 0,
            introductions: 0,
            origin: ClientOrigin::default(),
            since,
            charge,
            share,
            records,
            bulk,
        }
    }

    /// Records that nobody waits for the answer to the operation that is not finished.
    pub(super) fn expects_no_answer(&mut self) {
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.call = None;
        }
    }

    /// Returns what the client may take.
    pub(super) const fn share(&self) -> &Share {
        &self.share
    }

    /// Checks whether the client may take these items, beside others of `more` bytes.
    pub(super) fn check_items(&self, more: usize, items: &[Payload]) -> Result<usize, Full> {
        let bytes = Delivery::bulk_of(items);
        self.share.check_bulk(more, bytes).map(|()| bytes)
    }

    /// Checks whether one more call may wait, with items of this many bytes.
    pub(super) fn check_waiter(&self, items: usize) -> Result<(), Full> {
        if items > 0 {
            self.share.check_bulk(0, items)?;
        }
        self.share.check_records(WAITER_SHARE_BYTES)
    }

    /// Charges records that change from `before` to `after` bytes.
    fn recharge(&mut self, before: usize, after: usize) {
        self.charge.replace(before, after);
        self.records.replace(before, after);
    }

    /// Returns the place of the oldest waiting call.
    pub(super) fn first_waiter(&self) -> Option<(u64, WaiterId)> {
        self.waiters.first_key_value().map(|(call, (waiter, _))| (*call, *waiter))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn waiter(&self, call: u64) -> Option<WaiterId> {
        self.waiters.get(&call).map(|(waiter, _)| *waiter)
    }

    /// Adds a waiting call that wants to put items of this many bytes.
    pub(super) fn add_waiter(&mut self, call: u64, waiter: WaiterId, items: usize) {
        if self.waiters.insert(call, (waiter, items)).is_none() {
            self.records.replace(0, WAITER_SHARE_BYTES);
            self.bulk.replace(0, items);
        }
    }

    pub(super) fn remove_waiter(&mut self, call: u64) {
        if let Some((_, items)) = self.waiters.remove(&call) {
            self.records.replace(WAITER_SHARE_BYTES, 0);
            self.bulk.replace(items, 0);
        }
    }

    /// Records that a waiting call needs this many bytes of room in the share.
    pub(super) fn stall(&mut self, waiter: WaiterId, bytes: usize) {
        self.stalled.insert((bytes, waiter));
    }

    /// Records that a call no longer waits for this many bytes of room.
    pub(super) fn go_on(&mut self, waiter: WaiterId, bytes: usize) {
        self.stalled.remove(&(bytes, waiter));
    }

    pub(super) fn has_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Returns a call that has waited for room and finds it now.
    pub(super) fn with_room(&self) -> Option<WaiterId> {
        let (bytes, waiter) = self.stalled.first().copied()?;
        self.share.check_bulk(0, bytes).is_ok().then_some(waiter)
    }

    /// Returns the first object of which the client may hold something.
    pub(super) fn first_hold(&self) -> Option<ObjectId> {
        self.holds.first().copied()
    }

    pub(super) fn remove_hold(&mut self, object: ObjectId) {
        self.holds.remove(&object);
    }

    /// Adds an object of which the client may hold something. Objects that have ended are forgotten on that occasion, so
    /// a client that takes many short-lived locks does not collect them: each addition looks at two others.
    pub(super) fn add_hold(&mut self, object: ObjectId, exists: impl Fn(ObjectId) -> bool) {
        if !self.holds.insert(object) {
            return;
        }
        self.charge.replace(0, HOLD_BYTES);
        self.records.replace(0, HOLD_SHARE_BYTES);
        for _ in 0..SWEPT_AT_ONCE {
            let from = self.swept.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.holds.range((from, Bound::Unbounded)).next().copied();
            self.swept = next;
            if let Some(object) = next.filter(|object| !exists(*object)) {
                self.holds.remove(&object);
                self.charge.replace(HOLD_BYTES, 0);
                self.records.replace(HOLD_SHARE_BYTES, 0);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.holds.len()
    }

    /// Counts from scratch what the client takes of its share: records, and bulk without items that wait for room.
    #[cfg(test)]
    pub(super) fn counted(&self) -> (usize, usize) {
        let records = CLIENT_BYTES + self.references.len() * REFERENCE_BYTES + self.grants.bytes();
        let waiting = self.waiters.len() * WAITER_SHARE_BYTES + self.holds.len() * HOLD_SHARE_BYTES;
        let bulk = self
            .deliveries
            .iter()
            .map(|delivery| delivery.bytes() + crate::state::delivery::outside_of(&delivery.items));
        (records + waiting, bulk.sum())
    }

    /// Removes and returns the references to one object.
    pub(super) fn pop_reference(&mut self) -> Option<(ObjectId, u64)> {
        self.references.pop_first()
    }

    /// Returns the number of objects to which the client has references.
    pub(super) fn references(&self) -> usize {
        self.references.len()
    }

    /// Returns how many operations of the client were finished.
    pub(super) const fn operations(&self) -> u64 {
        self.answers.wrapping_add(self.joined).wrapping_add(self.notices)
    }

    /// Returns what the client has done so far.
    pub(super) fn activity(&self) -> Activity {
        let has_nothing = self.references.is_empty() && self.waiters.is_empty();
        if !has_nothing || self.unfinished.is_some() || self.has_asked {
            return Activity::Works;
        }
        match self.operations().wrapping_sub(self.introductions) {
            0 => Activity::None,
            looks if looks == self.looks => Activity::Looks,
            _ => Activity::Works,
        }
    }

    /// Returns the objects to which the client has references, in order, from the one after `object` on.
    pub(super) fn objects_after(&self, object: Option<ObjectId>) -> impl Iterator<Item = ObjectId> {
        let from = object.map_or(Bound::Unbounded, Bound::Excluded);
        self.references.range((from, Bound::Unbounded)).map(|(object, _)| *object)
    }

    /// Returns `true` if the client has a reference to an object.
    pub(super) fn has_reference(&self, object: ObjectId) -> bool {
        self.references.contains_key(&object)
    }

    /// Adds a reference. Returns `true` if the client had none to this object.
    pub(super) fn add_reference(&mut self, object: ObjectId) -> bool {
        let count = self.references.entry(object).or_insert(0);
        *count = count.saturating_add(1);
        let is_new = *count == 1;
        if is_new {
            self.recharge(0, REFERENCE_BYTES);
        }
        is_new
    }

    /// Removes references. Returns how many the client had, and whether those were the last.
    pub(super) fn drop_references(&mut self, object: ObjectId, count: u64) -> (u64, bool) {
        let Some(have) = self.references.get_mut(&object) else { return (0, false) };
        let dropped = count.min(*have);
        *have = have.saturating_sub(dropped);
        let is_last = *have == 0;
        if is_last {
            self.references.remove(&object);
            self.recharge(REFERENCE_BYTES, 0);
        }
        (dropped, is_last)
    }

    /// Notes the items that leave with the next answer.
    pub(super) fn deliver(&mut self, call: u64, queue: ObjectId, items: Vec<Payload>) {
        let delivery = Delivery::new(self.answers, call, queue, items);
        self.charge.replace(0, delivery.bytes());
        self.bulk.replace(0, delivery.bulk());
        self.deliveries.push(delivery);
    }

    #[cfg(test)]
    pub(super) fn grants_bytes(&self) -> usize {
        self.grants.bytes()
    }

    #[cfg(test)]
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter()
    }

    /// Notes something other than items that leaves with the next answer.
    pub(super) fn grant(&mut self, call: u64, object: ObjectId, what: Granted) {
        let before = self.grants.bytes();
        self.grants.note(self.answers, call, object, what);
        self.recharge(before, self.grants.bytes());
    }

    /// Removes the newest grant of a call; a transaction may have several.
    pub(super) fn take_grant(&mut self, call: u64) -> Option<Grant> {
        let before = self.grants.bytes();
        let grant = self.grants.take(call);
        self.recharge(before, self.grants.bytes());
        grant
    }

    /// Removes any of the grants, for a client that has ended.
    pub(super) fn pop_grant(&mut self) -> Option<Grant> {
        let before = self.grants.bytes();
        let grant = self.grants.pop();
        self.recharge(before, self.grants.bytes());
        grant
    }

    /// Forgets the grants of answers that the client has read.
    fn forget_grants(&mut self, read: u64) {
        let before = self.grants.bytes();
        self.grants.acknowledge(read);
        self.recharge(before, self.grants.bytes());
    }

    /// Returns the number of the newest unread answer to a call that delivered items.
    pub(super) fn delivered_to(&self, call: u64) -> Option<u64> {
        self.deliveries.answer_to(call)
    }

    /// Returns the objects of which the unread answer to a call granted or delivered something.
    pub(super) fn unread_of(&self, call: u64) -> impl Iterator<Item = ObjectId> {
        let answer = self.delivered_to(call).unwrap_or(0);
        let deliveries = self.deliveries.of(call, answer);
        deliveries.map(|delivery| delivery.queue).chain(self.grants.of(call))
    }

    /// Returns the number of things other than items that left with answers which may be unread.
    pub(super) fn granted(&self) -> usize {
        self.grants.len()
    }

    pub(super) fn count_answer(&mut self) {
        self.answers = self.answers.wrapping_add(1);
    }

    fn forget(&mut self, delivery: &Delivery) {
        self.charge.replace(delivery.bytes(), 0);
        self.bulk.replace(delivery.bulk(), 0);
    }

    /// Removes the newest delivery of an answer to a call; a transaction may have several.
    pub(super) fn take_delivery(&mut self, call: u64, answer: u64) -> Option<Delivery> {
        let delivery = self.deliveries.take(call, answer)?;
        self.forget(&delivery);
        Some(delivery)
    }

    /// Removes and returns the newest delivery. That is the order in which to put them back.
    pub(super) fn pop_delivery(&mut self) -> Option<Delivery> {
        self.deliveries.pop()
    }
}
