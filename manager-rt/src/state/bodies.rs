//! The objects by slot, and what their containers take.

use crate::account::Charge;
use crate::state::kinds::Body;

/// An object, and what was charged for its containers.
#[derive(Debug)]
struct Place {
    body: Body,
    /// In bytes.
    charged: usize,
    /// How many locks, permits and leases were held when they were last counted.
    held: u64,
}

/// The objects by slot.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    places: Vec<Option<Place>>,
    /// The number of objects.
    len: usize,
    /// How many objects were removed since the last attempt to shrink.
    removed: usize,
    /// How many locks, permits and leases of all objects are held, as far as they are counted.
    held: u64,
    /// The object that was lent last, if something of it can be held. It is counted when another one is lent.
    lent: Option<usize>,
}

/// A place takes this many bytes here.
pub(super) const PLACE_BYTES: usize = size_of::<Option<Place>>();

impl Bodies {
    #[inline]
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Body> {
        if self.lent.is_some_and(|lent| lent != slot) {
            self.count_lent();
        }
        let body = &mut self.places.get_mut(slot)?.as_mut()?.body;
        if body.can_be_held() {
            self.lent = Some(slot);
        }
        Some(body)
    }

    /// Returns an object, to look at it.
    pub(super) fn get(&self, slot: usize) -> Option<&Body> {
        self.places.get(slot)?.as_ref().map(|place| &place.body)
    }

    /// Returns all objects.
    pub(super) fn all(&self) -> impl Iterator<Item = &Body> {
        self.places.iter().flatten().map(|place| &place.body)
    }

    /// Counts what is held of the object that was lent last.
    fn count_lent(&mut self) {
        self.held = self.held();
        let lent = self.lent.take().and_then(|slot| self.places.get_mut(slot)?.as_mut());
        if let Some(Place { body, held, .. }) = lent {
            *held = body.held();
        }
    }

    /// Returns how many locks, permits and leases are held. This takes the same time for any number of objects.
    pub(super) fn held(&self) -> u64 {
        match self.lent.and_then(|slot| self.places.get(slot)?.as_ref()) {
            Some(Place { body, held, .. }) => self.held.saturating_sub(*held).saturating_add(body.held()),
            None => self.held,
        }
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
            *place = Some(Place { body, charged: 0, held: 0 });
            self.len = self.len.saturating_add(1);
        }
        self.recharge(slot, containers);
    }

    /// Removes an object. What its containers take is charged no longer.
    pub(super) fn take(&mut self, slot: usize, containers: &mut Charge) -> Option<Body> {
        self.count_lent();
        let Place { body, charged, held } = self.places.get_mut(slot)?.take()?;
        self.held = self.held.saturating_sub(held);
        containers.replace(charged, 0);
        self.len = self.len.saturating_sub(1);
        self.removed = self.removed.saturating_add(1);
        Some(body)
    }

    /// Charges what the containers of an object take after a change.
    #[inline]
    pub(super) fn recharge(&mut self, slot: usize, containers: &mut Charge) {
        if let Some(Place { body, charged, .. }) = self.places.get_mut(slot).and_then(Option::as_mut) {
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
}
