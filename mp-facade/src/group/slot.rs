//! What a group passes to the function that starts a worker.

use crate::group::event::Place;
use crate::process::Process;

/// The place that a worker is started for: see [`Group::keep`](crate::Group::keep).
#[derive(Debug)]
pub struct Slot {
    place: Place,
    end_with_parent: bool,
}

impl Slot {
    pub(super) fn new(place: Place, end_with_parent: bool) -> Self {
        Self { place, end_with_parent }
    }

    /// Returns the place of the worker.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the index of the worker among those of its kind, from 0.
    pub fn index(&self) -> usize {
        self.place.index()
    }

    /// Returns the settings of a process with the name of the place, which
    /// [ends with this process](crate::Keep::end_with_parent).
    pub fn process(&self) -> Process {
        Process::new().name(self.place.to_string()).die_with_parent(self.end_with_parent)
    }
}
