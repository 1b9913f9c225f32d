//! Queues in messages. The message carries the queue's two descriptors, and the receiver gets another handle of the same
//! queue.
//!
//! A process maps each queue only once, however often it arrives. So each lock has one address in the process, and the
//! waits of all handles share what they have learnt. A registry ensures this. It identifies a queue by the device and inode
//! of its memory, which are unique while any process holds the queue.

use std::collections::HashMap;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use mp_sys::fork::PerProcess;
use mp_sys::region::Region;
use mp_sys::travel::{self, TravelError};
use rustix::fs::fstat;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::config::{Config, Wanted};
use crate::queue::core::Core;
use crate::queue::flag::Flag;

/// Identifies a queue's memory: its device and inode.
type Key = (u64, u64);

/// The queues of this process.
static OPEN: PerProcess<HashMap<Key, Weak<Shared>>> = PerProcess::inherited();

/// A queue of this process, which all its handles share. It is in the registry until the last of them is dropped.
#[derive(Debug)]
pub(super) struct Shared {
    core: Core,
    key: Option<Key>,
}

impl Deref for Shared {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            forget(key);
        }
    }
}

/// The encoded form of a queue: the positions of its descriptors in the message.
#[derive(Serialize, Deserialize)]
struct Ticket {
    region: u32,
    event: u32,
}

/// Returns the key of a queue's memory, or `None` if the kernel does not report it.
fn key_of(region: impl AsFd) -> Option<Key> {
    let stat = fstat(region).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Registers the queue, so that it is found if it arrives in a message.
pub(super) fn register(core: Core) -> Arc<Shared> {
    let key = key_of(&core.ring.region);
    let shared = Arc::new(Shared { core, key });
    if let Some(key) = key {
        OPEN.lock().insert(key, Arc::downgrade(&shared));
    }
    shared
}

/// Removes a queue whose last handle was dropped.
fn forget(key: Key) {
    let mut open = OPEN.lock();
    // Another thread may have received the queue in the meantime.
    if open.get(&key).is_some_and(|shared| shared.strong_count() == 0) {
        open.remove(&key);
    }
}

/// Encodes a handle.
pub(super) fn serialize<S: Serializer>(core: &Core, serializer: S) -> Result<S::Ok, S::Error> {
    let pack = || -> Result<Ticket, TravelError> {
        Ok(Ticket { region: travel::pack(core.ring.region.file())?, event: travel::pack(core.event_file())? })
    };
    pack().map_err(serde::ser::Error::custom)?.serialize(serializer)
}

/// Decodes a handle of a queue of this kind and type.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    wanted: Wanted,
    deserializer: D,
) -> Result<Arc<Shared>, D::Error> {
    let ticket = Ticket::deserialize(deserializer)?;
    let refused = |error: TravelError| serde::de::Error::custom(error.to_string());
    let region = travel::unpack(ticket.region).map_err(refused)?;
    let event = travel::unpack(ticket.event).map_err(refused)?;
    attach(region, event, wanted).map_err(|reason| serde::de::Error::custom(travel::refuse(reason)))
}

/// Returns a handle of the queue in these descriptors.
///
/// # Errors
/// A text, if they are not a queue of this kind and type.
pub(super) fn attach(region: OwnedFd, event: OwnedFd, wanted: Wanted) -> Result<Arc<Shared>, String> {
    let event =
        Flag::of(event).ok_or("the message carries a damaged queue: its descriptor cannot be polled")?;
    let key = key_of(&region).ok_or("the message carries no queue")?;
    // Held until the queue is registered, so that two threads that receive the same queue map it once.
    let mut open = OPEN.lock();
    let known = open.get(&key).and_then(Weak::upgrade);
    if let Some(shared) = known {
        // This may be the last handle by now. Dropping it takes the lock.
        drop(open);
        let is_same = shared.config.is(wanted);
        return is_same
            .then_some(shared)
            .ok_or_else(|| "the message carries a queue of another kind or type".into());
    }
    let (region, locks) = Region::attach(region).map_err(|error| error.to_string())?;
    let (config, ring, leases) = Config::attach(region, locks, wanted)?;
    ring.claim_reserved().map_err(|error| error.to_string())?;
    let core = Core::over(config, ring, leases, event);
    let shared = Arc::new(Shared { core, key: Some(key) });
    open.insert(key, Arc::downgrade(&shared));
    // Dropped here, and not while the value is returned: dropping may call a subscriber of `tracing`. If that panics during
    // the return, Rust leaks the value.
    drop(open);
    Ok(shared)
}
