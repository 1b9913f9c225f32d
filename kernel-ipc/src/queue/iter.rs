//! Iteration over the items of a queue.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::queue::Queue;
use crate::queue::error::GetError;

/// An iterator that takes the items of a queue, waiting for each. Made by [`Queue::iter`].
pub struct Iter<'a, T> {
    pub(super) queue: &'a Queue<T>,
}

impl<T: DeserializeOwned> Queue<T> {
    /// Returns an iterator that takes items, waiting for each, until the queue is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.queue.get() {
            Err(GetError::Closed) => None,
            item => Some(item),
        }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iter({:?})", self.queue)
    }
}
