//! Leases: tasks that are handed out, returned or failed.
//!
//! When a task is got, it is copied from the ring into a cell. So it does not block the ring, and is still there when its
//! holder dies. Cells lie after the ring in the same region, in one table for each size of task:
//!
//! | word of a cell | meaning | written by |
//! |---|---|---|
//! | 0, owner | [`FREE`], the stamp of the process that has the task, [`RETURNED`], or [`FAILED`] | see below |
//! | 1, number | the number of the item in the ring | the holder of the consumers' lock, before the owner |
//! | 2, deliveries | how often the task was handed out | as above |
//! | 3, length | bytes of the task | as above |
//! | 4, memory | whether the cell's bytes have memory | the holder of the consumers' lock |
//!
//! | from | to | by |
//! |---|---|---|
//! | `FREE`, `RETURNED` | a stamp | a consumer that takes a task, under the consumers' lock |
//! | a stamp | `FREE` | its holder, when the task is done, by one compare-and-exchange |
//! | a stamp | `RETURNED`, or `FAILED` after too many deliveries | its holder, or a process that finds the holder dead, likewise |
//! | `FAILED` | `FREE` | a process that takes the failed tasks, under the consumers' lock |
//!
//! While an item moves from the ring into a cell, both contain it, and one store of the head decides. Before that, the
//! lock's note names the cell that is *being filled*. If the next holder of the lock finds such a note, it checks whether
//! the head has moved over the item. So a dead process cannot leave wrong counts: a task is unfinished if it is in the ring
//! or in a cell.

mod cell;

use std::sync::atomic::{AtomicU64, Ordering};

use mp_sys::memory::MemoryError;

pub(super) use self::cell::{Cell, FAILED, FREE, RETURNED, is_stamp};
use crate::limits::TASKS_MAX;
use crate::queue::layout::CELLS_RESERVED;
use crate::queue::refused::Refused;
use crate::queue::ring::{Ring, tell_kept};

/// Bytes of a cell without its task.
const CELL_BYTES: u64 = 64;
/// Bytes of a task in the smallest table. In each further table the size doubles.
const SMALLEST: u64 = 64;
/// The number of tables. The last one has cells for the longest item.
const TABLES: usize = 23;
/// Bytes of a page: memory is reserved and given back in pages.
const PAGE: u64 = 4096;
/// Bytes of each table's first cells, which keep their memory when they are free.
const KEPT_BYTES: u64 = 1 << 20;
/// Bytes that are reserved at once, since cells share pages and each reservation has to find out how much memory there is.
/// A multiple of each cell size for which it is used.
const STEP_BYTES: u64 = 64 << 10;
/// The most cells whose memory one operation gives back.
const GIVEN_BACK_AT_ONCE: usize = 4;

/// Offsets in the annex, one page of words that all tables share. This one: whether a returned task may wait.
const RETURNED_HINT: u64 = 0;
const MAX_DELIVERIES: u64 = 8;
const LAST_LOOK: u64 = 16;
/// The doorbell of processes that wait until all tasks are finished.
const FINISHED_BELL: u64 = 24;
const SURPLUS_HINT: u64 = 32;
/// One word for each table: the number of cells that were ever used.
const USED: u64 = 64;
/// One word for each table: whether one of these cells may be free. It avoids useless searches of a table in full use.
const FREED: u64 = 512;

/// The leases of a queue.
#[derive(Debug)]
pub(super) struct Leases {
    annex: u64,
    tables: [Table; TABLES],
    /// The index at which each table's last free cell was found. With many tasks handed out, a search from the start would
    /// look at the same used cells again and again.
    hints: [AtomicU64; TABLES],
}

/// Cells of one size.
#[derive(Debug, Clone, Copy)]
struct Table {
    /// The offset of the word with the number of used cells.
    used: u64,
    /// The offset of the word that says whether one of them may be free.
    freed: u64,
    cells: u64,
    bytes: u64,
    /// Bytes of the longest task that fits into a cell.
    size: u64,
    /// The number of cells.
    count: u64,
}

/// Returns the address space for the tasks of one table: a part of the ring's space.
fn space_of_table(ring_space: u64) -> u64 {
    (ring_space / 8).next_multiple_of(PAGE)
}

fn tables(annex: u64, ring_space: u64) -> [Table; TABLES] {
    let most = u64::try_from(TASKS_MAX).unwrap_or(u64::MAX);
    let mut next = annex.saturating_add(PAGE);
    std::array::from_fn(|index| {
        let index = u64::try_from(index).unwrap_or(0);
        let size = SMALLEST << index;
        let count = (space_of_table(ring_space).div_euclid(size)).min(most);
        let cells = next;
        let bytes = cells.saturating_add(count.saturating_mul(CELL_BYTES)).next_multiple_of(PAGE);
        next = bytes.saturating_add(count.saturating_mul(size)).next_multiple_of(PAGE);
        let shared = annex.saturating_add(index << 3);
        let (used, freed) = (shared.saturating_add(USED), shared.saturating_add(FREED));
        Table { used, freed, cells, bytes, size, count }
    })
}

