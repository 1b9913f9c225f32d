//! Cells: each holds one task that is handed out, returned or failed. The parent module describes its words.

use std::sync::atomic::{AtomicU64, Ordering};

use mp_sys::crash;
use mp_sys::memory::MemoryError;

use crate::queue::refused::Refused;
use crate::queue::ring::{Corrupt, Ring};

/// The cell holds no task.
pub(in crate::queue) const FREE: u64 = 0;
/// The task waits to be handed out again. No stamp has this value, since the upper bits of stamps are 0.
pub(in crate::queue) const RETURNED: u64 = u64::MAX;
/// The task was handed out too often, or cannot be decoded.
pub(in crate::queue) const FAILED: u64 = u64::MAX - 1;

const OWNER: u64 = 0;
const NUMBER: u64 = 8;
const DELIVERIES: u64 = 16;
const LEN: u64 = 24;
const MEMORY: u64 = 32;

/// A cell of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) struct Cell {
    pub(super) at: u64,
    /// The offset of its task.
    pub(in crate::queue) bytes: u64,
    pub(super) size: u64,
    /// Whether the cell keeps its memory when it is free.
    pub(super) is_kept: bool,
}

impl Cell {
    fn word<'a>(&self, ring: &'a Ring, at: u64) -> &'a AtomicU64 {
        // Cells are computed from constants and the bounds of a table, so they lie in the region.
        ring.region.word(self.at.saturating_add(at)).expect("a cell lies in its region")
    }

    fn store(&self, ring: &Ring, at: u64, value: u64) {
        self.word(ring, at).store(value, Ordering::Release);
        crash::point();
    }

    pub(super) fn has_memory(&self, ring: &Ring) -> bool {
        self.word(ring, MEMORY).load(Ordering::Relaxed) != 0
    }

    pub(super) fn note_memory(&self, ring: &Ring, has_memory: bool) {
        self.store(ring, MEMORY, u64::from(has_memory));
    }

    pub(in crate::queue) fn owner(&self, ring: &Ring) -> u64 {
        self.word(ring, OWNER).load(Ordering::SeqCst)
    }

    /// Changes the owner, if it is still `from`. Returns whether it was.
    pub(in crate::queue) fn exchange_owner(&self, ring: &Ring, from: u64, to: u64) -> bool {
        let word = self.word(ring, OWNER);
        let exchanged = word.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        crash::point();
        exchanged
    }

    pub(in crate::queue) fn number(&self, ring: &Ring) -> u64 {
        self.word(ring, NUMBER).load(Ordering::Relaxed)
    }

    pub(in crate::queue) fn deliveries(&self, ring: &Ring) -> u32 {
        u32::try_from(self.word(ring, DELIVERIES).load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Returns a copy of the task.
    pub(in crate::queue) fn read(&self, ring: &Ring) -> Result<Vec<u8>, Refused> {
        let len = self.word(ring, LEN).load(Ordering::Relaxed);
        let len = usize::try_from(len).ok().filter(|_| len <= self.size);
        let len = len.ok_or(Corrupt("a task is longer than its cell"))?;
        let mut bytes = Vec::new();
        if ring.region.append_to(self.bytes, len, &mut bytes) {
            Ok(bytes)
        } else {
            Err(Refused::Memory(MemoryError::NoSpace { wanted: self.size, available: 0 }))
        }
    }

    /// Fills a free cell, except its owner.
    pub(in crate::queue) fn fill(&self, ring: &Ring, number: u32, task: &[u8]) -> Result<(), Corrupt> {
        if !ring.region.write(self.bytes, task) {
            return Err(Corrupt("a cell lies outside of the queue"));
        }
        self.store(ring, NUMBER, u64::from(number));
        self.store(ring, DELIVERIES, 1);
        self.store(ring, LEN, u64::try_from(task.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Counts another delivery. Called before the task gets its next owner.
    pub(in crate::queue) fn deliver_again(&self, ring: &Ring) {
        let deliveries = self.word(ring, DELIVERIES);
        deliveries.store(deliveries.load(Ordering::Relaxed).saturating_add(1), Ordering::Release);
        crash::point();
    }
}

/// Returns whether a process has the task.
pub(in crate::queue) fn is_stamp(owner: u64) -> bool {
    !matches!(owner, FREE | RETURNED | FAILED)
}
