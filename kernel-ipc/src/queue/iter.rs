//! Iteration over the items of a queue.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::queue::error::GetError;
use crate::queue::{JoinableQueue, Queue, SimpleQueue, Task};

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

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Returns an iterator that takes items, waiting for each, until the queue is closed and empty.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, GetError>> + '_ {
        self.0.iter()
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Returns an iterator that takes tasks on lease, waiting for each, until the queue is closed and no task can return. It
    /// works like [`get`](Self::get): finish a task before you ask for the next one.
    ///
    /// # Examples
    /// ```
    /// # extern crate kernel_ipc as mp;
    /// let queue = mp::JoinableQueue::<u32>::new()?;
    /// queue.put_many(&[1, 2, 3])?;
    /// queue.close()?;
    /// let mut sum = 0;
    /// for task in queue.iter() {
    ///     sum += task?.done();
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<Task<T>, GetError>> + '_ {
        std::iter::from_fn(|| match self.get() {
            Err(GetError::Closed) => None,
            task => Some(task),
        })
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
