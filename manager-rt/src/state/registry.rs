//! The objects of a manager, their names, and their reference counts.
//!
//! An id consists of the object's slot in the low 24 bits and a serial number above, which counts the objects that this
//! slot has had. So an id is never reused, and one comparison tells a stale or invented id from a valid one. A slot that
//! has had [`SERIAL_MAX`] objects is not used any more: all slots together are enough for 2^64 objects.

mod given_up;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use slab::Slab;

use self::given_up::GivenUp;
use crate::account::{Account, Charge};
use crate::limits::OBJECTS_MAX;
use crate::proto::{Kind, ObjectId};
use crate::state::charges::NAME_BYTES;
use crate::state::waiters::{Timer, TimerKey, Waiters};

const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/// The most objects that one slot has in the life of a manager: serial numbers have 40 bits.
const SERIAL_MAX: u64 = u64::MAX >> SLOT_BITS;
const SERIAL_BITS: u32 = u64::BITS - SLOT_BITS;

/// The description of an object, apart from its contents.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// The fingerprint of the type.
    pub(super) print: u64,
    /// The references of clients, stored values, transits and the name.
    pub(super) references: u64,
    pub(super) name: Option<Box<str>>,
    transit: Option<Transit>,
}

/// The description of an object that a snapshot contains.
#[derive(Debug)]
pub(super) struct Restored {
    slot: usize,
    serial: u64,
    entry: Entry,
}

impl Restored {
    /// Returns `None` if no object has this id.
    pub(super) fn new(id: ObjectId, kind: Kind, print: u64, name: Option<Box<str>>) -> Option<Self> {
        let (serial, slot) = (id.0 >> SLOT_BITS, usize::try_from(id.0 & SLOT_MASK).ok()?);
        let entry = Entry { id, kind, print, references: 0, name, transit: None };
        (serial > 0).then_some(Self { slot, serial, entry })
    }

    pub(super) const fn slot(&self) -> usize {
        self.slot
    }
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
    /// The serial number of the newest object of each slot.
    serials: Vec<u64>,
    /// The serial numbers of the slots that were given up.
    given_up: GivenUp,
    /// How many slots have ever been used.
    used: usize,
    /// The number of slots that have had all their objects.
    worn_out: usize,
    /// Objects that have lost their last reference.
    unreferenced: Vec<ObjectId>,
    /// What the names take.
    charge: Charge,
}

/// An object takes this many bytes here.
pub(super) const ENTRY_BYTES: usize = size_of::<Entry>().saturating_add(size_of::<(usize, u64)>());

/// Returns what a name takes, in bytes.
pub(super) const fn name_bytes(name: &str) -> usize {
    name.len().saturating_mul(2).saturating_add(NAME_BYTES)
}

impl Registry {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self {
            entries: Slab::new(),
            names: BTreeMap::new(),
            serials: Vec::new(),
            given_up: GivenUp::default(),
            used: 0,
            worn_out: 0,
            unreferenced: Vec::new(),
            charge: account.charge(0),
        }
    }

    /// Gives up the empty places at the end.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        let kept = self.entries.capacity().min(self.serials.len());
        // Objects that get these slots later have greater serial numbers.
        self.given_up.add(kept, self.serials.drain(kept..));
        self.serials.shrink_to_fit();
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
        let entry = |id| Entry { id, kind, print, references: 0, name: None, transit: None };
        loop {
            let vacant = self.entries.vacant_entry();
            let slot = vacant.key();
            self.used = self.used.max(slot.saturating_add(1));
            make_room(&mut self.serials, slot, &self.given_up);
            let serial = self.serials.get_mut(slot)?;
            let low = u64::try_from(slot).ok()?;
            if *serial >= SERIAL_MAX {
                // It stays taken. No object has a serial number of zero.
                vacant.insert(entry(ObjectId(low)));
                self.worn_out = self.worn_out.saturating_add(1);
                if self.entries.len() >= OBJECTS_MAX {
                    return None;
                }
                continue;
            }
            *serial = serial.saturating_add(1);
            let id = ObjectId(serial.checked_shl(SLOT_BITS)? | low);
            vacant.insert(entry(id));
            return Some((slot, id));
        }
    }

    /// Returns the slot of an existing object.
    #[inline]
    pub(super) fn slot(&self, id: ObjectId) -> Option<usize> {
        if id.0 >> SLOT_BITS == 0 {
            return None;
        }
        let slot = usize::try_from(id.0 & SLOT_MASK).ok()?;
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

    /// Returns the number of slots, in use or not.
    pub(super) fn slots(&self) -> usize {
        self.serials.len()
    }

    /// Returns the description of the object in a slot.
    pub(super) fn in_slot(&self, slot: usize) -> Option<&Entry> {
        self.entries.get(slot).filter(|entry| entry.id.0 >> SLOT_BITS != 0)
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

    /// Returns a mark that is above the ids of all objects so far: the greatest serial number, and above its bits how many
    /// slots were used, or 0 if that is not known.
    pub(super) fn mark(&self) -> u64 {
        let serial = self.serials.iter().copied().fold(self.given_up.greatest(), u64::max);
        let used = u64::try_from(self.used).ok().filter(|used| *used <= SLOT_MASK).unwrap_or(0);
        used.wrapping_shl(SERIAL_BITS) | serial
    }

    /// Returns the objects that have a name.
    pub(super) fn named_objects(&self) -> impl Iterator<Item = ObjectId> {
        self.names.values().copied()
    }

    /// Restores objects with their names, in a registry that was empty. Returns `None` if two have the same slot or name, or if
    /// one is not below the [mark](Self::mark).
    pub(super) fn restore(&mut self, objects: Vec<Restored>, mark: u64) -> Option<()> {
        let count = objects.len();
        let greatest = mark & SERIAL_MAX;
        let used = usize::try_from(mark >> SERIAL_BITS).ok().filter(|used| *used > 0);
        let is_above =
            |object: &Restored| object.serial > greatest || used.is_some_and(|used| object.slot >= used);
        if objects.iter().any(is_above) {
            return None;
        }
        self.given_up = GivenUp::all_before(used, greatest);
        self.used = used.unwrap_or(OBJECTS_MAX);
        for Restored { slot, serial, entry } in &objects {
            make_room(&mut self.serials, *slot, &self.given_up);
            *self.serials.get_mut(*slot)? = *serial;
            if let Some(name) = &entry.name {
                self.charge.replace(0, name_bytes(name));
                if self.names.insert(name.clone(), entry.id).is_some() {
                    return None;
                }
            }
        }
        let entries = objects.into_iter().map(|Restored { slot, mut entry, .. }| {
            entry.references = entry.name.is_some().into();
            (slot, entry)
        });
        self.entries = entries.collect();
        (self.entries.len() == count).then_some(())
    }

    /// Returns `true` if every object has a reference.
    pub(super) fn all_are_referenced(&self) -> bool {
        self.entries.iter().all(|(_, entry)| entry.references > 0)
    }

    /// Returns the number of objects.
    pub(super) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.worn_out)
    }
}

/// Makes places for the serial numbers of all slots up to one.
fn make_room(serials: &mut Vec<u64>, slot: usize, given_up: &GivenUp) {
    while serials.len() <= slot {
        serials.push(given_up.serial(serials.len()));
    }
}

#[cfg(test)]
mod tests;
