//! The directory of a chunk: what lies where, for processes that receive an object of the chunk.
//!
//! A message names an object by its place in a chunk, and a message may claim anything. So the chunk itself records
//! what was sent from which place. Each place has two words, which are 0 until an object that begins there is put into
//! a message, and then hold the [`Mark`] of that object for ever. The receiver of a message compares the mark with the
//! type that it expects.
//!
//! | offset | what |
//! |---|---|
//! | 0 | the magic number |
//! | 8 | the layout version and the ABI, as in [`crate::named`] |
//! | 16 | the chunk's random id, 16 bytes |
//! | 32 | the number of places |
//! | 64 | two words for each place, one place for each 64 bytes from [`first`](Directory::first) on |
//!
//! The second word of a mark is stored first. A process that dies in between leaves a mark that matches nothing; the
//! next process that sends the object completes it.
//!
//! The words in one page, together with their places, are a [`Block`]: a chunk that takes memory on demand takes it for
//! all words of a block at once. The first place lies as far behind a page as the first word, so blocks begin at pages.
//! # Invariants
//! 1. A mark is never replaced: a span that was sent is never handed out again, so one place has one kind of object as
//!    long as any process has the chunk.
//! 2. The number of places in use is this process's own copy, checked against the mapping once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::crash;
use crate::memory::{MAPPING_BYTES_MAX, Mapping};
use crate::named::{What, first_word, version};
use crate::span::SPAN_ALIGN;

const MAGIC: u64 = u64::from_ne_bytes(*b"mp-chunk");
/// Bytes of the words of one place.
pub(crate) const MARK_BYTES: usize = 16;
/// Where the words begin.
const WORDS_AT: usize = 64;
/// Where the first place begins in its page.
const FIRST_IN_PAGE: usize = WORDS_AT / MARK_BYTES * SPAN_ALIGN;
/// The most blocks of a chunk that takes memory on demand.
pub(super) const BLOCKS_MAX: usize = 64;

/// The start of a chunk.
type Header = [u64; 5];

/// Bits of the length in a mark.
const LENGTH_BITS: u32 = 48;
const _: () = assert!(MAPPING_BYTES_MAX < 1 << LENGTH_BITS);

/// What an object is, in two words that are not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its class, kind and bytes, unhashed: these decide which bytes are used, and as what.
    exact: u64,
    /// A hash of its element type and its number of elements.
    print: u64,
}

impl Mark {
    /// Returns `None` for a length that no mapping has.
    pub(crate) fn of(what: What, class: u8, count: u64, length: u64) -> Option<Self> {
        if length >= 1 << LENGTH_BITS {
            return None;
        }
        let exact = what.class_and_kind(class) << LENGTH_BITS | length;
        let both = [what.print, count].map(u64::to_le_bytes);
        Some(Self { exact, print: first_word(both.as_flattened()).max(1) })
    }
}

/// The part of a chunk that records what was sent from where.
#[derive(Debug)]
pub(crate) struct Directory {
    places: usize,
    first: usize,
    /// One bit for each block whose words have memory. It belongs to this process alone, and is used only in chunks
    /// that it cut.
    pub(super) words: AtomicU64,
}

/// The words of a page and their places, as offsets in the chunk.
#[derive(Debug)]
pub(crate) struct Block {
    /// Its bit in [`Directory::words`].
    pub(super) bit: u64,
    pub(super) words_at: usize,
    pub(super) places_at: usize,
    pub(super) places_end: usize,
}

impl Directory {
    /// Makes a directory for this many places of [`SPAN_ALIGN`] bytes.
    pub(crate) fn for_places(places: usize) -> Self {
        if places <= 1 {
            return Self::for_one_place();
        }
        let words = places.saturating_mul(MARK_BYTES).saturating_add(WORDS_AT);
        let pages = words.checked_next_multiple_of(rustix::param::page_size()).unwrap_or(usize::MAX);
        Self { places, first: pages.saturating_add(FIRST_IN_PAGE), words: AtomicU64::new(u64::MAX) }
    }

    /// Makes a directory for one object, which starts at a page.
    pub(crate) fn for_one_place() -> Self {
        Self { places: 1, first: rustix::param::page_size(), words: AtomicU64::new(u64::MAX) }
    }

    /// Where the first place begins.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The number of the place that begins at this offset of the chunk.
    pub(crate) fn place_of(&self, at: usize) -> Option<usize> {
        let from_first = at.checked_sub(self.first)?;
        let place = from_first / SPAN_ALIGN;
        (from_first.is_multiple_of(SPAN_ALIGN) && place < self.places).then_some(place)
    }

    /// The blocks that have places in this range of the chunk, as far as there are bits for them.
    pub(super) fn blocks(&self, start: usize, end: usize) -> impl Iterator<Item = Block> + use<> {
        let page = rustix::param::page_size();
        let bytes = (page / MARK_BYTES).saturating_mul(SPAN_ALIGN);
        let base = self.first.saturating_sub(FIRST_IN_PAGE);
        let index = move |at: usize| at.saturating_sub(base).checked_div(bytes).unwrap_or(0);
        let last = index(end.saturating_sub(1)).min(BLOCKS_MAX.saturating_sub(1));
        (index(start)..=last).map(move |index| {
            let places_at = base.saturating_add(index.saturating_mul(bytes));
            Block {
                bit: 1 << index,
                words_at: index.saturating_mul(page),
                places_at,
                places_end: places_at.saturating_add(bytes),
            }
        })
    }

