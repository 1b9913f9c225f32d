//! [`Named`]: objects by name.

use std::fmt;

use mp_sys::line::Short;
use serde::Serialize;

use crate::count::count_of;
use crate::error::ObjectError;
use crate::limits::MAX_DELIVERIES_DEFAULT;
use crate::manager::makers::makers;
use crate::manager::{Manager, room};
use crate::proto::Spec;
use crate::proxy::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, JoinableQueue, List, Lock, Namespace, Queue,
    RLock, Semaphore, Storable, Value,
};

/// An interface to the object with a given name: see [`Manager::named`].
///
/// Each method finds the object with this name, or makes it if there is none; the contents that you pass count only for
/// a new object. All callers must use the same kind and type. A named object lives until [`Manager::remove`].
#[derive(Clone, Copy)]
pub struct Named<'a> {
    manager: &'a Manager,
    name: &'a str,
}

impl<'a> Named<'a> {
    pub(super) const fn new(manager: &'a Manager, name: &'a str) -> Self {
        Self { manager, name }
    }
}

impl Named<'_> {
    makers!(self => self.manager, Some(self.name));
}

impl fmt::Debug for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({})", Short(self.name))
    }
}
