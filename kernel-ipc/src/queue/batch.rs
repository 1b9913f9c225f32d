//! Batches: several items that were taken together.

use std::fmt;
use std::marker::PhantomData;

use mp_sys::line::Count;
use serde::de::DeserializeOwned;

use crate::queue::error::GetError;
use crate::queue::item;

/// An iterator over items that were taken from a queue together. Each item is decoded when it is requested.
///
/// An item that is not a value of the expected type yields an error with its bytes. The other items are not lost.
///
/// # Fork safety
/// A batch is private memory, so a forked child has a copy.
#[must_use = "the items are not in the queue any more"]
pub struct Batch<T> {
    /// All items, end to end.
    bytes: Vec<u8>,
    lens: std::vec::IntoIter<usize>,
    at: usize,
    items: PhantomData<fn() -> T>,
}

impl<T> Batch<T> {
    pub(super) fn new(bytes: Vec<u8>, lens: Vec<usize>) -> Self {
        Self { bytes, lens: lens.into_iter(), at: 0, items: PhantomData }
    }

    /// Returns the bytes of all items that are left, end to end, and the length of each.
    pub fn into_bytes(mut self) -> (Vec<u8>, impl Iterator<Item = usize>) {
        self.bytes.drain(..self.at.min(self.bytes.len()));
        (self.bytes, self.lens)
    }

    /// Returns the bytes of the next item, if there is one.
    pub fn next_bytes(&mut self) -> Option<&[u8]> {
        let len = self.lens.next()?;
        let end = self.at.saturating_add(len);
        let item = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(item)
    }
}

impl<T: DeserializeOwned> Iterator for Batch<T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_bytes().map(item::decoded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lens.size_hint()
    }
}

impl<T: DeserializeOwned> ExactSizeIterator for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} left)", Count(self.lens.len(), "item"))
    }
}