/// Returns the number of bytes that the leases need after a ring of `ring_space` bytes.
pub(super) fn annex_bytes(ring_space: u64) -> u64 {
    tables(0, ring_space).last().map_or(0, |table| table.end())
}

impl Table {
    fn end(&self) -> u64 {
        self.bytes.saturating_add(self.count.saturating_mul(self.size)).next_multiple_of(PAGE)
    }

    fn cell(&self, index: u64) -> Cell {
        let offset = index.saturating_mul(self.size);
        Cell {
            at: self.cells.saturating_add(index.saturating_mul(CELL_BYTES)),
            bytes: self.bytes.saturating_add(offset),
            size: self.size,
            is_kept: self.size < PAGE || offset < KEPT_BYTES,
        }
    }

    /// Finds a free cell among those that were ever used, beginning at `first`, and returns its index.
    fn find_free(&self, ring: &Ring, used: u64, first: u64) -> Option<u64> {
        let freed = ring.region.word(self.freed)?;
        if freed.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let first = first.min(used);
        // Reset before the search, so that a cell that becomes free from now on sets it again.
        freed.store(0, Ordering::SeqCst);
        let mut indices = (first..used).chain(0..first);
        let found = indices.find(|index| self.cell(*index).owner(ring) == FREE);
        if found.is_some() {
            // There may be more free cells.
            freed.store(1, Ordering::Relaxed);
        }
        found
    }

    /// Returns the number of cells that were ever used.
    fn used(&self, ring: &Ring) -> u64 {
        ring.load(self.used).unwrap_or(0).min(self.count)
    }
}

impl Leases {
    pub(super) fn new(annex: u64, ring_space: u64) -> Self {
        Self { annex, tables: tables(annex, ring_space), hints: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Reserves memory for the page that the tables share, and sets the maximum number of deliveries.
    pub(super) fn lay(&self, ring: &Ring, max_deliveries: u32) -> Result<(), MemoryError> {
        let _until_counted = ring.region.reserve(self.annex, PAGE)?;
        ring.count_reserved(CELLS_RESERVED, |_| PAGE);
        self.set_max_deliveries(ring, max_deliveries);
        Ok(())
    }

    fn shared<'a>(&self, ring: &'a Ring, at: u64) -> Option<&'a AtomicU64> {
        ring.region.word(self.annex.saturating_add(at))
    }

    pub(super) fn max_deliveries(&self, ring: &Ring) -> u32 {
        let word = self.shared(ring, MAX_DELIVERIES).map_or(0, |word| word.load(Ordering::Relaxed));
        u32::try_from(word).unwrap_or(u32::MAX)
    }

    pub(super) fn set_max_deliveries(&self, ring: &Ring, count: u32) {
        if let Some(word) = self.shared(ring, MAX_DELIVERIES) {
            word.store(u64::from(count), Ordering::Relaxed);
        }
    }

    /// Returns the offset of the doorbell of processes that wait until all tasks are finished.
    pub(super) fn finished_bell(&self) -> u64 {
        self.annex.saturating_add(FINISHED_BELL)
    }

