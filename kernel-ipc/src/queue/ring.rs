//! The ring: records in segments, under two locks. `producer` and `consumer` take the locks.
//!
//! Producers append under one lock, and consumers take under the other. So they only share two words: one store of a
//! producer moves `TAIL` over a complete record, and one store of a consumer moves `HEAD` over a record that it has copied
//! out. Each word also carries the number of items, so that the count is exact. A process that is killed has either made
//! its store or not. After a kill, recovery only rebuilds the notes of the lock:
//!
//! | note | lock | meaning |
//! |---|---|---|
//! | `SEGMENT`, `SEGMENT_END` | both | the segment that the position lies in |
//! | `SEEN` | both | the other side's position when it was last read, so that its cache line is read as seldom as possible |
//! | `PUT_BYTES`, `TAKEN_BYTES` | one each | bytes of all records ever put and ever taken, for a limit in bytes |
//!
//! Notes are stored after the position. If a process finds that the newest holder died, it rebuilds them.
//!
//! # Invariants
//! 1. Every offset, length and link that is read from the region is checked before it is used, since a peer may have
//!    written anything. An impossible value is [`Corrupt`].
//! 2. Records between `HEAD` and `TAIL` are complete, and no process writes to them.
//! 3. A consumer follows a link only out of a segment that the producers have left.

use std::sync::atomic::Ordering;

use mp_sys::OsError;
use mp_sys::crash;
use mp_sys::locked::Locked;
use mp_sys::memory::MemoryError;
use mp_sys::quiet::{LateQuiet, Note, tell};
use mp_sys::region::Region;
use mp_sys::robust::Patience;

use crate::queue::layout::{
    CELLS_RESERVED, FIRST_SEGMENT_BYTES, HEAD, OFFSETS_END, PUT_BYTES, Position, RING_RESERVED, RING_START,
    SEGMENT_HEADER_BYTES, SIZE, TAIL, TAKEN_BYTES,
};

/// The queue's memory contains an impossible value. The text says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corrupt(pub(super) &'static str);

/// Events for subscribers of `tracing`, delivered when the lock is released. It costs nothing unless there is an event.
#[derive(Debug, Default)]
pub(super) struct Later(LateQuiet);

impl Later {
    /// Must be called before anything that may emit an event.
    #[cold]
    pub(super) fn begin(&self) {
        self.0.begin();
    }

    #[cold]
    pub(super) fn overwritten(&self, Corrupt(what): Corrupt) {
        self.begin();
        tell(Note::Words(say_overwritten, what));
    }
}

fn say_overwritten(what: &'static str) {
    tracing::error!(what, "a queue's memory was overwritten");
}

/// Emits an event if memory could not be given back. The caller has begun a quiet time, so that it is delivered later.
pub(super) fn tell_kept(error: MemoryError) {
    if let MemoryError::System(error) = error {
        tell(Note::Refused(say_kept, error));
    }
}

fn say_kept(error: OsError) {
    tracing::debug!(%error, "a queue keeps memory that it does not need");
}

/// The reason why nothing was put.
#[derive(Debug)]
pub(super) enum NoRoom {
    Memory(MemoryError),
    Corrupt(Corrupt),
}

impl From<Corrupt> for NoRoom {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Offsets of the words after both locks.
pub(super) const SEGMENT: usize = 0;
pub(super) const SEGMENT_END: usize = 8;
pub(super) const SEEN: usize = 16;
/// A word after the consumers' lock: the cell that an item is being moved to, or 0.
pub(super) const FILLING: usize = 24;
/// Words after the producers' lock. This one: whether the event descriptor was made readable, and the packets that it owes.
pub(super) const SIGNALLED: usize = 24;
/// The end of the last segment.
pub(super) const SEGMENTS_END: usize = 32;
/// The first free segment, which is not in the ring, or 0.
pub(super) const FREE: usize = 40;
/// When the queue last reserved memory, as a `SharedTime`.
pub(super) const GREW_AT: usize = 48;

/// The ring of one queue.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) region: Region,
    pub(super) producers: Locked,
    pub(super) consumers: Locked,
    /// The offset before which all segments must end.
    end: u64,
}

impl Ring {
    /// Makes an empty ring in a new region. Segments lie before `end`.
    pub(super) fn new(len: u64, end: u64) -> Result<Self, MemoryError> {
        let (region, [producers, consumers]) = Region::new(len, RING_START + FIRST_SEGMENT_BYTES)?;
        let ring = Self { region, producers, consumers, end: end.min(OFFSETS_END) };
        ring.lay_first_segment();
        Ok(ring)
    }

