//! The managers that this process can reach: a proxy that arrives in a message finds its manager here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::backend::Backend;

/// By epoch. Several connections may lead to one manager; the newest is found.
static KNOWN: Mutex<Option<HashMap<u128, Weak<dyn Backend>>>> = Mutex::new(None);

/// Lets proxies that arrive in this process use this backend, as long as it lives.
pub(crate) fn register(backend: &Arc<dyn Backend>) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.retain(|_, backend| backend.strong_count() > 0);
    known.insert(backend.epoch(), Arc::downgrade(backend));
}

/// The backend of a life of a manager, if this process has one.
pub(crate) fn find(epoch: u128) -> Option<Arc<dyn Backend>> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref()?.get(&epoch)?.upgrade()
}
