//! Maps hashes to slots by linear hashing: a hash table whose segments are split one at a time.
//!
//! With `n` segments, and `p` the largest power of two that is at most `n`, an address belongs to segment `address mod
//! 2p` if that exists, and otherwise to `address mod p`. So a new segment takes its spots from one other segment, and
//! nothing else moves: growing by an entry moves the spots of at most one segment, whether the table holds 10^3 or
//! 10^7.
//!
//! A spot keeps 32 bits of the hash, the tag. The tag tells to which segment the spot belongs without reading the entry
//! (which costs a cache miss), and rules out nearly every entry with another key. The bits of the tag are used as
//! follows, counted from the low end: the segment's table finds its bucket by the low 11 or 12 bits, and compares the
//! top seven; the address consists of those from bit 11 on. Above 2^14 segments, the address shares bits with the top
//! seven, which then distinguish fewer spots; the whole tag still does.
//!
//! Invariants:
//! 1. Each spot is in the segment that [`segment_of`] returns. Without spots there is no segment, and no memory.
//! 2. The segments hold at most `SPOTS` spots on average, and at least a quarter of that if there are several.

use std::{fmt, mem};

use hashbrown::HashTable;

/// The lowest bit of a tag that belongs to the address. The bits below find the bucket in a segment.
const ADDRESS_FROM: u32 = 11;

/// Slots by the hash of their keys, in segments with `SPOTS` on average.
pub(super) struct Index<const SPOTS: usize> {
    segments: Vec<HashTable<Spot>>,
    len: usize,
    /// The memory of the segments, in bytes.
    bytes: usize,
}

/// The slot of an entry, and 32 bits of the hash of its key.
struct Spot {
    tag: u32,
    slot: u32,
}

impl<const SPOTS: usize> Index<SPOTS> {
    pub(super) const fn new() -> Self {
        const { assert!(SPOTS >= 4, "a quarter of it must be something") };
        Self { segments: Vec::new(), len: 0, bytes: 0 }
    }

    /// Returns how much memory the spots take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let segments = self.segments.capacity().saturating_mul(size_of::<HashTable<Spot>>());
        self.bytes.saturating_add(segments)
    }

    /// Returns the slot with this hash for which `is_it` returns `true`.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let segment = self.segments.get(segment_of(tag, self.segments.len()))?;
        Some(segment.find(spread(tag), |spot| spot.tag == tag && is_it(spot.slot))?.slot)
    }

    /// Adds a slot, and splits a segment if the segments have become too full.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let tag = tag(hash);
        if self.len >= self.segments.len().saturating_mul(SPOTS) {
            self.add_segment();
        }
        let segment = segment_of(tag, self.segments.len());
        if let Some(segment) = self.segments.get_mut(segment) {
            let before = segment.allocation_size();
            segment.insert_unique(spread(tag), Spot { tag, slot }, |spot| spread(spot.tag));
            self.bytes = self.bytes.saturating_add(segment.allocation_size()).saturating_sub(before);
            self.len = self.len.saturating_add(1);
        }
    }

    /// Removes the slot with this hash for which `is_it` returns `true`, and merges two segments if they have become
    /// too empty.
    pub(super) fn remove(&mut self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let segment = segment_of(tag, self.segments.len());
        let segment = self.segments.get_mut(segment)?;
        let found = segment.find_entry(spread(tag), |spot| spot.tag == tag && is_it(spot.slot)).ok()?;
        let (Spot { slot, .. }, _) = found.remove();
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            self.segments = Vec::new();
            self.bytes = 0;
        } else if self.segments.len() > 1 && self.len < self.segments.len().saturating_mul(SPOTS / 4) {
            self.drop_segment();
        }
        Some(slot)
    }

    /// Adds a segment, and moves the spots into it that now belong there.
    fn add_segment(&mut self) {
        let added = self.segments.len();
        self.segments.push(HashTable::new());
        let Some(from) = self.segments.get_mut(source_of(added)) else { return };
        // Both halves are made anew, since a table that loses half its spots keeps their memory and the marks of
        // removed ones.
        let spots = mem::take(from);
        self.bytes = self.bytes.saturating_sub(spots.allocation_size());
        let half = spots.len() / 2;
        let mut halves = [HashTable::with_capacity(half), HashTable::with_capacity(half)];
        let [stays, moves] = &mut halves;
        for spot in spots {
            let half = if segment_of(spot.tag, added.saturating_add(1)) == added {
                &mut *moves
            } else {
                &mut *stays
            };
            half.insert_unique(spread(spot.tag), spot, |spot| spread(spot.tag));
        }
        let [stays, moves] = halves;
        self.bytes =
            self.bytes.saturating_add(stays.allocation_size()).saturating_add(moves.allocation_size());
        *from = stays;
        if let Some(last) = self.segments.last_mut() {
            *last = moves;
        }
    }

    /// Moves the spots of the last segment back to the one that they came from, and drops it.
    fn drop_segment(&mut self) {
        let Some(last) = self.segments.pop() else { return };
        let to = source_of(self.segments.len());
        let Some(to) = self.segments.get_mut(to) else { return };
        let before = last.allocation_size().saturating_add(to.allocation_size());
        for spot in last {
            to.insert_unique(spread(spot.tag), spot, |spot| spread(spot.tag));
        }
        self.bytes = self.bytes.saturating_add(to.allocation_size()).saturating_sub(before);
    }
}

/// Shows only the size.
impl<const SPOTS: usize> fmt::Debug for Index<SPOTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("segments", &self.segments.len()).finish_non_exhaustive()
    }
}

/// Returns the upper half of a hash.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Returns a tag as a hash for the table of a segment, which reads the top and the low bits.
fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

/// Returns which of `segments` segments a tag belongs to, or 0 if there is none.
fn segment_of(tag: u32, segments: usize) -> usize {
    let address = tag.rotate_right(ADDRESS_FROM) as usize;
    let Some(mask) = segments.checked_next_power_of_two().and_then(|above| above.checked_sub(1)) else {
        return 0;
    };
    let segment = address & mask;
    if segment < segments { segment } else { segment & (mask >> 1) }
}

/// Returns the segment from which number `added` is split, or itself for the very first.
fn source_of(added: usize) -> usize {
    added.checked_ilog2().and_then(|top| added.checked_sub(1 << top)).unwrap_or(0)
}

#[cfg(test)]
impl<const SPOTS: usize> Index<SPOTS> {
    /// Fails unless the invariants hold and there are `len` spots.
    pub(super) fn check(&self, len: usize) {
        let segments = self.segments.len();
        for (segment, number) in self.segments.iter().zip(0..) {
            assert!(segment.iter().all(|spot| segment_of(spot.tag, segments) == number), "1");
        }
        assert_eq!(self.segments.iter().map(HashTable::len).sum::<usize>(), len);
        assert_eq!(self.len, len);
        assert_eq!(self.segments.iter().map(HashTable::allocation_size).sum::<usize>(), self.bytes);
        assert_eq!(segments == 0, len == 0, "1");
        assert!(len <= segments * SPOTS && (segments <= 1 || len >= segments * (SPOTS / 4)), "2");
    }
}
