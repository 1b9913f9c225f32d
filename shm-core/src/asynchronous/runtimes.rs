//! Finds the hub of the runtime that polls a task.

use std::collections::HashMap;
use std::sync::Arc;

use mp_sys::fork::{Epoch, PerProcess};
use tokio::runtime::{Handle, Id};

use crate::asynchronous::hub::Hub;
use crate::error::RuntimeError;

/// A runtime that has ended may still be here, without a task and a thread. Another one with its number uses its hub. A
/// forked child starts with its parent's list.
static HUBS: PerProcess<Hubs> = PerProcess::inherited();

#[derive(Debug, Default)]
struct Hubs(HashMap<Id, Known>);

#[derive(Debug)]
struct Known {
    hub: Arc<Hub>,
    made_in: Epoch,
}

impl Default for Known {
    fn default() -> Self {
        Self { hub: Arc::default(), made_in: Epoch::current() }
    }
}

/// Returns the runtime of the calling thread and its hub.
pub(super) fn current() -> Result<(Handle, Arc<Hub>), RuntimeError> {
    let handle = Handle::try_current().map_err(|_none| RuntimeError::NoRuntime)?;
    let mut hubs = HUBS.lock_briefly();
    let Known { hub, made_in } = hubs.0.entry(handle.id()).or_default();
    // The threads of the parent's runtime are not here.
    if made_in.is_current() { Ok((handle, Arc::clone(hub))) } else { Err(RuntimeError::Forked) }
}

/// Forgets a hub whose runtime is ending.
pub(super) fn forget(hub: &Arc<Hub>) {
    HUBS.lock_briefly().0.retain(|_, known| !Arc::ptr_eq(&known.hub, hub));
}

/// Forgets a hub that has neither a task nor a thread. A task that has just found it can still use it.
pub(super) fn forget_if_idle(hub: &Arc<Hub>) {
    if hub.is_idle() {
        forget(hub);
    }
}
