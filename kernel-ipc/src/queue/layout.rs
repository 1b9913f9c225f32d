//! The layout of a queue's region.
//!
//! | offset | content | written by |
//! |---|---|---|
//! | 0 | the producers' lock, and the words after it | its holder |
//! | 128 | the consumers' lock, and the words after it | its holder |
//! | 256 | [`TAIL`] and other words of producers, one cache line | the holder of the producers' lock; the bell: waiting consumers |
//! | 384 | [`HEAD`] and other words of consumers, one cache line | the holder of the consumers' lock; the bell: waiting producers |
//! | 512 | the configuration, which never changes: kind, type, limits | the maker |
//! | [`RING_START`] | segments, end to end | the holder of the producers' lock |
//!
//! A segment begins with a header of [`SEGMENT_HEADER_BYTES`]. Records follow, each with a header of one word and the
//! item's bytes, rounded up to whole words. A record never crosses the end of its segment.

use mp_sys::region::DATA_START;

/// The current position of the producers.
pub(super) const TAIL: u64 = DATA_START;
/// The doorbell of consumers that sleep, or are about to.
pub(super) const FILLED_BELL: u64 = TAIL + 8;
/// The CPU that a producer last ran on, plus one.
pub(super) const PRODUCER_CPU: u64 = TAIL + 12;
/// Whether the queue is closed.
pub(super) const CLOSED: u64 = TAIL + 16;
/// Who waits for the event descriptor.
pub(super) const ARMED: u64 = TAIL + 20;
/// Bytes of all records ever put.
pub(super) const PUT_BYTES: u64 = TAIL + 24;

/// Bytes of segments that have memory.
pub(super) const RING_RESERVED: u64 = TAIL + 32;

/// The current position of the consumers.
pub(super) const HEAD: u64 = DATA_START + 128;
/// The doorbell of producers that sleep, or are about to.
pub(super) const DRAINED_BELL: u64 = HEAD + 8;
/// The CPU that a consumer last ran on, plus one.
pub(super) const CONSUMER_CPU: u64 = HEAD + 12;
/// Bytes of all records ever taken.
pub(super) const TAKEN_BYTES: u64 = HEAD + 16;

/// Bytes of cells that have memory.
pub(super) const CELLS_RESERVED: u64 = HEAD + 24;

/// Whether tasks of a runtime may wait for room, or for the end of other tasks.
pub(super) const TASKS_WAIT: u64 = HEAD + 32;

/// The configuration, which never changes.
pub(super) const CONFIG: u64 = DATA_START + 256;
/// Words of the configuration.
pub(super) const CONFIG_WORDS: usize = 7;

/// The offset of the first segment.
pub(super) const RING_START: u64 = 4096;
/// Segments begin and end at multiples of this, so that their memory can be given back.
pub(super) const SEGMENT_ALIGN: u64 = 4096;
/// Bytes of the first segment of a new queue.
pub(super) const FIRST_SEGMENT_BYTES: u64 = 64 << 10;
/// Offsets inside a segment's header; the link to the next segment is at 0. This one: bytes of the segment.
pub(super) const SIZE: u64 = 8;
/// The next free segment, 0 after the last.
pub(super) const FREE_NEXT: u64 = 16;
/// Bytes of all records that were put before the segment's first one.
pub(super) const BASE: u64 = 24;
/// Bytes before a segment's records.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
/// Bytes before a record's item.
pub(super) const RECORD_HEADER_BYTES: u64 = 8;
/// Items of this length or more begin at a multiple of [`ALIGN_OF_LARGE`]. Copies are faster there (by a fifth for 64 KiB,
/// measured), and the padding is negligible.
pub(super) const ALIGNED_FROM_BYTES: usize = 4096;
/// A cache line.
const ALIGN_OF_LARGE: u64 = 64;
/// A special length of a record: the rest of this segment is unused, and the next record is in the next segment.
pub(super) const SKIP: u64 = u64::MAX;

/// The end of the offsets that a position can hold: 2^32 words.
pub(super) const OFFSETS_END: u64 = 1 << 35;

/// A position in the ring: the number of items before it, and the offset of the next one. Both fit into one word, so one
/// store moves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Wraps. A queue never holds 2^32 items, since each takes at least one word of less than 2^35 bytes.
    pub(super) number: u32,
    /// Bytes from the start of the region; a multiple of 8.
    pub(super) offset: u64,
}

impl Position {
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "each half is wanted on its own")]
        let (number, words) = ((bits >> 32) as u32, bits as u32);
        Self { number, offset: u64::from(words) << 3 }
    }

    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        (u64::from(self.number) << 32) | (self.offset >> 3)
    }

    /// Returns the position after a record of `bytes` bytes that begins at `record`.
    #[inline]
    pub(super) fn after(self, record: u64, bytes: u64) -> Self {
        Self { number: self.number.wrapping_add(1), offset: record.wrapping_add(bytes) }
    }

    /// Returns the number of items from `earlier` to this position.
    #[inline]
    pub(super) fn items_since(self, earlier: Self) -> u32 {
        self.number.wrapping_sub(earlier.number)
    }
}

/// Returns the number of bytes that an item of `bytes` bytes takes in a segment.
#[inline]
pub(super) fn record_bytes(bytes: usize) -> u64 {
    let slack = if bytes < ALIGNED_FROM_BYTES { 0 } else { ALIGN_OF_LARGE - RECORD_HEADER_BYTES };
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    bytes.saturating_add(slack).saturating_add(RECORD_HEADER_BYTES).saturating_add(7) & !7
}

/// Returns the offset at which the item of a record begins.
#[inline]
pub(super) fn item_of(record: u64, bytes: usize) -> u64 {
    let behind_header = record.saturating_add(RECORD_HEADER_BYTES);
    if bytes < ALIGNED_FROM_BYTES {
        return behind_header;
    }
    behind_header.saturating_add(ALIGN_OF_LARGE - 1) & !(ALIGN_OF_LARGE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_fits_into_one_word() {
        for position in [
            Position { number: 0, offset: RING_START },
            Position { number: u32::MAX, offset: OFFSETS_END - 8 },
            Position { number: 1 << 31, offset: 8 },
        ] {
            assert_eq!(Position::from_bits(position.to_bits()), position);
        }
        let last = Position { number: u32::MAX, offset: 64 };
        let next = last.after(64, 16);
        assert_eq!(next, Position { number: 0, offset: 80 });
        assert_eq!(next.items_since(last), 1);
    }

    #[test]
    fn records_are_whole_words() {
        assert_eq!([0, 1, 8, 9, 64].map(record_bytes), [8, 16, 16, 24, 72]);
        assert_eq!([4095, 4096].map(record_bytes), [4104, 4160]);
        for record in (4160..4300).step_by(8) {
            assert_eq!(item_of(record, 4095), record + 8);
            let item = item_of(record, 4096);
            assert!(item.is_multiple_of(64) && (record + 8..=record + 64).contains(&item));
        }
    }
}
