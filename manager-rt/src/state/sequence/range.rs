//! Iterators over the items of a sequence, chunk by chunk.

use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::iter::Rev;

use super::Sequence;

/// An iterator over items in order: see [`Sequence::range`].
pub(crate) struct Range<'a, T> {
    pub(super) chunks: vec_deque::Iter<'a, VecDeque<T>>,
    pub(super) items: vec_deque::Iter<'a, T>,
    pub(super) left: usize,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            self.items = self.chunks.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Range<'_, T> {}

impl<T> fmt::Debug for Range<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<T, const LIMIT: usize> Sequence<T, LIMIT> {
    /// Returns the item at `at` and all before it, last first; none if `at` is past the end.
    pub(crate) fn backwards_from(&self, at: usize) -> Backwards<'_, T> {
        let Some((chunk, within)) = self.locate(at) else {
            return Backwards {
                chunks: vec_deque::Iter::default().rev(),
                items: vec_deque::Iter::default().rev(),
            };
        };
        let items = self.chunks.get(chunk).map(|found| found.range(..=within)).unwrap_or_default();
        Backwards { chunks: self.chunks.range(..chunk).rev(), items: items.rev() }
    }
}

/// An iterator from an item back to the first: see [`Sequence::backwards_from`].
pub(crate) struct Backwards<'a, T> {
    chunks: Rev<vec_deque::Iter<'a, VecDeque<T>>>,
    items: Rev<vec_deque::Iter<'a, T>>,
}

impl<'a, T> Iterator for Backwards<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            self.items = self.chunks.next()?.iter().rev();
        }
    }
}

impl<T> fmt::Debug for Backwards<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backwards").finish_non_exhaustive()
    }
}
