//! A waiter at its place, for as long as it waits.
//!
//! The user's code runs in the middle of a wait (the closure of `wait_while`), and may panic. An abandoned place would wait
//! for ever, and take notifications from real waiters. So a drop leaves the place.

use mp_sys::cells::WaiterPlace;
use mp_sys::fork::Epoch;

use crate::sync::condition::places::{Places, Woken};

/// A guard that leaves its place when it is dropped.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    places: Places<'a>,
    place: &'a WaiterPlace,
    taken_in: Epoch,
    has_left: bool,
}

impl<'a> Stay<'a> {
    /// Wraps a place where the caller is already waiting.
    pub(super) fn at(place: &'a WaiterPlace, places: Places<'a>) -> Self {
        Self { places, place, taken_in: Epoch::current(), has_left: false }
    }

    #[cfg(feature = "tokio")]
    pub(super) fn place(&self) -> &'a WaiterPlace {
        self.place
    }

    /// Leaves the place after a wait with this result. A notification counts as used.
    pub(super) fn leave(mut self, woken: Woken) {
        self.has_left = true;
        self.places.leave(self.place, woken);
    }
}

impl Drop for Stay<'_> {
    /// Leaves the place of a waiter that did not use its notification, which goes to another waiter.
    fn drop(&mut self) {
        // If the closure called `fork` of the C library, the place belongs to the parent.
        if !self.has_left && self.taken_in.is_current() {
            self.places.abandon(self.place);
        }
    }
}
