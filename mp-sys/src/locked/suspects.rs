//! Locks that were held by this process when a handle of theirs was dropped.
//!
//! A lock must stay mapped while a thread of this process holds it: the thread's list of held locks leads through it, and
//! unmapping it would strand the lock for every process. Who holds it may be a guard of another handle of the same lock,
//! which is still there, or one that was forgotten, which stays for ever. That cannot be told apart by counting handles,
//! since two of them may be dropped at the same moment.
//!
//! So a handle that is dropped only notes the lock. The mapping asks again when its last owner has gone, which `Arc` says
//! exactly once: a guard borrows a handle and a handle keeps the mapping, so a lock that is held then is held by a
//! forgotten guard, and the mapping stays.
//!
//! # Equal thread ids
//! A thread of another PID namespace may have the id of one of this process. Its lock is taken for one of ours, and the
//! mapping stays for nothing.

use std::collections::{HashMap, HashSet};

use crate::fork::PerProcess;
use crate::identity::is_thread_of_this_process;
use crate::locked::{Control, Locked};
use crate::memory::Mapping;

/// Offsets of locks by the address of their mapping. A child begins with none: its threads hold nothing of its parent's.
static SUSPECTS: PerProcess<HashMap<usize, HashSet<usize>>> = PerProcess::new();

/// A lock in a mapping.
#[derive(Debug)]
pub(crate) struct Suspect {
    offset: usize,
}

/// Whether the lock word names a thread that this process has.
pub(super) fn is_held_by_this_process(control: &Control) -> bool {
    let owner = control.mutex.owner();
    owner != 0 && is_thread_of_this_process(u64::from(owner))
}

/// Has the mapping of this lock ask about it before it is unmapped.
pub(super) fn note(locked: &Locked) {
    let mapping = locked.span.mapping();
    let base = mapping.base().addr();
    let offset = locked.control.addr().get().wrapping_sub(base);
    SUSPECTS.lock().entry(base).or_default().insert(offset);
    // The handle's `Arc` of the mapping is dropped after this, so whoever drops the last one sees it.
    mapping.suspect();
}

/// The locks that were noted of a mapping whose last owner has gone.
pub(crate) fn take(mapping: &Mapping) -> Vec<Suspect> {
    let noted = SUSPECTS.lock().remove(&mapping.base().addr());
    noted.into_iter().flatten().map(|offset| Suspect { offset }).collect()
}

impl Suspect {
    /// Whether a thread of this process holds it. The mapping is the one that it was taken from.
    #[expect(clippy::cast_ptr_alignment, reason = "a lock was there")]
    pub(crate) fn is_held_in(&self, mapping: &Mapping) -> bool {
        let control = mapping.base().wrapping_add(self.offset).cast::<Control>();
        // SAFETY: `note` had a lock at this offset of the mapping at this address. `take` gave the mapping's own notes, before
        // it is unmapped, and locks never move; everything in `Control` is made for shared use.
        is_held_by_this_process(unsafe { &*control })
    }
}
