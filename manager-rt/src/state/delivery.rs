//! [`Delivery`]: items that left a queue and may not have been read.

use crate::proto::{ObjectId, Payload};
use crate::state::charges::DELIVERY_BYTES;

/// Items that left a queue with an answer, kept until the client has read it.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The number of the answer among those of the client, counted from 0.
    pub(super) number: u64,
    pub(super) call: u64,
    pub(super) queue: ObjectId,
    pub(super) items: Vec<Payload>,
    /// What the items own, in bytes.
    outside: usize,
}

/// Returns what values take in addition to their places in a container, in bytes.
pub(super) fn outside_of(values: &[Payload]) -> usize {
    let outside = values.iter().map(|value| value.weight().saturating_sub(size_of::<Payload>()));
    outside.fold(0, usize::saturating_add)
}

impl Delivery {
    /// Notes the items that leave with the answer of this number.
    pub(super) fn new(number: u64, call: u64, queue: ObjectId, items: Vec<Payload>) -> Self {
        let outside = outside_of(&items);
        Self { number, call, queue, items, outside }
    }

    /// Returns what the record takes for so many items, and what the items own.
    pub(super) fn bulk_of(items: &[Payload]) -> usize {
        let places = size_of_val(items).saturating_add(DELIVERY_BYTES);
        places.saturating_add(outside_of(items))
    }

    /// Returns what one of its items takes of the client's share, in bytes.
    pub(super) fn bulk_with(item: &Payload) -> usize {
        size_of::<Payload>().saturating_add(outside_of(std::slice::from_ref(item)))
    }

    /// Returns what it takes of the client's share, in bytes.
    pub(super) fn bulk(&self) -> usize {
        self.bytes().saturating_add(self.outside)
    }

    /// Returns what the record takes, in bytes, without what the items own.
    pub(super) fn bytes(&self) -> usize {
        let items = self.items.capacity().saturating_mul(size_of::<Payload>());
        items.saturating_add(DELIVERY_BYTES)
    }
}
