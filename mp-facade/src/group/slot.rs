//! What a group passes to the function that starts a worker.

use std::cell::RefCell;
use std::fmt;
use std::os::fd::AsFd;

use kernel_ipc::Descriptor;
use mp_sys::line::Short;
use mp_sys::ready;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::group::event::Place;
use crate::process::Process;

/// The place that a worker is started for: see [`Group::keep`](crate::Group::keep).
pub struct Slot {
    place: Place,
    end_with_parent: bool,
    /// The descriptor by which the worker says that it is ready, once `start` has asked for it.
    ready: RefCell<Option<Descriptor>>,
}

impl Slot {
    pub(super) fn new(place: Place, end_with_parent: bool) -> Self {
        Self { place, end_with_parent, ready: RefCell::default() }
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

    /// Returns the handle by which the worker says that it is ready. Once you have called this, the group waits for that.
    /// Otherwise the worker counts as ready when it has lived for [`GROUP_SETTLING`](crate::GROUP_SETTLING).
    pub fn ready(&self) -> Ready {
        let mut kept = self.ready.borrow_mut();
        if kept.is_none() {
            match ready::notice() {
                Ok(file) => *kept = Some(file.into()),
                // Without a descriptor, the process cannot be started either, and its error says so.
                Err(error) => tracing::debug!(%error, "no descriptor for the readiness of a worker"),
            }
        }
        Ready { file: kept.clone() }
    }

    /// Returns the descriptor, if `start` has asked for it.
    pub(super) fn into_ready(self) -> Option<Descriptor> {
        self.ready.into_inner()
    }
}

/// The handle by which a worker says that it is ready: see [`Slot::ready`].
///
/// # Fork safety
/// A forked worker uses the handle that it has inherited or captured. A spawned one gets it as an argument.
#[derive(Clone)]
pub struct Ready {
    file: Option<Descriptor>,
}

impl Ready {
    /// Says that the worker is ready, for example when it accepts connections. More than one call does no harm.
    pub fn set(&self) {
        if let Some(file) = &self.file {
            ready::give_notice(file.as_fd());
        }
    }
}

impl Serialize for Ready {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ready {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { file: Option::deserialize(deserializer)? })
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.file.is_some() { "Ready" } else { "Ready(without a descriptor)" })
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} {})", Short(self.place.kind()), self.place.index())
    }
}
