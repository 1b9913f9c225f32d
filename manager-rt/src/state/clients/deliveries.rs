//! The items of one client that it may not have read yet, by answer and by call.
//!
//! There may be millions, and a client may give up any of its calls, so the items of a call are found without a walk
//! through all.

use std::collections::{BTreeMap, BTreeSet};

use crate::count::in_tree;
use crate::state::charges::DELIVERY_BYTES;
use crate::state::delivery::Delivery;

const _: () = assert!(in_tree::<(u64, Delivery)>() + in_tree::<OfCall>() <= DELIVERY_BYTES);

/// A delivery of a call: the call, the number of its answer, and the place of the delivery among all.
type OfCall = (u64, u64, u64);

/// The deliveries of a client.
#[derive(Debug, Default)]
pub(in crate::state) struct Deliveries {
    /// By their places, oldest first.
    all: BTreeMap<u64, Delivery>,
    of_calls: BTreeSet<OfCall>,
    next: u64,
}

impl Deliveries {
    pub(in crate::state) fn push(&mut self, delivery: Delivery) {
        self.of_calls.insert((delivery.call, delivery.number, self.next));
        self.all.insert(self.next, delivery);
        self.next = self.next.saturating_add(1);
    }

    /// Removes the oldest delivery if the client has read it, because it has read this many answers.
    pub(in crate::state) fn pop_read(&mut self, read: u64) -> Option<Delivery> {
        let (place, _) = self.all.first_key_value().filter(|(_, delivery)| delivery.number < read)?;
        self.remove(*place)
    }

    /// Removes the newest delivery.
    pub(in crate::state) fn pop(&mut self) -> Option<Delivery> {
        let (place, _) = self.all.last_key_value()?;
        self.remove(*place)
    }

    /// Removes the newest delivery of an answer to a call.
    pub(in crate::state) fn take(&mut self, call: u64, answer: u64) -> Option<Delivery> {
        let (_, _, place) = *self.of_calls.range((call, answer, 0)..=(call, answer, u64::MAX)).next_back()?;
        self.remove(place)
    }

    fn remove(&mut self, place: u64) -> Option<Delivery> {
        let delivery = self.all.remove(&place)?;
        self.of_calls.remove(&(delivery.call, delivery.number, place));
        Some(delivery)
    }

    /// Returns the number of the newest answer to a call that has a delivery. A client that uses a number for several calls
    /// has no other one looked at.
    pub(in crate::state) fn answer_to(&self, call: u64) -> Option<u64> {
        let newest = self.of_calls.range((call, 0, 0)..=(call, u64::MAX, u64::MAX)).next_back();
        newest.map(|(_, answer, _)| *answer)
    }

    /// Returns the deliveries of an answer to a call; a transaction may have several.
    pub(in crate::state) fn of(&self, call: u64, answer: u64) -> impl Iterator<Item = &Delivery> {
        let places = self.of_calls.range((call, answer, 0)..=(call, answer, u64::MAX));
        places.filter_map(|(_, _, place)| self.all.get(place))
    }

    #[cfg(test)]
    pub(in crate::state) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.all.values()
    }
}
