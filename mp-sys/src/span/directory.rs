//! What lies where in a chunk, for those who are sent an object of it.
//!
//! A message names an object by its place in a chunk, and a message may say anything. So the chunk itself says what was
//! sent from where: each place has a word, 0 until an object that begins there is put into a message, and then the
//! [`Mark`] of that object for ever. Whoever receives a message compares the mark with the type that is expected.
//!
//! | offset | what |
//! |---|---|
//! | 0 | the magic number |
//! | 8 | the layout version and the ABI, as in [`crate::named`] |
//! | 16 | the chunk's random id, 16 bytes |
//! | 32 | the number of places |
//! | 64 | a word for each place, one place for each 64 bytes from [`first`](Directory::first) on |
//!
//! # Invariants
//! 1. A mark is never replaced: a span that was sent is never handed out again, so one place has one kind of object as long
//!    as any process has the chunk.
//! 2. The number of places that is used is this process's own copy, checked against the mapping once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Mapping;
use crate::named::version;
use crate::span::SPAN_ALIGN;

const MAGIC: u64 = u64::from_ne_bytes(*b"mp-chunk");
/// Bytes of the word of a place.
pub(crate) const WORD: usize = 8;
/// Where the words begin.
const WORDS_AT: usize = 64;

/// What stands at the start of a chunk.
type Header = [u64; 5];

/// What an object is: its kind, its element's type, its number of elements and its bytes, in one word that is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// FNV-1a over the words: it must be the same in every build.
    pub(crate) fn of(fingerprint: u64, count: u64, length: u64) -> Self {
        let bytes = [fingerprint, count, length].map(u64::to_ne_bytes);
        let hash = bytes.iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash.max(1))
    }
}

/// The part of a chunk that says what was sent from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directory {
    places: usize,
    first: usize,
}

impl Directory {
    /// For this many places of [`SPAN_ALIGN`] bytes.
    pub(crate) fn for_places(places: usize) -> Self {
        if places <= 1 {
            return Self::for_one_place();
        }
        let words = places.saturating_mul(WORD).saturating_add(WORDS_AT);
        Self { places, first: words.checked_next_multiple_of(SPAN_ALIGN).unwrap_or(usize::MAX) }
    }

    /// For one object, which starts at a page.
    pub(crate) fn for_one_place() -> Self {
        Self { places: 1, first: rustix::param::page_size() }
    }

    /// Where the first place begins.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The place that begins at this offset of the chunk.
    pub(crate) fn place_of(&self, at: usize) -> Option<usize> {
        let from_first = at.checked_sub(self.first)?;
        let place = from_first / SPAN_ALIGN;
        (from_first.is_multiple_of(SPAN_ALIGN) && place < self.places).then_some(place)
    }

    /// Writes the header of a chunk that nobody else knows yet.
    pub(crate) fn write(&self, mapping: &Mapping, id: [u64; 2]) {
        let [high, low] = id;
        let places = u64::try_from(self.places).unwrap_or(u64::MAX);
        let header: Header = [MAGIC, version(), high, low, places];
        mapping.write_at(0, bytemuck::cast_slice(&header));
    }

    /// Reads the header of a chunk that arrived, and its id; `None` if it is no chunk of this build.
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

    /// Puts a mark where an object begins; `false` if another one is there.
    pub(crate) fn put(&self, mapping: &Mapping, at: usize, mark: Mark) -> bool {
        let Some(word) = self.word(mapping, at) else { return false };
        match word.compare_exchange(0, mark.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == mark.0,
        }
    }

    /// Whether this mark is where an object begins.
    pub(crate) fn has(&self, mapping: &Mapping, at: usize, mark: Mark) -> bool {
        self.word(mapping, at).is_some_and(|word| word.load(Ordering::Acquire) == mark.0)
    }

    #[expect(
        clippy::cast_ptr_alignment,
        reason = "a mapping starts at a page, and words at multiples of 8 in it"
    )]
    fn word<'mapping>(&self, mapping: &'mapping Mapping, at: usize) -> Option<&'mapping AtomicU64> {
        let word = self.place_of(at)?.checked_mul(WORD)?.checked_add(WORDS_AT)?;
        if word.checked_add(WORD)? > self.first.min(mapping.len()) {
            return None;
        }
        let place = mapping.base().wrapping_add(word).cast::<AtomicU64>();
        // SAFETY: the word lies in the mapping, as was just found, at a multiple of 8 from its page-aligned base; no span
        // begins before `first`, so it is accessed here only, as an atomic; the mapping lives as long as the reference.
        Some(unsafe { &*place })
    }
}