    /// Returns a ring that another process made.
    pub(super) fn attach(region: Region, [producers, consumers]: [Locked; 2], end: u64) -> Self {
        let end = end.min(OFFSETS_END).min(region.len());
        Self { region, producers, consumers, end }
    }

    /// Writes the first segment. No other process knows the ring yet.
    fn lay_first_segment(&self) {
        let first = Position { number: 0, offset: RING_START + SEGMENT_HEADER_BYTES };
        let end = RING_START + FIRST_SEGMENT_BYTES;
        for (at, value) in [
            (RING_START, RING_START),
            (RING_START + SIZE, FIRST_SEGMENT_BYTES),
            (TAIL, first.to_bits()),
            (HEAD, first.to_bits()),
        ] {
            let stored = self.region.commit(at, value);
            debug_assert!(stored, "the first segment lies in the region");
        }
        for lock in [&self.producers, &self.consumers] {
            // No process can hold the lock or have held it.
            if let Ok(held) = lock.acquire(Patience::None, |_| {}) {
                held.store_word(SEGMENT, RING_START);
                held.store_word(SEGMENT_END, end);
                held.store_word(SEEN, first.to_bits());
            }
        }
        if let Ok(held) = self.producers.acquire(Patience::None, |_| {}) {
            held.store_word(SEGMENTS_END, end);
            let _stored = self.region.commit(RING_RESERVED, FIRST_SEGMENT_BYTES);
        }
    }

    /// Returns the offset before which all segments must end.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Returns the producers' position.
    #[inline]
    pub(super) fn tail(&self) -> Position {
        self.position(TAIL)
    }

    /// Returns the consumers' position.
    #[inline]
    pub(super) fn head(&self) -> Position {
        self.position(HEAD)
    }

    #[inline]
    fn position(&self, at: u64) -> Position {
        Position::from_bits(self.region.word(at).map_or(0, |word| word.load(Ordering::Acquire)))
    }

    /// Returns the number of items in the ring, at one moment during the call.
    pub(super) fn len(&self) -> u32 {
        loop {
            let tail = self.tail();
            let head = self.head();
            // Numbers only grow, so the tail had this value when the head was read.
            if self.tail() == tail {
                return tail.items_since(head);
            }
        }
    }

    /// Returns the number of bytes of the records in the ring. It is too large while a consumer has taken a record and has
    /// not counted it yet.
    pub(super) fn bytes(&self) -> u64 {
        let word = |at| self.region.word(at).map_or(0, |word| word.load(Ordering::Acquire));
        let taken = word(TAKEN_BYTES);
        word(PUT_BYTES).saturating_sub(taken)
    }

    /// Adds to one of the counts of bytes. The caller holds its lock.
    #[inline]
    pub(super) fn add_bytes(&self, at: u64, bytes: u64) {
        if let Some(word) = self.region.word(at) {
            word.store(word.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Release);
            crash::point();
        }
    }

    /// Changes the number of bytes that have memory, in the ring or in the cells, and updates the budget. The caller holds
    /// the lock.
    pub(super) fn count_reserved(&self, at: u64, change: impl FnOnce(u64) -> u64) {
        if let Some(word) = self.region.word(at) {
            word.store(change(word.load(Ordering::Relaxed)), Ordering::Relaxed);
            crash::point();
        }
        self.region.count_reserved(self.reserved());
    }

    /// Counts the queue's memory in the budget of a process that received the queue.
    pub(super) fn claim_reserved(&self) -> Result<(), MemoryError> {
        self.region.claim_reserved(self.reserved())
    }

    /// Returns the number of bytes that have memory.
    fn reserved(&self) -> u64 {
        let sum = [RING_RESERVED, CELLS_RESERVED].iter().filter_map(|at| self.region.word(*at));
        let sum = sum.fold(RING_START, |sum, word| sum.saturating_add(word.load(Ordering::Relaxed)));
        // A peer may have written anything, so the sum is limited to the region.
        sum.min(self.region.len())
    }

    pub(super) fn load(&self, at: u64) -> Result<u64, Corrupt> {
        let word = self.region.word(at).ok_or(Corrupt("a position lies outside of the queue"))?;
        Ok(word.load(Ordering::Acquire))
    }

    pub(super) fn store(&self, at: u64, value: u64) -> Result<(), Corrupt> {
        let stored = self.region.commit(at, value);
        crash::point();
        if stored { Ok(()) } else { Err(Corrupt("a position lies outside of the queue")) }
    }
}
