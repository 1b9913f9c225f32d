//! The objects by slot, and what their containers take.

use crate::account::Charge;
use crate::state::kinds::Body;

/// An object, and what was charged for its containers.
#[derive(Debug)]
struct Place {
    body: Body,
    /// In bytes.
    charged: usize,
}

/// The objects by slot.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    places: Vec<Option<Place>>,
    /// The number of objects.
    len: usize,
    /// How many objects were removed since the last attempt to shrink.
    removed: usize,
}

/// A place takes this many bytes here.
pub(super) const PLACE_BYTES: usize = size_of::<Option<Place>>();

impl Bodies {
    #[inline]
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Body> {
        Some(&mut self.places.get_mut(slot)?.as_mut()?.body)
    }

    /// Returns the number of places, with or without an object.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Puts an object into an empty place.
    pub(super) fn put(&mut self, slot: usize, body: Body, containers: &mut Charge) {
        if self.places.len() <= slot {
            self.places.resize_with(slot.saturating_add(1), || None);
        }
        if let Some(place) = self.places.get_mut(slot) {
            *place = Some(Place { body, charged: 0 });
            self.len = self.len.saturating_add(1);
        }
        self.recharge(slot, containers);
    }

    /// Removes an object. What its containers take is charged no longer.
    pub(super) fn take(&mut self, slot: usize, containers: &mut Charge) -> Option<Body> {
        let Place { body, charged } = self.places.get_mut(slot)?.take()?;
        containers.replace(charged, 0);
        self.len = self.len.saturating_sub(1);
        self.removed = self.removed.saturating_add(1);
        Some(body)
    }

    /// Charges what the containers of an object take after a change.
    #[inline]
    pub(super) fn recharge(&mut self, slot: usize, containers: &mut Charge) {
        if let Some(Place { body, charged }) = self.places.get_mut(slot).and_then(Option::as_mut) {
            let bytes = body.bytes();
            containers.replace(std::mem::replace(charged, bytes), bytes);
        }
    }

    /// Gives up the empty places at the end. Returns `true` if there were any. It looks for them only after as many
    /// removals as half of the places, so it takes time in proportion to the removals.
    pub(super) fn shrink(&mut self) -> bool {
        let before = self.places.len();
        if self.len > 0 && self.removed < before.div_ceil(2) {
            return false;
        }
        self.removed = 0;
        let used = self.places.iter().rposition(Option::is_some).map_or(0, |last| last.saturating_add(1));
        self.places.truncate(used);
        self.places.shrink_to(used.saturating_mul(2));
        used < before
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Body> {
        self.places.iter().flatten().map(|place| &place.body)
    }
}
