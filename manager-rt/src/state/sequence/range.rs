//! A walk over the items of a sequence, one chunk after the other.

use std::collections::{VecDeque, vec_deque};
use std::fmt;

/// Items in order, from [`super::Sequence::range`] and [`super::Sequence::iter`].
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
