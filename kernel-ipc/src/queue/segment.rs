//! Segments: the memory of a ring, linked into a circle.
//!
//! Segments lie end to end from `RING_START` on, so that a walk finds all of them. Each segment is either in the circle of
//! the ring or free:
//!
//! | word of a segment | meaning |
//! |---|---|
//! | 0 | in the circle: the next segment in it |
//! | [`SIZE`] | bytes of the segment |
//! | [`FREE_NEXT`] | free: the next free segment, 0 after the last |
//! | [`BASE`] | bytes of all records that were put before the segment's first one |
//!
//! In the circle, the tail's segment is followed by empty segments, and then by the head's segment. From there to the
//! tail's segment, all hold records. A producer that needs room links segments in and out, each by one store: see
//! `producer/room`. One that is killed in between leaves a segment that is neither linked nor free. The next holder of the
//! lock finds it.

use std::collections::HashSet;

use mp_sys::crash;
use mp_sys::locked::Held;

use crate::queue::layout::{
    BASE, FREE_NEXT, PUT_BYTES, RING_RESERVED, RING_START, SEGMENT_ALIGN, SEGMENT_HEADER_BYTES, SIZE,
};
use crate::queue::ring::{Corrupt, FREE, Ring, SEEN, SEGMENT, SEGMENT_END, SEGMENTS_END};

/// The most segments that fit, since only the first and the last one may be smaller than the minimum. A longer walk means
/// that the links form a wrong circle.
pub(super) const SEGMENTS_MAX: usize = 1 << 17;

/// A segment: where it begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Segment {
    /// Returns the segment that a lock's holder noted, limited to the part of the region in which segments lie.
    #[inline]
    pub(super) fn noted(ring: &Ring, start: u64, end: u64) -> Self {
        Self { start: start.max(RING_START), end: end.min(ring.end()) }
    }

    /// Returns the segment at `start`, if its place and size are possible.
    pub(super) fn at(ring: &Ring, start: u64) -> Result<Self, Corrupt> {
        let size = if start >= RING_START { ring.load(start.saturating_add(SIZE))? } else { 0 };
        let end = start.saturating_add(size);
        let fits = size > SEGMENT_HEADER_BYTES && end <= ring.end();
        if fits && start.is_multiple_of(SEGMENT_ALIGN) && size.is_multiple_of(SEGMENT_ALIGN) {
            Ok(Self { start, end })
        } else {
            Err(Corrupt("a segment has an impossible place or size"))
        }
    }

    /// Finds the segment that contains a position, by a walk over all segments.
    pub(super) fn around(ring: &Ring, offset: u64) -> Result<Self, Corrupt> {
        all(ring, ring.end())
            .find(|segment| segment.is_ok_and(|segment| segment.holds(offset)))
            .unwrap_or(Err(Corrupt("a position lies in no segment")))
    }

    /// Returns the offset of the first record.
    #[inline]
    pub(super) fn records(self) -> u64 {
        self.start.saturating_add(SEGMENT_HEADER_BYTES)
    }

    /// Returns whether this offset is a position in the segment. The position after its last record belongs to it.
    pub(super) fn holds(self, offset: u64) -> bool {
        self.records() <= offset && offset <= self.end
    }

    pub(super) fn size(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Walks over all segments before `end`, up to the first impossible one.
fn all(ring: &Ring, end: u64) -> impl Iterator<Item = Result<Segment, Corrupt>> + '_ {
    let mut next = RING_START;
    std::iter::from_fn(move || {
        if next >= end {
            return None;
        }
        let segment = Segment::at(ring, next);
        next = segment.map_or(u64::MAX, |segment| segment.end);
        Some(segment)
    })
    .take(SEGMENTS_MAX)
}

/// Rebuilds all notes of the producers' lock, since the newest holder may have died before it stored them. Free segments
/// that are neighbours are joined.
pub(super) fn find_again(ring: &Ring, held: &Held<'_>) -> Result<(), Corrupt> {
    let tail = ring.tail();
    let segment = Segment::around(ring, tail.offset)?;
    held.store_word(SEGMENT, segment.start);
    crash::point();
    held.store_word(SEGMENT_END, segment.end);
    crash::point();
    held.store_word(SEEN, ring.head().to_bits());
    let put = ring.load(segment.start.saturating_add(BASE))?;
    ring.store(PUT_BYTES, put.wrapping_add(tail.offset.saturating_sub(segment.records())))?;
    let linked = linked_from(ring, segment)?;
    let mut free: Option<Segment> = None;
    let mut reserved = 0_u64;
    held.store_word(FREE, 0);
    crash::point();
    for segment in all(ring, held.load_word(SEGMENTS_END).min(ring.end())) {
        let segment = segment?;
        if linked.contains(&segment.start) {
            reserved = reserved.saturating_add(segment.size());
            continue;
        }
        match &mut free {
            Some(free) if free.end == segment.start => {
                free.end = segment.end;
                ring.store(free.start.saturating_add(SIZE), free.size())?;
            }
            _ => {
                ring.store(segment.start.saturating_add(FREE_NEXT), held.load_word(FREE))?;
                held.store_word(FREE, segment.start);
                crash::point();
                free = Some(segment);
            }
        }
    }
    ring.count_reserved(RING_RESERVED, |_| reserved);
    Ok(())
}

/// Returns the offsets of all segments of the circle.
fn linked_from(ring: &Ring, first: Segment) -> Result<HashSet<u64>, Corrupt> {
    let mut linked = HashSet::new();
    let mut at = first.start;
    while linked.insert(at) {
        at = Segment::at(ring, ring.load(at)?)?.start;
        if linked.len() > SEGMENTS_MAX {
            return Err(Corrupt("the links of the segments form no circle"));
        }
    }
    if at == first.start { Ok(linked) } else { Err(Corrupt("the links of the segments form no circle")) }
}
