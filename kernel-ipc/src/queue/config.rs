//! The configuration of a queue, fixed when it is made: its kind, its type, its limits. It lies in the region, so that each
//! process that receives the queue finds it there.

use std::sync::atomic::Ordering;

use mp_sys::locked::Locked;
use mp_sys::memory::MemoryError;
use mp_sys::region::{LOCKS, Region};

use crate::limits::CAPACITY_MAX;
use crate::queue::layout::{CONFIG, CONFIG_WORDS, OFFSETS_END, RECORD_HEADER_BYTES};
use crate::queue::leases::{self, Leases};
use crate::queue::ring::Ring;

/// Marks a region as a queue.
const MAGIC: u64 = u64::from_ne_bytes(*b"mp-queue");
/// The version of the layout. Raised whenever the layout changes.
const LAYOUT_VERSION: u64 = 4;
/// The least address space that a queue can work with.
const SPACE_MIN: u64 = 64 << 20;

/// The configuration of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Config {
    /// A hash of the type of the items. The kind of the queue follows from `leases`.
    pub(super) fingerprint: u64,
    /// The maximum number of items; `u64::MAX` means no limit.
    pub(super) max_items: u64,
    /// The maximum number of bytes of records; `u64::MAX` means no limit.
    pub(super) max_bytes: u64,
    /// How often a task is handed out at most; `None` if the queue has no tasks.
    pub(super) leases: Option<u32>,
}

/// What a receiver expects of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// See [`Config`].
    pub(super) fingerprint: u64,
    /// Whether the queue is one of tasks.
    pub(super) has_leases: bool,
}

impl Config {
    /// Returns whether the queue has this kind and this type of items.
    pub(super) fn is(&self, wanted: Wanted) -> bool {
        self.fingerprint == wanted.fingerprint && self.leases.is_some() == wanted.has_leases
    }

    /// Returns whether producers may have to wait.
    #[inline]
    pub(super) fn is_bounded(&self) -> bool {
        self.max_items != u64::MAX || self.max_bytes != u64::MAX
    }

    /// Makes the region and the ring in it.
    pub(super) fn make_ring(&self) -> Result<(Ring, Option<Leases>), MemoryError> {
        let mut space = OFFSETS_END;
        let file_limit = mp_sys::budget::file_size_limit().unwrap_or(u64::MAX);
        let ring = loop {
            let length = space.saturating_add(self.annex(space));
            let may_be_smaller = space / 2 >= SPACE_MIN;
            // Address space may be limited (RLIMIT_AS), or used up by thousands of queues.
            match if length > file_limit && may_be_smaller { None } else { Some(Ring::new(length, space)) } {
                None => space /= 2,
                Some(Err(MemoryError::System(_))) if may_be_smaller => space /= 2,
                Some(result) => break result?,
            }
        };
        let has_leases = u64::from(self.leases.is_some());
        let words =
            [MAGIC, LAYOUT_VERSION, self.fingerprint, self.max_items, self.max_bytes, space, has_leases];
        for (at, word) in (CONFIG..).step_by(8).zip(words) {
            // The offsets are constants inside the region.
            let _stored = ring.region.commit(at, word);
        }
        let leases = self.leases.map(|max_deliveries| {
            let leases = Leases::new(space, space);
            leases.lay(&ring, max_deliveries).map(|()| leases)
        });
        Ok((ring, leases.transpose()?))
    }

    /// Returns the number of bytes after the ring's space.
    fn annex(&self, space: u64) -> u64 {
        if self.leases.is_some() { leases::annex_bytes(space) } else { 0 }
    }

    /// Reads the configuration that another process stored. The words are read only once, here, so a peer cannot change
    /// them after they have been checked.
    ///
    /// # Errors
    /// A text, if the region is not a queue, is a queue of another kind or type, or has an impossible configuration.
    pub(super) fn attach(
        region: Region,
        locks: [Locked; LOCKS],
        wanted: Wanted,
    ) -> Result<(Self, Ring, Option<Leases>), &'static str> {
        let mut words = [0; CONFIG_WORDS];
        for (at, word) in (CONFIG..).step_by(8).zip(&mut words) {
            *word = region.word(at).map_or(0, |word| word.load(Ordering::Acquire));
        }
        let [magic, version, fingerprint, max_items, max_bytes, space, has_leases] = words;
        // The maximum of deliveries can change, so it is read from the region when it is needed.
        let config = Self { fingerprint, max_items, max_bytes, leases: (has_leases != 0).then_some(0) };
        if magic != MAGIC || version != LAYOUT_VERSION || !config.is(wanted) {
            return Err("the message carries a queue of another kind or type");
        }
        let has_limits =
            is_limit(max_items, CAPACITY_MAX) && max_bytes >= RECORD_HEADER_BYTES && max_items > 0;
        // `make_ring` halves the space, so these are all possible values.
        let has_space = space.is_power_of_two() && (SPACE_MIN..=OFFSETS_END).contains(&space);
        let has_kind = has_leases <= 1;
        if !has_limits || !has_space || !has_kind || region.len() != space.saturating_add(config.annex(space))
        {
            return Err("the message carries a damaged queue: its configuration is impossible");
        }
        let leases = config.leases.map(|_| Leases::new(space, space));
        Ok((config, Ring::attach(region, locks, space), leases))
    }
}

/// Returns whether this is a limit of at most `most`, or no limit.
fn is_limit(limit: u64, most: usize) -> bool {
    limit == u64::MAX || usize::try_from(limit).is_ok_and(|limit| limit <= most)
}