    /// Writes the header of a chunk that no other process knows yet.
    pub(crate) fn write(&self, mapping: &Mapping, id: [u64; 2]) {
        let [high, low] = id;
        let places = u64::try_from(self.places).unwrap_or(u64::MAX);
        let header: Header = [MAGIC, version(), high, low, places];
        mapping.write_at(0, bytemuck::cast_slice(&header));
    }

    /// Reads the header of a chunk that arrived, and its id; returns `None` if it is not a chunk of this build.
    pub(crate) fn read(mapping: &Mapping) -> Option<(Self, [u64; 2])> {
        let mut header = Header::default();
        mapping.read_at(0, bytemuck::cast_slice_mut(&mut header));
        let [magic, its_version, high, low, places] = header;
        if magic != MAGIC || its_version != version() {
            return None;
        }
        let directory = Self::for_places(usize::try_from(places).ok()?);
        (directory.first <= mapping.len()).then_some((directory, [high, low]))
    }

    /// Puts a mark where an object begins; returns `false` if another mark is there.
    pub(crate) fn put(&self, mapping: &Mapping, at: usize, mark: Mark) -> bool {
        let Some([exact, print]) = self.words(mapping, at) else { return false };
        let enter = |word: &AtomicU64, value| {
            let entered = word.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire);
            crash::point();
            entered.is_ok() || entered == Err(value)
        };
        enter(print, mark.print) && enter(exact, mark.exact)
    }

    /// Whether the place where an object begins has this mark.
    pub(crate) fn has(&self, mapping: &Mapping, at: usize, mark: Mark) -> bool {
        self.words(mapping, at).is_some_and(|[exact, print]| {
            exact.load(Ordering::Acquire) == mark.exact && print.load(Ordering::Acquire) == mark.print
        })
    }

    #[expect(
        clippy::cast_ptr_alignment,
        reason = "a mapping starts at a page, and words at multiples of 8 in it"
    )]
    fn words<'mapping>(&self, mapping: &'mapping Mapping, at: usize) -> Option<&'mapping [AtomicU64; 2]> {
        let words = self.place_of(at)?.checked_mul(MARK_BYTES)?.checked_add(WORDS_AT)?;
        if words.checked_add(MARK_BYTES)? > self.first.min(mapping.len()) {
            return None;
        }
        let place = mapping.base().wrapping_add(words).cast::<[AtomicU64; 2]>();
        // SAFETY: the check above found that both lie in the mapping, at a multiple of 8 from its page-aligned base; no
        // span begins before `first`, so they are accessed here only, as atomics; the mapping lives as long as the
        // reference.
        Some(unsafe { &*place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::Kind;
    use crate::span::Chunk;

    fn what(kind: u8, print: u64) -> What {
        What { kind: Kind::new(kind), print }
    }

    #[test]
    fn a_mark_holds_class_kind_and_length_unhashed() {
        let mark = Mark::of(what(2, 77), 3, 5, 64).unwrap();
        assert_eq!(mark.exact, 3 << 56 | 2 << 48 | 64);
        let others = [
            Mark::of(what(3, 77), 3, 5, 64),
            Mark::of(what(2, 77), 4, 5, 64),
            Mark::of(what(2, 77), 3, 5, 65),
            Mark::of(what(2, 78), 3, 5, 64),
            Mark::of(what(2, 77), 3, 6, 64),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != mark));
        assert!(Mark::of(what(2, 77), 3, 5, (1 << 48) - 1).is_some());
        assert_eq!(Mark::of(what(2, 77), 3, 5, 1 << 48), None);
    }

    #[test]
    fn half_a_mark_matches_nothing_and_can_be_completed() {
        let span = Chunk::new(4096).unwrap().cut(64).unwrap();
        let mapping = span.mapping();
        let (directory, at) = (mapping.directory.as_ref().unwrap(), 128 * 8);
        let at = (at..mapping.len()).find(|at| directory.place_of(*at) == Some(1)).unwrap();
        let mark = Mark::of(what(2, 77), 3, 5, 64).unwrap();
        // A process died after the first store.
        let [exact, print] = directory.words(mapping, at).unwrap();
        print.store(mark.print, Ordering::Relaxed);
        assert!(!directory.has(mapping, at, mark));
        let another = Mark::of(what(2, 78), 3, 5, 64).unwrap();
        assert!(!directory.put(mapping, at, another));
        assert!(directory.put(mapping, at, mark));
        assert!(directory.has(mapping, at, mark));
        assert!(directory.put(mapping, at, mark), "again");
        assert!(!directory.put(mapping, at, Mark::of(what(9, 77), 3, 5, 64).unwrap()));
        assert_eq!(exact.load(Ordering::Relaxed), mark.exact);
    }
}
