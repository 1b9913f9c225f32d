//! Finds the hub of the runtime that polls a task.

use std::collections::HashMap;
use std::sync::Arc;

use mp_sys::fork::PerProcess;
use tokio::runtime::{Handle, Id};

use crate::asynchronous::hub::Hub;
use crate::error::NoRuntime;

/// A runtime that has ended may still be here, without a task and a thread. Another one with its number uses its hub.
static HUBS: PerProcess<Hubs> = PerProcess::new();

#[derive(Debug, Default)]
struct Hubs(HashMap<Id, Arc<Hub>>);

/// Returns the runtime of the calling thread and its hub.
pub(super) fn current() -> Result<(Handle, Arc<Hub>), NoRuntime> {
    let handle = Handle::try_current().map_err(|_| NoRuntime)?;
    let hub = Arc::clone(HUBS.lock_briefly().0.entry(handle.id()).or_default());
    Ok((handle, hub))
}

/// Forgets a hub whose runtime is ending.
pub(super) fn forget(hub: &Arc<Hub>) {
    HUBS.lock_briefly().0.retain(|_, known| !Arc::ptr_eq(known, hub));
}

/// Forgets a hub that has neither a task nor a thread. A task that has just found it can still use it.
pub(super) fn forget_if_idle(hub: &Arc<Hub>) {
    if hub.is_idle() {
        forget(hub);
    }
}
