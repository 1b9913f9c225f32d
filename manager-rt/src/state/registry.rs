//! The objects of a manager, their names, and their reference counts.
//!
//! An id consists of the object's slot in the low 24 bits and a serial number above. So an id is never reused, and one
//! comparison tells a stale or invented id from a valid one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;

use crate::account::{Account, Charge};
use crate::limits::OBJECTS_MAX;
use crate::proto::{Kind, ObjectId};
use crate::state::charges::NAME_BYTES;
use crate::state::waiters::{Timer, TimerKey, Waiters};

const SLOT_BITS: u32 = 24;

/// The description of an object, apart from its contents.
#[derive(Debug)]
pub(super) struct Entry {
    id: ObjectId,
    pub(super) kind: Kind,
    /// The fingerprint of the type.
    pub(super) print: u64,
    /// The references of clients, stored values, transits and the name.
    references: u64,
    name: Option<Box<str>>,
    transit: Option<Transit>,
}

/// The reference that all transits of an object have together.
#[derive(Debug, Clone, Copy)]
struct Transit {
    /// When the last of them ends.
    ends: u64,
    timer: TimerKey,
}

/// The objects by id and by name.
#[derive(Debug)]
pub(super) struct Registry {
    entries: Slab<Entry>,
    /// In order, so that they can be listed page by page.
    names: BTreeMap<Box<str>, ObjectId>,
    serial: u64,
    /// Objects that have lost their last reference.
    unreferenced: Vec<ObjectId>,
    /// What the names take.
    charge: Charge,
}

/// An object takes this many bytes here.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>().saturating_add(size_of::<usize>());

/// Returns what a name takes, in bytes.
pub(super) const fn name_bytes(name: &str) -> usize {
    name.len().saturating_mul(2).saturating_add(NAME_BYTES)
}

impl Registry {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self {
            entries: Slab::new(),
            names: BTreeMap::new(),
            serial: 0,
            unreferenced: Vec::new(),
            charge: account.charge(0),
        }
    }

    /// Gives up the empty places at the end.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Returns the slot of the next new object.
    pub(super) fn next_slot(&self) -> usize {
        self.entries.vacant_key()
    }

    /// Adds an object without references. Returns its slot and its id.
    pub(super) fn insert(&mut self, kind: Kind, print: u64) -> Option<(usize, ObjectId)> {
        if self.entries.len() >= OBJECTS_MAX {
            return None;
        }
        self.serial = self.serial.wrapping_add(1);
        let vacant = self.entries.vacant_entry();
        let slot = vacant.key();
        let low = u64::try_from(slot).ok()?;
        let id = ObjectId(self.serial.checked_shl(SLOT_BITS)? | low);
        vacant.insert(Entry { id, kind, print, references: 0, name: None, transit: None });
        Some((slot, id))
    }

    /// Returns the slot of an existing object.
    #[inline]
    pub(super) fn slot(&self, id: ObjectId) -> Option<usize> {
        let slot = usize::try_from(id.0 & ((1 << SLOT_BITS) - 1)).ok()?;
        self.entries.get(slot).filter(|entry| entry.id == id).map(|_| slot)
    }

    /// Returns the description of an object.
    pub(super) fn entry(&self, id: ObjectId) -> Option<&Entry> {
        self.entries.get(self.slot(id)?)
    }

    fn entry_mut(&mut self, id: ObjectId) -> Option<&mut Entry> {
        let slot = self.slot(id)?;
        self.entries.get_mut(slot)
    }

    /// Adds references. Returns `false` if there is no such object.
    #[must_use]
    pub(super) fn retain(&mut self, id: ObjectId, count: u64) -> bool {
        let Some(entry) = self.entry_mut(id) else { return false };
        entry.references = entry.references.saturating_add(count);
        true
    }

    /// Removes references.
    pub(super) fn release(&mut self, id: ObjectId, count: u64) {
        let Some(entry) = self.entry_mut(id) else { return };
        entry.references = entry.references.saturating_sub(count);
        if entry.references == 0 {
            self.unreferenced.push(id);
        }
    }

    /// Keeps an object alive until this time, if it exists. All transits of an object have one reference and one timer
    /// together, so an object that is sent again and again takes no more memory.
    pub(super) fn begin_transit(&mut self, id: ObjectId, ends: u64, waiters: &mut Waiters) {
        let Some(entry) = self.entry_mut(id) else { return };
        match &mut entry.transit {
            Some(transit) => transit.ends = transit.ends.max(ends),
            None => {
                let timer = waiters.add_timer(ends, Timer::Transit(id));
                entry.transit = Some(Transit { ends, timer });
                entry.references = entry.references.saturating_add(1);
            }
        }
    }

    /// Ends the transits of an object when the timer of the first one has ended, unless there was a later one.
    pub(super) fn end_transit(&mut self, id: ObjectId, now: u64, waiters: &mut Waiters) {
        let Some(entry) = self.entry_mut(id) else { return };
        match &mut entry.transit {
            Some(transit) if transit.ends > now => {
                transit.timer = waiters.add_timer(transit.ends, Timer::Transit(id));
            }
            transit => {
                if transit.take().is_some() {
                    self.release(id, 1);
                }
            }
        }
    }

    /// Returns `true` if objects may have lost their last reference.
    pub(super) fn has_unreferenced(&self) -> bool {
        !self.unreferenced.is_empty()
    }

    /// Removes and returns an object that has no references any more, or never had one.
    pub(super) fn pop_unreferenced(&mut self) -> Option<ObjectId> {
        loop {
            let id = self.unreferenced.pop()?;
            if self.entry(id).is_some_and(|entry| entry.references == 0) {
                return Some(id);
            }
        }
    }

    /// Names an object. The name counts as a reference.
    pub(super) fn name(&mut self, id: ObjectId, name: &str) {
        let Some(entry) = self.entry_mut(id) else { return };
        entry.references = entry.references.saturating_add(1);
        entry.name = Some(name.into());
        self.names.insert(name.into(), id);
        self.charge.replace(0, name_bytes(name));
    }

    /// Returns the object with a name.
    pub(super) fn named(&self, name: &str) -> Option<ObjectId> {
        self.names.get(name).copied()
    }

    /// Returns the names after this one, in order.
    pub(super) fn names_after(&self, name: &str) -> impl Iterator<Item = &str> {
        let range = (Bound::Excluded(name), Bound::Unbounded);
        self.names.range::<str, _>(range).map(|(name, _)| &**name)
    }

    /// Removes an object, and returns its slot.
    pub(super) fn remove(&mut self, id: ObjectId, waiters: &mut Waiters) -> Option<usize> {
        let slot = self.slot(id)?;
        let entry = self.entries.try_remove(slot)?;
        if let Some(transit) = entry.transit {
            waiters.remove_timer(transit.timer);
        }
        if let Some(name) = entry.name {
            self.names.remove(&name);
            self.charge.replace(name_bytes(&name), 0);
        }
        Some(slot)
    }

    /// Returns the number of objects.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
