//! The insertion order: which slot is at which place.
//!
//! Places ascend, and most are close together, so a tree of single places would spend most of its time and memory on
//! itself. The tree here has one node value for [`PLACES`] places: a bit map of the occupied ones, and their slots.
//!
//! Invariants:
//! 1. Place `p` is bit and slot `p % PLACES` of group `p / PLACES`; the bit is set exactly if an entry is there.
//! 2. A group without entries is not in the tree. So an entry that is left after many insertions and removals costs at
//!    most one group, 280 bytes.
//! 3. `next` is greater than every place that was used.

use std::collections::BTreeMap;
use std::iter;

use crate::count::in_tree;

/// The number of places in a group: as many as a word has bits.
const PLACES: u64 = u64::BITS as u64;

/// Slots by place.
pub(super) struct Order {
    groups: BTreeMap<u64, Box<Group>>,
    next: u64,
}

struct Group {
    taken: u64,
    slots: [u32; u64::BITS as usize],
}

impl Order {
    pub(super) const fn new() -> Self {
        Self { groups: BTreeMap::new(), next: 0 }
    }

    /// Returns how much memory the places take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let group = size_of::<Group>().saturating_add(in_tree::<(u64, Box<Group>)>());
        self.groups.len().saturating_mul(group)
    }

    /// Returns the place for the next new entry. At 10^9 insertions a second, places last for 584 years.
    pub(super) fn next_place(&self) -> u64 {
        self.next
    }

    pub(super) fn contains(&self, place: u64) -> bool {
        self.groups.get(&(place / PLACES)).is_some_and(|group| group.taken & bit(place) != 0)
    }

    /// Puts a slot at a free place.
    pub(super) fn insert(&mut self, place: u64, slot: u32) {
        let group = self
            .groups
            .entry(place / PLACES)
            .or_insert_with(|| Box::new(Group { taken: 0, slots: [0; u64::BITS as usize] }));
        group.taken |= bit(place);
        if let Some(at) = group.slots.get_mut(within(place)) {
            *at = slot;
        }
        self.next = self.next.max(place.saturating_add(1));
    }

    pub(super) fn remove(&mut self, place: u64) {
        let number = place / PLACES;
        let Some(group) = self.groups.get_mut(&number) else { return };
        group.taken &= !bit(place);
        if group.taken == 0 {
            self.groups.remove(&number);
        }
    }

    /// Returns the slot at the greatest place.
    pub(super) fn last(&self) -> Option<u32> {
        let (_, group) = self.groups.last_key_value()?;
        group.slots.get(group.taken.checked_ilog2()? as usize).copied()
    }

    /// Returns places and slots in order: those greater than `after`, or all.
    pub(super) fn after(&self, after: Option<u64>) -> impl Iterator<Item = (u64, u32)> {
        let from = after.map_or(Some(0), |after| after.checked_add(1));
        from.into_iter().flat_map(move |from| {
            let first = from / PLACES;
            self.groups.range(first..).flat_map(move |(&number, group)| {
                // In the group that contains `from`, only the bits from there on count.
                let wanted = if number == first { u64::MAX << (from % PLACES) } else { u64::MAX };
                group.places(number.saturating_mul(PLACES), wanted)
            })
        })
    }

    /// Leaves an empty order that continues with the same places.
    pub(super) fn take(&mut self) -> Self {
        Self { groups: std::mem::take(&mut self.groups), next: self.next }
    }
}

impl Group {
    /// Returns the occupied places of this group that are `wanted`; `base` is its first place.
    fn places(&self, base: u64, wanted: u64) -> impl Iterator<Item = (u64, u32)> {
        let mut left = self.taken & wanted;
        iter::from_fn(move || {
            let at = left.trailing_zeros();
            let slot = *self.slots.get(at as usize)?; // 64, which is past the slots, when no bit is left
            left &= left.wrapping_sub(1);
            Some((base.saturating_add(u64::from(at)), slot))
        })
    }
}

fn bit(place: u64) -> u64 {
    1 << (place % PLACES)
}

fn within(place: u64) -> usize {
    (place % PLACES) as usize
}
