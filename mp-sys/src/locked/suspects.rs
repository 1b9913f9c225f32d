//! Locks that this process held when one of their handles was dropped.
//!
//! A lock must stay mapped while a thread of this process holds it: the thread's list of held locks leads through it,
//! and unmapping it would strand the lock for every process. The holder may be a live guard of another handle of the
//! same lock, or a forgotten guard, which stays for ever. Counting handles cannot tell the two cases apart, since two
//! handles may be dropped at the same moment.
//!
//! So a dropped handle only notes the lock. The mapping asks again when its last owner is gone, which `Arc` reports
//! exactly once. A guard borrows a handle and a handle keeps the mapping. So if the lock is still held then, a
//! forgotten guard holds it, and the mapping stays.
//!
//! # Equal thread ids
//! A thread of another PID namespace may have the same id as one of this process. Its lock then counts as held by this
//! process, and the mapping stays needlessly.

use std::collections::{HashMap, HashSet};

use crate::fork::PerProcess;
use crate::identity::is_thread_of_this_process;
use crate::locked::{Control, Locked};
use crate::memory::Mapping;

/// Offsets of locks by the address of their mapping. A child starts with an empty map: its threads hold none of its
/// parent's locks.
static SUSPECTS: PerProcess<HashMap<usize, HashSet<usize>>> = PerProcess::new();

/// A lock in a mapping.
#[derive(Debug)]
pub(crate) struct Suspect {
    offset: usize,
}

/// Whether the lock word names a thread of this process.
pub(super) fn is_held_by_this_process(control: &Control) -> bool {
    let owner = control.mutex.owner();
    owner != 0 && is_thread_of_this_process(u64::from(owner))
}

/// Makes the mapping of this lock ask about it before it is unmapped.
pub(super) fn note(locked: &Locked) {
    let mapping = locked.span.mapping();
    let base = mapping.base().addr();
    let offset = locked.control.addr().get().wrapping_sub(base);
    SUSPECTS.lock().entry(base).or_default().insert(offset);
    // The handle's `Arc` of the mapping is dropped after this, so the last drop of an `Arc` sees it.
    mapping.suspect();
}

/// Returns the noted locks of a mapping whose last owner is gone.
pub(crate) fn take(mapping: &Mapping) -> Vec<Suspect> {
    let noted = SUSPECTS.lock().remove(&mapping.base().addr());
    noted.into_iter().flatten().map(|offset| Suspect { offset }).collect()
}

impl Suspect {
    /// Whether a thread of this process holds the lock. The mapping must be the one that the lock was taken from.
    #[expect(clippy::cast_ptr_alignment, reason = "a lock was there")]
    pub(crate) fn is_held_in(&self, mapping: &Mapping) -> bool {
        let control = mapping.base().wrapping_add(self.offset).cast::<Control>();
        // SAFETY: `note` had a lock at this offset of the mapping at this address. `take` returned the mapping's own
        // notes, before it is unmapped, and locks never move; everything in `Control` is made for shared use.
        is_held_by_this_process(unsafe { &*control })
    }
}