    /// Returns the word with the time of the last search for dead workers, as a `SharedTime`.
    pub(super) fn last_look<'a>(&self, ring: &'a Ring) -> Option<&'a AtomicU64> {
        self.shared(ring, LAST_LOOK)
    }

    /// Returns whether a returned task may wait to be handed out again.
    #[inline]
    pub(super) fn may_have_returned(&self, ring: &Ring) -> bool {
        self.shared(ring, RETURNED_HINT).is_some_and(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// Records that a task may wait. Called after a task was marked as returned.
    pub(super) fn say_returned(&self, ring: &Ring) {
        if let Some(word) = self.shared(ring, RETURNED_HINT) {
            word.store(1, Ordering::SeqCst);
        }
    }

    pub(super) fn forget_returned(&self, ring: &Ring) {
        if let Some(word) = self.shared(ring, RETURNED_HINT) {
            word.store(0, Ordering::SeqCst);
        }
    }

    /// Returns the number of cells that were ever used.
    pub(super) fn used(&self, ring: &Ring) -> u64 {
        self.tables.iter().map(|table| table.used(ring)).fold(0, u64::saturating_add)
    }

    /// Returns all cells that were ever used.
    pub(super) fn cells<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = Cell> + 'a {
        let of_table = move |table: &'a Table| (0..table.used(ring)).map(move |index| table.cell(index));
        self.tables.iter().flat_map(of_table)
    }

    /// Returns a free cell, with memory, for a task of `len` bytes. The caller holds the consumers' lock.
    pub(super) fn free_cell(&self, ring: &Ring, len: usize) -> Result<Cell, Refused> {
        let wanted = u64::try_from(len).unwrap_or(u64::MAX);
        let mut tables = self.tables.iter().zip(&self.hints);
        let found = tables.find(|(table, _)| table.size >= wanted && table.count > 0);
        let (table, hint) = found.ok_or(Refused::TooManyTasks)?;
        let used = table.used(ring);
        let free = table.find_free(ring, used, hint.load(Ordering::Relaxed));
        let cell = match free {
            Some(index) => {
                hint.store(index, Ordering::Relaxed);
                table.cell(index)
            }
            None if used < table.count => self.first_use(ring, table, used)?,
            None => return Err(Refused::TooManyTasks),
        };
        if cell.size >= PAGE && !cell.has_memory(ring) {
            let _until_counted = ring.region.reserve(cell.bytes, cell.size).map_err(Refused::Memory)?;
            cell.note_memory(ring, true);
            ring.count_reserved(CELLS_RESERVED, |bytes| bytes.saturating_add(cell.size));
        }
        Ok(cell)
    }

    fn first_use(&self, ring: &Ring, table: &Table, index: u64) -> Result<Cell, Refused> {
        let cell = table.cell(index);
        reserve_step(ring, (table.cells, table.bytes), index.saturating_mul(CELL_BYTES))?;
        if table.size < PAGE {
            reserve_step(ring, (table.bytes, table.end()), index.saturating_mul(table.size))?;
        }
        ring.store(table.used, index.saturating_add(1))?;
        Ok(cell)
    }

    /// Records that a cell may be free. Called after a cell became free.
    pub(super) fn say_free(&self, ring: &Ring, cell: &Cell) {
        let table = self.tables.iter().find(|table| table.size == cell.size);
        if let Some(freed) = table.and_then(|table| ring.region.word(table.freed)) {
            freed.store(1, Ordering::SeqCst);
        }
        if cell.is_kept {
            return;
        }
        // Its memory may be surplus.
        if let Some(word) = self.shared(ring, SURPLUS_HINT) {
            word.store(1, Ordering::Relaxed);
        }
    }

    /// Gives back the memory of free cells, except the first ones of each table. The caller holds the consumers' lock.
    pub(super) fn give_surplus_back(&self, ring: &Ring) {
        let Some(hint) = self.shared(ring, SURPLUS_HINT).filter(|hint| hint.load(Ordering::Relaxed) != 0)
        else {
            return;
        };
        hint.store(0, Ordering::Relaxed);
        let is_surplus = |cell: &Cell| !cell.is_kept && cell.owner(ring) == FREE && cell.has_memory(ring);
        let surplus: Vec<Cell> =
            self.cells(ring).filter(is_surplus).take(GIVEN_BACK_AT_ONCE.saturating_add(1)).collect();
        if surplus.len() > GIVEN_BACK_AT_ONCE {
            hint.store(1, Ordering::Relaxed);
        }
        for cell in surplus.iter().take(GIVEN_BACK_AT_ONCE) {
            cell.note_memory(ring, false);
            match ring.region.give_back(cell.bytes, cell.size) {
                Ok(()) => ring.count_reserved(CELLS_RESERVED, |bytes| bytes.saturating_sub(cell.size)),
                Err(error) => tell_kept(error),
            }
        }
    }

    /// Returns the cell with this name, which comes from a lock's note, or `None` if there is no such cell.
    pub(super) fn named(&self, name: u64) -> Option<Cell> {
        let (table, index) = (name >> 32, name & 0xffff_ffff);
        let table = self.tables.get(usize::try_from(table.checked_sub(1)?).ok()?)?;
        (index < table.count).then(|| table.cell(index))
    }

    /// Returns the name of a cell, which is never 0.
    pub(super) fn name_of(&self, cell: &Cell) -> u64 {
        let position = self.tables.iter().position(|table| table.size == cell.size).unwrap_or(0);
        let start = self.tables.get(position).map_or(0, |table| table.cells);
        let index = cell.at.saturating_sub(start) / CELL_BYTES;
        let table = u64::try_from(position).unwrap_or(0).saturating_add(1);
        (table << 32) | index
    }
}

/// Reserves memory for many cells at once, from this offset in a table on, if the offset begins a step.
fn reserve_step(ring: &Ring, (start, end): (u64, u64), offset: u64) -> Result<(), Refused> {
    let place = start.saturating_add(offset);
    let bytes = STEP_BYTES.min(end.saturating_sub(place));
    if offset.is_multiple_of(STEP_BYTES) && bytes > 0 {
        let _until_counted = ring.region.reserve(place, bytes).map_err(Refused::Memory)?;
        ring.count_reserved(CELLS_RESERVED, |reserved| reserved.saturating_add(bytes));
    }
    Ok(())
}
