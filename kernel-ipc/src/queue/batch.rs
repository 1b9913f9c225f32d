//! Several items that were taken together.

use std::fmt;
use std::marker::PhantomData;

use mp_sys::line::Count;
use serde::de::DeserializeOwned;

use crate::queue::error::GetError;
use crate::queue::item;

/// Items that were taken out of a queue together, decoded one by one as they are asked for.
///
/// One that is no value of the expected type is an error of its own, with its bytes; the others are not lost.
///
/// # Fork safety
/// It is private memory: a forked child has a copy.
#[must_use = "the items are not in the queue any more"]
pub struct Batch<T> {
    /// All items, one after the other.
    bytes: Vec<u8>,
    lens: std::vec::IntoIter<usize>,
    at: usize,
    items: PhantomData<fn() -> T>,
}

impl<T> Batch<T> {
    pub(super) fn new(bytes: Vec<u8>, lens: Vec<usize>) -> Self {
        Self { bytes, lens: lens.into_iter(), at: 0, items: PhantomData }
    }

    /// The bytes of the next item, if there is one.
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
