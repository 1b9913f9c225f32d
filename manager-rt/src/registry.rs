//! The managers that this process can reach. A proxy that arrives in a message finds its manager here.

pub(crate) mod beside;
mod place;
mod reach;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use mp_sys::fork::PerProcess;
use mp_sys::key::Key;

use self::beside::key_beside;
pub(crate) use self::place::Place;
pub use self::reach::ReachError;
#[cfg(all(feature = "redis", feature = "rabbitmq", feature = "conformance"))]
pub(crate) use self::reach::connect_mixed;
pub(crate) use self::reach::{connect, reach};
use crate::address::Address;
use crate::backend::Backend;

/// A forked child starts with its parent's entries.
static KNOWN: PerProcess<Known> = PerProcess::inherited();

#[derive(Debug, Default)]
struct Known {
    /// By epoch. If several connections lead to one manager, the newest is found.
    backends: HashMap<u128, Weak<dyn Backend>>,
    /// The keys of servers that this process has connected to.
    keys: HashMap<Address, Key>,
}

/// Registers a backend, so that proxies that arrive in this process can use it as long as it lives.
pub(crate) fn register(backend: &Arc<dyn Backend>) {
    let mut known = KNOWN.lock();
    known.backends.retain(|_, backend| backend.strong_count() > 0);
    known.backends.insert(backend.epoch(), Arc::downgrade(backend));
}

/// Returns the backend for an epoch, if this process has one.
fn find(epoch: u128) -> Option<Arc<dyn Backend>> {
    KNOWN.lock().backends.get(&epoch)?.upgrade()
}

/// Remembers the key of a server.
fn learn_key(address: &Address, key: &Key) {
    KNOWN.lock().keys.insert(address.clone(), key.clone());
}

/// Returns the key of a server that this process knows. Pass it on only in the arguments of a child.
fn known_key(address: &Address) -> Option<Key> {
    KNOWN.lock().keys.get(address).cloned()
}

/// Returns the key that this process used for the server, or else the one that lies beside its socket, or else an empty
/// key.
pub(crate) fn key_of(address: &Address) -> Key {
    known_key(address).or_else(|| address.path().and_then(key_beside)).unwrap_or_default()
}
