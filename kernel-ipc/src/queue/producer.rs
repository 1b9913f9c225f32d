//! The producers' side of a ring: a producer writes records after the tail, and then moves the tail over them.

mod room;

use std::sync::atomic::Ordering;

use mp_sys::crash;
use mp_sys::locked::Held;
use mp_sys::robust::{AcquireError, Patience};

use crate::queue::layout::{PUT_BYTES, Position, SKIP, TAIL, item_of, record_bytes};
use crate::queue::ring::{Corrupt, Later, NoRoom, Ring, SEEN, SEGMENT, SEGMENT_END};
use crate::queue::segment::{self, Segment};

/// The held lock of the producers.
#[derive(Debug)]
pub(super) struct Producer<'a> {
    pub(super) ring: &'a Ring,
    pub(super) held: Held<'a>,
    /// Declared after the lock, so that it is dropped after it.
    pub(super) later: Later,
}

/// The place of the next record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) segment: Segment,
    pub(super) is_new_segment: bool,
}

impl<'a> Producer<'a> {
    /// Takes the producers' lock.
    #[inline(always)]
    pub(super) fn lock(ring: &'a Ring, patience: Patience) -> Result<Self, AcquireError> {
        let later = Later::default();
        let held = ring.producers.acquire(patience, |held| Self::repair(ring, held, &later))?;
        Ok(Self { ring, held, later })
    }

    /// Rebuilds the notes after the death of the newest holder, since they may be older than its position.
    #[cold]
    fn repair(ring: &Ring, held: &Held<'_>, later: &Later) {
        if let Err(corrupt) = segment::find_again(ring, held) {
            later.overwritten(corrupt);
        }
    }

    /// Returns the number of items in the ring. Reads the consumers' cache line only if the last known number is `at_least`
    /// or more; otherwise the number may be too large.
    #[inline]
    pub(super) fn items(&self, at_least: u64) -> u64 {
        let tail = self.ring.tail();
        let seen = Position::from_bits(self.held.load_word(SEEN));
        let items = u64::from(tail.items_since(seen));
        if items < at_least {
            return items;
        }
        let head = self.ring.head();
        self.held.store_word(SEEN, head.to_bits());
        u64::from(tail.items_since(head))
    }

    /// Returns a place for an item of `bytes` bytes: at the tail, or otherwise in the next segment.
    #[inline]
    pub(super) fn place(&mut self, bytes: usize) -> Result<Place, NoRoom> {
        let record = record_bytes(bytes);
        let at = self.ring.tail().offset;
        let segment =
            Segment::noted(self.ring, self.held.load_word(SEGMENT), self.held.load_word(SEGMENT_END));
        if at >= segment.records() && at.saturating_add(record) <= segment.end {
            return Ok(Place { at, segment, is_new_segment: false });
        }
        self.next_segment(record)
    }

    /// Writes a record to a place that [`place`](Self::place) returned. No consumer sees it before the commit.
    #[inline]
    pub(super) fn write(&self, place: Place, item: &[u8]) -> Result<(), Corrupt> {
        let outside = Corrupt("a segment lies outside of the queue");
        let header = u64::try_from(item.len()).unwrap_or(SKIP);
        let at = place.at;
        let word = self.ring.region.word(at).ok_or(outside)?;
        word.store(header, Ordering::Relaxed);
        if !self.ring.region.write(item_of(at, item.len()), item) {
            return Err(outside);
        }
        crash::point();
        Ok(())
    }

    /// Moves the tail over `items` records that end at `end`. From now on they are in the queue. The store is ordered
    /// before the look at the doorbell.
    #[inline]
    pub(super) fn commit(&self, place: Place, items: u32, end: u64) {
        let tail = self.ring.tail();
        let next = Position { number: tail.number.wrapping_add(items), offset: end };
        // `TAIL` is a constant inside the region.
        let _stored = self.ring.region.commit_before_looking(TAIL, next.to_bits());
        crash::point();
        if place.is_new_segment {
            self.held.store_word(SEGMENT, place.segment.start);
            crash::point();
            self.held.store_word(SEGMENT_END, place.segment.end);
            crash::point();
        }
        self.ring.add_bytes(PUT_BYTES, end.saturating_sub(place.at));
    }
}
