//! Queues in messages: what travels is the queue's two descriptors, what arrives is another handle of the same queue.
//!
//! A process maps a queue once however often it arrives: each lock has one address in it, and the waits of all handles
//! share what they have learnt. The registry that sees to that names a queue by the device and inode of its memory, which
//! nothing else has while any process holds it.

use std::collections::HashMap;
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

/// Names a queue's memory.
pub(super) type Key = (u64, u64);

/// The queues of this process.
static OPEN: PerProcess<HashMap<Key, Weak<Core>>> = PerProcess::inherited();

/// What is encoded: where the message carries the descriptors.
#[derive(Serialize, Deserialize)]
struct Ticket {
    region: u32,
    event: u32,
}

/// The key of a queue's memory, `None` if the kernel does not tell.
pub(super) fn key_of(region: impl AsFd) -> Option<Key> {
    let stat = fstat(region).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Lets the queue be found by those who are sent it.
pub(super) fn register(core: Core) -> Arc<Core> {
    let core = Arc::new(core);
    if let Some(key) = core.key {
        OPEN.lock().insert(key, Arc::downgrade(&core));
    }
    core
}

/// The last handle is gone.
pub(super) fn forget(key: Key) {
    let mut open = OPEN.lock();
    // Another thread may have been sent the queue meanwhile.
    if open.get(&key).is_some_and(|core| core.strong_count() == 0) {
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
) -> Result<Arc<Core>, D::Error> {
    let ticket = Ticket::deserialize(deserializer)?;
    let refused = |error: TravelError| serde::de::Error::custom(error.to_string());
    let region = travel::unpack(ticket.region).map_err(refused)?;
    let event = travel::unpack(ticket.event).map_err(refused)?;
    attach(region, event, wanted).map_err(|reason| serde::de::Error::custom(travel::refuse(reason)))
}

/// A handle of the queue in these descriptors.
///
/// # Errors
/// In words, if they are no queue of this kind and type.
pub(super) fn attach(region: OwnedFd, event: OwnedFd, wanted: Wanted) -> Result<Arc<Core>, String> {
    let event =
        Flag::of(event).ok_or("the message carries a damaged queue: nobody can poll its descriptor")?;
    let key = key_of(&region).ok_or("the message carries no queue")?;
    // Held throughout: two threads that receive the same queue map it once.
    let mut open = OPEN.lock();
    let known = open.get(&key).and_then(Weak::upgrade);
    if let Some(core) = known {
        // It may be the last handle by now, whose end takes the lock.
        drop(open);
        let is_same = core.config.is(wanted);
        return is_same
            .then_some(core)
            .ok_or_else(|| "the message carries a queue of another kind or type".into());
    }
    let (region, locks) = Region::attach(region).map_err(|error| error.to_string())?;
    let (config, ring, leases) = Config::attach(region, locks, wanted)?;
    ring.claim_reserved().map_err(|error| error.to_string())?;
    let core = Arc::new(Core::over(config, ring, leases, event));
    open.insert(key, Arc::downgrade(&core));
    // Here, and not while the value is returned: a subscriber that is told now may panic, and Rust leaks the value then.
    drop(open);
    Ok(core)
}
