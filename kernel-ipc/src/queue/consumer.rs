//! The consumers' side of a ring: a consumer copies records out, and then moves the head over them.

use std::sync::atomic::Ordering;

use mp_sys::crash;
use mp_sys::locked::Held;
use mp_sys::memory::MemoryError;
use mp_sys::robust::{AcquireError, Patience};

use crate::limits::ITEM_BYTES_MAX;
use crate::queue::layout::{
    BASE, HEAD, Position, RECORD_HEADER_BYTES, SKIP, TAKEN_BYTES, item_of, record_bytes,
};
use crate::queue::refused::Refused;
use crate::queue::ring::{Corrupt, Later, Ring, SEEN, SEGMENT, SEGMENT_END};
use crate::queue::segment::Segment;

/// The held lock of the consumers.
#[derive(Debug)]
pub(super) struct Consumer<'a> {
    pub(super) ring: &'a Ring,
    pub(super) held: Held<'a>,
    /// Declared after the lock, so that it is dropped after it.
    _later: Later,
}

/// The place of a consumer: a position, and its segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) position: Position,
    segment: Segment,
}

/// A record in the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    at: u64,
    segment: Segment,
    /// Bytes of the item.
    pub(super) len: usize,
}

impl Record {
    /// Returns the offset of the item.
    #[inline]
    pub(super) fn item(&self) -> u64 {
        item_of(self.at, self.len)
    }

    /// Copies the item's bytes into a slice of its length.
    #[inline]
    pub(super) fn read(&self, ring: &Ring, into: &mut [u8]) -> Result<(), Refused> {
        self.copied(ring.region.read(self.item(), into))
    }

    /// Appends the item's bytes to a vector.
    pub(super) fn append_to(&self, ring: &Ring, into: &mut Vec<u8>) -> Result<(), Refused> {
        self.copied(ring.region.append_to(self.item(), self.len, into))
    }

    /// Turns a failed copy into an error. A record lies in its segment, so only memory for the copy can be missing.
    #[inline]
    fn copied(&self, done: bool) -> Result<(), Refused> {
        if done {
            return Ok(());
        }
        let wanted = u64::try_from(self.len).unwrap_or(u64::MAX);
        Err(Refused::Memory(MemoryError::NoSpace { wanted, available: 0 }))
    }
}

impl<'a> Consumer<'a> {
    /// Takes the consumers' lock.
    #[inline(always)]
    pub(super) fn lock(ring: &'a Ring, patience: Patience) -> Result<Self, AcquireError> {
        let later = Later::default();
        let held = ring.consumers.acquire(patience, |held| Self::repair(ring, held, &later))?;
        Ok(Self { ring, held, _later: later })
    }

    /// Rebuilds the notes after the death of the newest holder.
    #[cold]
    fn repair(ring: &Ring, held: &Held<'_>, later: &Later) {
        let head = ring.head();
        let found = Segment::around(ring, head.offset).and_then(|segment| {
            let base = ring.load(segment.start.saturating_add(BASE))?;
            held.store_word(SEGMENT, segment.start);
            crash::point();
            held.store_word(SEGMENT_END, segment.end);
            crash::point();
            held.store_word(SEEN, head.to_bits());
            let taken = base.wrapping_add(head.offset.saturating_sub(segment.records()));
            ring.store(TAKEN_BYTES, taken)
        });
        if let Err(corrupt) = found {
            later.overwritten(corrupt);
        }
    }

    /// Returns the place of the consumers.
    #[inline]
    pub(super) fn cursor(&self) -> Cursor {
        let segment =
            Segment::noted(self.ring, self.held.load_word(SEGMENT), self.held.load_word(SEGMENT_END));
        Cursor { position: self.ring.head(), segment }
    }

    /// Returns whether there is an item at the cursor. Reads the producers' cache line only if there was no item when it
    /// was last read.
    #[inline]
    pub(super) fn has_item(&self, cursor: &Cursor) -> bool {
        let number = cursor.position.number;
        let seen = Position::from_bits(self.held.load_word(SEEN));
        if seen.number != number {
            return true;
        }
        let tail = self.ring.tail();
        self.held.store_word(SEEN, tail.to_bits());
        tail.number != number
    }

    /// Returns the record at the cursor. The caller knows that there is one.
    #[inline]
    pub(super) fn record(&self, cursor: &Cursor) -> Result<Record, Corrupt> {
        let (at, segment) = (cursor.position.offset, cursor.segment);
        if at >= segment.records()
            && at.saturating_add(RECORD_HEADER_BYTES) <= segment.end
            && let Some(word) = self.ring.region.word(at)
        {
            let len = word.load(Ordering::Relaxed);
            if len != SKIP {
                return checked(at, segment, len);
            }
        }
        self.first_of_next_segment(segment)
    }

    #[cold]
    fn first_of_next_segment(&self, segment: Segment) -> Result<Record, Corrupt> {
        let next = Segment::at(self.ring, self.ring.load(segment.start)?)?;
        let len = self.ring.load(next.records())?;
        checked(next.records(), next, len)
    }

    /// Returns the cursor after a record.
    #[inline]
    pub(super) fn after(&self, cursor: &Cursor, record: &Record) -> Cursor {
        let position = cursor.position.after(record.at, record_bytes(record.len));
        Cursor { position, segment: record.segment }
    }

    /// Moves the head. The records before the cursor `to` are no longer in the queue. Returns whether the consumers left a
    /// segment.
    #[inline]
    pub(super) fn commit(&self, from: &Cursor, to: &Cursor, bytes: u64) -> bool {
        // `HEAD` is a constant inside the region.
        let _stored = self.ring.region.commit(HEAD, to.position.to_bits());
        crash::point();
        let left_segment = to.segment != from.segment;
        if left_segment {
            self.held.store_word(SEGMENT, to.segment.start);
            crash::point();
            self.held.store_word(SEGMENT_END, to.segment.end);
            crash::point();
        }
        self.ring.add_bytes(TAKEN_BYTES, bytes);
        left_segment
    }
}

#[inline]
fn checked(at: u64, segment: Segment, len: u64) -> Result<Record, Corrupt> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > ITEM_BYTES_MAX {
        return Err(Corrupt("an item is longer than an item may be"));
    }
    match at.checked_add(record_bytes(len)) {
        Some(end) if end <= segment.end => Ok(Record { at, segment, len }),
        _ => Err(Corrupt("an item is longer than its segment")),
    }
}
