//! What is fixed when a queue is made: its kind, its type, its limits. It lies in the region, so that whoever is handed
//! the queue finds it there.

use std::sync::atomic::Ordering;

use mp_sys::locked::Locked;
use mp_sys::memory::MemoryError;
use mp_sys::region::{LOCKS, Region};

use crate::queue::layout::{CONFIG, CONFIG_WORDS, OFFSETS_END};
use crate::queue::ring::Ring;

/// Says that a region is a queue.
const MAGIC: u64 = u64::from_ne_bytes(*b"mp-queue");
/// Raised whenever the layout changes.
const LAYOUT_VERSION: u64 = 1;
/// The least address space that a queue is content with.
const SPACE_MIN: u64 = 64 << 20;

/// What is fixed when a queue is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Config {
    /// Names the kind of queue and the type of its items.
    pub(super) fingerprint: u64,
    /// Items that the queue holds at most; `u64::MAX` without a limit.
    pub(super) max_items: u64,
    /// Bytes of records that it holds at most; `u64::MAX` without a limit.
    pub(super) max_bytes: u64,
    /// Bytes behind the ring's space, for whatever else the kind of queue keeps in its region.
    pub(super) annex: u64,
}

impl Config {
    /// Whether producers may have to wait.
    #[inline]
    pub(super) fn is_bounded(&self) -> bool {
        self.max_items != u64::MAX || self.max_bytes != u64::MAX
    }

    /// Makes the region and the ring in it.
    pub(super) fn make_ring(&self) -> Result<Ring, MemoryError> {
        let mut space = OFFSETS_END;
        if let Some(limit) = mp_sys::budget::file_size_limit() {
            space = space.min(limit.saturating_sub(self.annex));
        }
        let ring = loop {
            // Address space may be limited (RLIMIT_AS), or used up by thousands of queues.
            match Ring::new(space.saturating_add(self.annex), space) {
                Err(MemoryError::System(_)) if space / 2 >= SPACE_MIN => space /= 2,
                result => break result?,
            }
        };
        let words = [MAGIC, LAYOUT_VERSION, self.fingerprint, self.max_items, self.max_bytes, space];
        for (at, word) in (CONFIG..).step_by(8).zip(words) {
            // Inside: constants.
            let _stored = ring.region.commit(at, word);
        }
        Ok(ring)
    }

    /// Finds what another process fixed; `None` if the region is no queue, or one of another kind or type.
    pub(super) fn attach(
        region: Region,
        locks: [Locked; LOCKS],
        fingerprint: u64,
        annex: u64,
    ) -> Option<(Self, Ring)> {
        let mut words = [0; CONFIG_WORDS];
        for (at, word) in (CONFIG..).step_by(8).zip(&mut words) {
            *word = region.word(at)?.load(Ordering::Acquire);
        }
        let [magic, version, found, max_items, max_bytes, space] = words;
        let is_one = magic == MAGIC && version == LAYOUT_VERSION && found == fingerprint;
        let fits = space.checked_add(annex).is_some_and(|end| end <= region.len());
        if !is_one || !fits {
            return None;
        }
        Some((Self { fingerprint, max_items, max_bytes, annex }, Ring::attach(region, locks, space)))
    }
}
