//! Room for a producer's next record: segments that are linked into the circle, and out of it.
//!
//! A producer that needs room takes the next segment if it is empty. Otherwise it links another one in by one store. Empty
//! segments beyond [`KEPT_BYTES`] are unlinked from the circle by one store each, and their memory is given back.

use std::time::Duration;

use mp_sys::crash;
use mp_sys::deadline::SharedTime;
use mp_sys::memory::MemoryError;

use crate::queue::layout::{
    BASE, FREE_NEXT, PUT_BYTES, RECORD_HEADER_BYTES, RING_RESERVED, RING_START, SEGMENT_ALIGN,
    SEGMENT_HEADER_BYTES, SIZE, SKIP,
};
use crate::queue::producer::{Place, Producer};
use crate::queue::ring::{Corrupt, FREE, GREW_AT, NoRoom, SEGMENT, SEGMENTS_END, tell_kept};
use crate::queue::segment::{self, SEGMENTS_MAX, Segment};

/// Bytes of the segments by which a small queue grows.
const SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// Bytes of the segments by which a large queue grows. Reserving more at once would take too long for one `put`.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;
/// A segment has room for at least this many records of large items, if its size allows.
const RECORDS_MIN: u64 = 4;
/// Bytes of empty segments that a queue keeps.
const KEPT_BYTES: u64 = 2 << 20;
/// Bytes of empty segments that a queue keeps if it grew within [`BREATH`]. Otherwise a queue that fills and empties with
/// each time slice of its processes would request the same memory from the kernel again and again.
const KEPT_BYTES_WHILE_BREATHING: u64 = 32 << 20;
/// How long a queue that grew counts as breathing.
const BREATH: Duration = Duration::from_secs(1);
/// The most segments that one operation gives back, so that no operation takes long.
const GIVEN_BACK_AT_ONCE: usize = 8;
/// The number of free segments among which a producer looks for one that is large enough.
const LOOKED_AT: usize = 64;

