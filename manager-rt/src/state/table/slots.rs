//! Numbered slots in blocks: like one `slab::Slab`, except that growing never moves an entry to another block.
//!
//! A single slab is one `Vec`. Even if the allocator moves pages instead of bytes, the slowest push to a `Vec` of
//! 64-byte entries took 9.2 ms on the way to 10^7 (the slowest insert into one slab 4.1 ms). Larger entries, or an
//! allocator that copies, would exceed the 10 ms that an operation may take. So blocks of at most `BLOCK` slots are
//! made one by one, and each is a separate slab.
//!
//! Invariants:
//! 1. Slot `s` is key `s % BLOCK` of block `s / BLOCK`; no block has more than `BLOCK` slots.
//! 2. `open` names exactly the blocks with fewer than `BLOCK` entries, each once. A block is made only when none is
//!    open, so slot numbers never exceed the largest number of entries so far, rounded up to a block.
//! 3. A block that has become empty owns no memory.

use slab::Slab;

/// Entries by slot number.
pub(super) struct Slots<E, const BLOCK: usize> {
    blocks: Vec<Slab<E>>,
    open: Vec<u32>,
    len: usize,
    /// The number of slots for which there is memory.
    capacity: usize,
}

impl<E, const BLOCK: usize> Slots<E, BLOCK> {
    pub(super) const fn new() -> Self {
        const { assert!(BLOCK > 0 && BLOCK <= 1 << 16, "a block must be small, so that it is made quickly") };
        Self { blocks: Vec::new(), open: Vec::new(), len: 0, capacity: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, slot: u32) -> Option<&E> {
        let (block, key) = Self::split(slot)?;
        self.blocks.get(block)?.get(key)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut E> {
        let (block, key) = Self::split(slot)?;
        self.blocks.get_mut(block)?.get_mut(key)
    }

    /// Returns how much memory the entries take, in bytes, without what they own.
    pub(super) fn bytes(&self) -> usize {
        // A slab adds a word to each entry, which says whether the slot is free.
        let entries = self.capacity.saturating_mul(size_of::<E>().saturating_add(size_of::<usize>()));
        let blocks = self.blocks.capacity().saturating_mul(size_of::<Slab<E>>());
        let open = self.open.capacity().saturating_mul(size_of::<u32>());
        entries.saturating_add(blocks).saturating_add(open)
    }

    /// Puts an entry into a free slot, and returns its number. Returns the entry if all numbers are taken.
    pub(super) fn insert(&mut self, entry: E) -> Result<u32, E> {
        let Some((number, slot)) = self.open_block() else { return Err(entry) };
        let Some(block) = self.blocks.get_mut(number) else { return Err(entry) };
        let key = block.vacant_key();
        let Some(slot) = u32::try_from(key).ok().and_then(|key| slot.checked_add(key)) else {
            return Err(entry);
        };
        let before = block.capacity();
        block.insert(entry);
        self.capacity = self.capacity.saturating_add(block.capacity()).saturating_sub(before);
        if block.len() >= BLOCK {
            self.open.pop();
        }
        self.len = self.len.saturating_add(1);
        Ok(slot)
    }

    /// Removes and returns the entry in a slot, if there is one.
    pub(super) fn remove(&mut self, slot: u32) -> Option<E> {
        let (number, key) = Self::split(slot)?;
        let block = self.blocks.get_mut(number)?;
        let was_full = block.len() >= BLOCK;
        let entry = block.try_remove(key)?;
        if block.is_empty() {
            self.capacity = self.capacity.saturating_sub(block.capacity());
            *block = Slab::new();
        }
        if was_full {
            self.open.push(u32::try_from(number).ok()?);
        }
        self.len = self.len.saturating_sub(1);
        Some(entry)
    }

    /// Returns an open block, and the number of its first slot. Makes a block if none is open.
    fn open_block(&mut self) -> Option<(usize, u32)> {
        let number = match self.open.last() {
            Some(&open) => open,
            None => {
                let number = u32::try_from(self.blocks.len()).ok()?;
                // The first block grows with its entries, since most tables are small.
                let block = if number == 0 { Slab::new() } else { Slab::with_capacity(BLOCK) };
                self.capacity = self.capacity.saturating_add(block.capacity());
                self.blocks.push(block);
                self.open.push(number);
                number
            }
        };
        Some((number as usize, number.checked_mul(u32::try_from(BLOCK).ok()?)?))
    }

    fn split(slot: u32) -> Option<(usize, usize)> {
        let slot = slot as usize;
        Some((slot.checked_div(BLOCK)?, slot.checked_rem(BLOCK)?))
    }
}

#[cfg(test)]
impl<E, const BLOCK: usize> Slots<E, BLOCK> {
    /// Returns the number of entries for which there is memory.
    pub(super) fn memory(&self) -> usize {
        self.blocks.iter().map(Slab::capacity).sum()
    }

    /// Fails unless the invariants hold.
    pub(super) fn check(&self) {
        assert!(
            self.blocks.iter().all(|block| block.len() <= BLOCK && block.capacity() <= BLOCK.max(4)),
            "1"
        );
        let mut open = self.open.clone();
        open.sort_unstable();
        let expected = self.blocks.iter().zip(0..).filter(|(block, _)| block.len() < BLOCK);
        assert_eq!(open, expected.map(|(_, number)| number).collect::<Vec<u32>>(), "2");
        assert!(self.blocks.iter().all(|block| !block.is_empty() || block.capacity() == 0), "3");
        assert_eq!(self.blocks.iter().map(Slab::len).sum::<usize>(), self.len);
        assert_eq!(self.memory(), self.capacity);
    }
}
