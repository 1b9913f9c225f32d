//! A waiter at its place, for as long as it waits.
//!
//! The user's code runs in the middle of a wait (the closure of `wait_while`), and may panic. A place that was not left
//! would be waiting for ever, and take a notification from those who do wait. So the place is left by a drop.

use mp_sys::cells::WaiterPlace;
use mp_sys::fork::Epoch;

use crate::sync::condition::places::{Places, Woken};

/// A place that is left when this is dropped.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    places: Places<'a>,
    place: &'a WaiterPlace,
    taken_in: Epoch,
    has_left: bool,
}

impl<'a> Stay<'a> {
    /// The caller is waiting at `place` already.
    pub(super) fn at(place: &'a WaiterPlace, places: Places<'a>) -> Self {
        Self { places, place, taken_in: Epoch::current(), has_left: false }
    }

    /// Leaves the place after a wait that ended so. A notification counts as used.
    pub(super) fn leave(mut self, woken: Woken) {
        self.has_left = true;
        self.places.leave(self.place, woken);
    }
}

impl Drop for Stay<'_> {
    /// Leaves the place of a waiter that did not use its notification: it goes to another one.
    fn drop(&mut self) {
        // If the closure forked by a call of the C library, the place is the parent's.
        if !self.has_left && self.taken_in.is_current() {
            self.places.abandon(self.place);
        }
    }
}