impl Producer<'_> {
    /// Finds a segment for a record of `record` bytes that does not fit where the tail is.
    #[cold]
    pub(super) fn next_segment(&mut self, record: u64) -> Result<Place, NoRoom> {
        let current = Segment::at(self.ring, self.held.load_word(SEGMENT))?;
        let at = self.ring.tail().offset;
        if !current.holds(at) {
            return Err(Corrupt("the producers are in no segment").into());
        }
        let needed = record.saturating_add(SEGMENT_HEADER_BYTES);
        let segment = match self.empty_behind(current, needed)? {
            Some(segment) => segment,
            None => self.link_another(current, needed)?,
        };
        if at.saturating_add(RECORD_HEADER_BYTES) <= current.end {
            self.ring.store(at, SKIP)?;
        }
        self.ring.store(segment.start.saturating_add(BASE), self.ring.load(PUT_BYTES)?)?;
        Ok(Place { at: segment.records(), segment, is_new_segment: true })
    }

    /// Returns the segment after the current one, if it is empty and large enough. Segments that are too small are
    /// unlinked, since they would otherwise be found again and again.
    fn empty_behind(&mut self, current: Segment, needed: u64) -> Result<Option<Segment>, Corrupt> {
        let head = self.ring.head().offset;
        for _ in 0..GIVEN_BACK_AT_ONCE {
            let next = Segment::at(self.ring, self.ring.load(current.start)?)?;
            if next == current || next.holds(head) {
                break;
            }
            if next.size() >= needed {
                self.give_surplus_back(next);
                return Ok(Some(next));
            }
            self.take_out(current, next)?;
        }
        Ok(None)
    }

    fn link_another(&mut self, current: Segment, needed: u64) -> Result<Segment, NoRoom> {
        let segment = self.another(needed)?;
        self.ring.store(segment.start, self.ring.load(current.start)?)?;
        self.ring.store(current.start, segment.start)?;
        Ok(segment)
    }

    /// Returns a segment that is not in the circle, with its memory reserved.
    fn another(&mut self, needed: u64) -> Result<Segment, NoRoom> {
        if let Some(segment) = self.take_free(needed, LOOKED_AT)? {
            return Ok(segment);
        }
        match self.cut_another(needed) {
            Err(NoRoom::Memory(refused)) if self.space_left() < needed => {
                // All space has been used once, so free neighbours are joined, and all free segments are searched.
                segment::find_again(self.ring, &self.held)?;
                self.take_free(needed, SEGMENTS_MAX)?.ok_or(NoRoom::Memory(refused))
            }
            result => result,
        }
    }

    /// Returns the size of a new segment for a record that needs `needed` bytes. A queue grows by a quarter, within bounds.
    fn growth(&self, needed: u64) -> u64 {
        let used = self.held.load_word(SEGMENTS_END).saturating_sub(RING_START);
        let mut size = (used / 4).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).max(needed);
        let several = needed.saturating_mul(RECORDS_MIN);
        if size < several && several <= SEGMENT_BYTES_MAX {
            // Otherwise a large part of each segment would stay unused, and fewer segments would fit into the cache.
            size = several;
        }
        size.checked_next_multiple_of(SEGMENT_ALIGN).unwrap_or(u64::MAX)
    }

    fn space_left(&self) -> u64 {
        self.ring.end().saturating_sub(self.held.load_word(SEGMENTS_END))
    }

    /// Takes the first of the first `looked_at` free segments that is large enough.
    fn take_free(&mut self, needed: u64, looked_at: usize) -> Result<Option<Segment>, NoRoom> {
        let mut before = None;
        let mut at = self.held.load_word(FREE);
        for _ in 0..looked_at {
            if at == 0 {
                break;
            }
            let segment = Segment::at(self.ring, at)?;
            if segment.size() >= needed {
                let segment = self.split(segment, self.growth(needed))?;
                self.reserve(segment)?;
                let after = self.ring.load(at.saturating_add(FREE_NEXT))?;
                match before {
                    None => self.held.store_word(FREE, after),
                    Some(before) => self.ring.store(before, after)?,
                }
                crash::point();
                return Ok(Some(segment));
            }
            before = Some(at.saturating_add(FREE_NEXT));
            at = self.ring.load(at.saturating_add(FREE_NEXT))?;
        }
        Ok(None)
    }

    /// Splits a free segment that is much larger than `size`, and returns the first part.
    fn split(&self, segment: Segment, size: u64) -> Result<Segment, NoRoom> {
        let rest = Segment { start: segment.start.saturating_add(size), end: segment.end };
        if segment.size() < size.saturating_add(SEGMENT_BYTES_MIN) {
            return Ok(segment);
        }
        self.later.begin();
        // The page of a free segment's header is not counted as reserved.
        drop(self.ring.region.reserve(rest.start, SEGMENT_ALIGN).map_err(NoRoom::Memory)?);
        let free_next = self.ring.load(segment.start.saturating_add(FREE_NEXT))?;
        self.ring.store(rest.start.saturating_add(FREE_NEXT), free_next)?;
        self.ring.store(rest.start.saturating_add(SIZE), rest.size())?;
        // From here on there are two segments.
        self.ring.store(segment.start.saturating_add(SIZE), size)?;
        self.ring.store(segment.start.saturating_add(FREE_NEXT), rest.start)?;
        Ok(Segment { start: segment.start, end: rest.start })
    }

    /// Makes a segment from space that was never used.
    fn cut_another(&mut self, needed: u64) -> Result<Segment, NoRoom> {
        let start = self.held.load_word(SEGMENTS_END);
        let left = self.space_left();
        let size = self.growth(needed).min(left & !(SEGMENT_ALIGN - 1));
        if size < needed {
            return Err(NoRoom::Memory(MemoryError::NoSpace { wanted: needed, available: left }));
        }
        if start <= RING_START || !start.is_multiple_of(SEGMENT_ALIGN) {
            return Err(Corrupt("the segments have an impossible end").into());
        }
        let segment = Segment { start, end: start.saturating_add(size) };
        self.reserve(segment)?;
        self.ring.store(start.saturating_add(SIZE), size)?;
        self.held.store_word(SEGMENTS_END, segment.end);
        crash::point();
        Ok(segment)
    }

    fn reserve(&self, segment: Segment) -> Result<(), NoRoom> {
        self.later.begin();
        let _until_counted =
            self.ring.region.reserve(segment.start, segment.size()).map_err(NoRoom::Memory)?;
        self.ring.count_reserved(RING_RESERVED, |bytes| bytes.saturating_add(segment.size()));
        self.held.store_word(GREW_AT, SharedTime::now().to_bits());
        Ok(())
    }

    /// Unlinks empty segments from the circle, except those that the queue keeps. They follow the tail's segment, or
    /// `last`, which the tail is about to enter.
    fn give_surplus_back(&mut self, last: Segment) {
        if let Err(corrupt) = self.give_back_behind(last) {
            self.later.overwritten(corrupt);
        }
    }

    /// Gives back surplus segments. A consumer that left a segment calls this, since no producer may come for a long time.
    #[cold]
    pub(in crate::queue) fn trim(&mut self) {
        if let Ok(current) = Segment::at(self.ring, self.held.load_word(SEGMENT)) {
            self.give_surplus_back(current);
        }
    }

    fn give_back_behind(&mut self, last: Segment) -> Result<(), Corrupt> {
        let head = self.ring.head().offset;
        let tail = self.ring.tail().offset;
        let is_breathing = SharedTime::from_bits(self.held.load_word(GREW_AT)).age() < BREATH;
        let keep = if is_breathing { KEPT_BYTES_WHILE_BREATHING } else { KEPT_BYTES };
        let (mut kept, mut link) = (0, last);
        let mut given_back = 0;
        while given_back < GIVEN_BACK_AT_ONCE && kept <= keep {
            let segment = Segment::at(self.ring, self.ring.load(link.start)?)?;
            if segment.holds(head) || segment.holds(tail) || segment == last {
                break;
            }
            kept = kept.saturating_add(segment.size());
            if kept <= keep {
                link = segment;
                continue;
            }
            self.take_out(link, segment)?;
            kept = kept.saturating_sub(segment.size());
            given_back = given_back.saturating_add(1);
        }
        Ok(())
    }

    /// Unlinks a segment from the circle, adds it to the free ones, and gives back its memory, except the page with its
    /// header. `before` links to it.
    fn take_out(&mut self, before: Segment, segment: Segment) -> Result<(), Corrupt> {
        self.ring.store(before.start, self.ring.load(segment.start)?)?;
        self.ring.store(segment.start.saturating_add(FREE_NEXT), self.held.load_word(FREE))?;
        self.held.store_word(FREE, segment.start);
        crash::point();
        let rest = segment.start.saturating_add(SEGMENT_ALIGN);
        match self.ring.region.give_back(rest, segment.end.saturating_sub(rest)) {
            Ok(()) => {
                self.ring.count_reserved(RING_RESERVED, |bytes| bytes.saturating_sub(segment.size()));
            }
            Err(error) => {
                self.later.begin();
                tell_kept(error);
            }
        }
        Ok(())
    }
}
