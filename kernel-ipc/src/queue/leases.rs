//! Leases: tasks that somebody has, or had and gave back.
//!
//! A task that is got is copied out of the ring into a cell, so that it does not keep the ring from going on, and is there
//! when its holder dies. Cells lie behind the ring in the same region, one table for each size of task:
//!
//! | word of a cell | meaning | who stores |
//! |---|---|---|
//! | 0, owner | [`FREE`], the stamp of the process that has the task, [`RETURNED`], or [`FAILED`] | see below |
//! | 1, number | the number that the item had in the ring | the holder of the consumers' lock, before the owner |
//! | 2, deliveries | how often it was handed out | as above |
//! | 3, length | bytes of the task | as above |
//! | 4, memory | whether the cell's bytes have memory | the holder of the consumers' lock |
//!
//! | from | to | by |
//! |---|---|---|
//! | `FREE`, `RETURNED` | a stamp | a consumer that takes a task, under the consumers' lock |
//! | a stamp | `FREE` | its holder, done with it, by one compare-and-exchange |
//! | a stamp | `RETURNED`, or `FAILED` after too many deliveries | its holder, or whoever finds it dead, by the same |
//! | `FAILED` | `FREE` | whoever takes the failed tasks, under the consumers' lock |
//!
//! While an item moves from the ring into a cell, both have it, and the one store of the head decides: the cell is noted
//! before as *being filled*, and whoever takes the lock next and finds such a note looks whether the head went over it.
//! So there are no counts that a dead process could leave wrong: what is unfinished is what is in the ring or in a cell.

mod cell;

use std::sync::atomic::{AtomicU64, Ordering};

use mp_sys::memory::MemoryError;

pub(super) use self::cell::{Cell, FAILED, FREE, RETURNED, is_stamp};
use crate::limits::TASKS_MAX;
use crate::queue::core::Refused;
use crate::queue::layout::CELLS_RESERVED;
use crate::queue::ring::{Ring, tell_kept};

/// Bytes of a cell without the task's own.
const CELL_BYTES: u64 = 64;
/// Bytes of the tasks in the cells of the smallest table; each next table has cells of twice as many.
const SMALLEST: u64 = 64;
/// Tables: the last one has cells for the longest item.
const TABLES: usize = 23;
/// Memory is taken and given back by the page.
const PAGE: u64 = 4096;
/// Bytes of a table's cells that keep their memory when they are free.
const KEPT_BYTES: u64 = 1 << 20;
/// Cells share pages, and each reservation asks how much memory there is: as much is reserved at once. A multiple of the
/// size of each cell for which it is used.
const STEP_BYTES: u64 = 64 << 10;
/// Cells whose memory one operation gives back at most.
const GIVEN_BACK_AT_ONCE: usize = 4;

/// Offsets in the annex: what all tables share, one page.
const RETURNED_HINT: u64 = 0;
const MAX_DELIVERIES: u64 = 8;
const LAST_LOOK: u64 = 16;
/// Tasks that wait for this are told when one is finished.
const FINISHED_BELL: u64 = 24;
const SURPLUS_HINT: u64 = 32;
/// One word for each table: how many of its cells were ever used.
const USED: u64 = 64;
/// One word for each table: whether one of them may be free, so that a table in full use is not searched in vain.
const FREED: u64 = 512;

/// The leases of a queue.
#[derive(Debug)]
pub(super) struct Leases {
    annex: u64,
    tables: [Table; TABLES],
    /// Where each table's newest free cell was found: with many tasks handed out, the first cells are not looked at again
    /// and again.
    hints: [AtomicU64; TABLES],
}

/// Cells of one size.
#[derive(Debug, Clone, Copy)]
struct Table {
    /// Where the word with the number of used cells lies.
    used: u64,
    /// Where the word lies that says whether one of them may be free.
    freed: u64,
    cells: u64,
    bytes: u64,
    /// Bytes of a task that fits.
    size: u64,
    /// Cells of the table.
    count: u64,
}

/// Bytes of address space for the tables' bytes: a part of what the ring has.
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

/// Bytes that the leases need behind a ring of `ring_space` bytes.
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

    /// The index of a free cell of those that were ever used, looked for from `first` on.
    fn find_free(&self, ring: &Ring, used: u64, first: u64) -> Option<u64> {
        let freed = ring.region.word(self.freed)?;
        if freed.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let first = first.min(used);
        // Before the search: what becomes free from now on says so again.
        freed.store(0, Ordering::SeqCst);
        let mut indices = (first..used).chain(0..first);
        let found = indices.find(|index| self.cell(*index).owner(ring) == FREE);
        if found.is_some() {
            // There may be more.
            freed.store(1, Ordering::Relaxed);
        }
        found
    }

    /// How many cells were ever used.
    fn used(&self, ring: &Ring) -> u64 {
        ring.load(self.used).unwrap_or(0).min(self.count)
    }
}

impl Leases {
    pub(super) fn new(annex: u64, ring_space: u64) -> Self {
        Self { annex, tables: tables(annex, ring_space), hints: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Gives the page that the tables share its memory, and sets how often a task is handed out.
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

    /// The bell of those who wait until all tasks are finished.
    pub(super) fn finished_bell(&self) -> u64 {
        self.annex.saturating_add(FINISHED_BELL)
    }

    /// When somebody last looked for the dead, as `SharedTime` has it.
    pub(super) fn last_look<'a>(&self, ring: &'a Ring) -> Option<&'a AtomicU64> {
        self.shared(ring, LAST_LOOK)
    }

    /// Whether a task may wait to be handed out again.
    #[inline]
    pub(super) fn may_have_returned(&self, ring: &Ring) -> bool {
        self.shared(ring, RETURNED_HINT).is_some_and(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// To be called after a task was marked as returned.
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

    /// How many cells were ever used.
    pub(super) fn used(&self, ring: &Ring) -> u64 {
        self.tables.iter().map(|table| table.used(ring)).fold(0, u64::saturating_add)
    }

    /// All cells that were ever used.
    pub(super) fn cells<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = Cell> + 'a {
        let of_table = move |table: &'a Table| (0..table.used(ring)).map(move |index| table.cell(index));
        self.tables.iter().flat_map(of_table)
    }

    /// A free cell for a task of `len` bytes, with memory. The caller holds the consumers' lock.
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

    /// To be called after a cell became free.
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

    /// Gives the memory of free cells back, but for the first ones of each table. The caller holds the consumers' lock.
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

    /// The cell with this name, for a lock's note; `None` if there is no such cell.
    pub(super) fn named(&self, name: u64) -> Option<Cell> {
        let (table, index) = (name >> 32, name & 0xffff_ffff);
        let table = self.tables.get(usize::try_from(table.checked_sub(1)?).ok()?)?;
        (index < table.count).then(|| table.cell(index))
    }

    /// A name for a cell: never 0.
    pub(super) fn name_of(&self, cell: &Cell) -> u64 {
        let position = self.tables.iter().position(|table| table.size == cell.size).unwrap_or(0);
        let start = self.tables.get(position).map_or(0, |table| table.cells);
        let index = cell.at.saturating_sub(start) / CELL_BYTES;
        let table = u64::try_from(position).unwrap_or(0).saturating_add(1);
        (table << 32) | index
    }
}

/// Reserves memory behind an offset in a table, many cells at once, if that offset is the first one of a step.
fn reserve_step(ring: &Ring, (start, end): (u64, u64), offset: u64) -> Result<(), Refused> {
    let place = start.saturating_add(offset);
    let bytes = STEP_BYTES.min(end.saturating_sub(place));
    if offset.is_multiple_of(STEP_BYTES) && bytes > 0 {
        let _until_counted = ring.region.reserve(place, bytes).map_err(Refused::Memory)?;
        ring.count_reserved(CELLS_RESERVED, |reserved| reserved.saturating_add(bytes));
    }
    Ok(())
}
