//! [`SimpleQueue`]: a queue with the fewest possible methods.

use mp_sys::alike::{SameBytes, Wire};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::{CreateError, GetError, PutError, Queue};

/// A [`Queue`] without limits, timeouts and counts, for code that is ported from Python.
///
/// # Fork safety
/// Same as for [`Queue`].
///
/// # Crash
/// Same as for [`Queue`].
///
/// # Source
/// Python's `multiprocessing.SimpleQueue`.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = mp::SimpleQueue::<u8>::new()?;
/// queue.put(&1)?;
/// assert_eq!(queue.get()?, 1);
/// assert!(queue.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct SimpleQueue<T>(pub(super) Queue<T>);

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// Those of [`Queue::new`].
    ///
    /// # Fork safety
    /// Same as for [`Queue::new`].
    pub fn new() -> Result<Self, CreateError> {
        Queue::new().map(Self)
    }
}

impl<T> SimpleQueue<T> {
    /// Returns whether the queue is empty.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes the queue, as [`Queue::close`] does.
    ///
    /// # Errors
    /// Those of [`Queue::close`].
    pub fn close(&self) -> Result<(), PutError> {
        self.0.close()
    }
}

impl<T> SimpleQueue<T> {
    /// Puts one item at the end.
    ///
    /// # Errors
    /// Those of [`Queue::put`].
    pub fn put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.0.put(item)
    }
}

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Takes the oldest item. Waits while the queue is empty.
    ///
    /// # Errors
    /// Those of [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Travels like a [`Queue`], inside a message of a pipe or connection.
impl<T> Serialize for SimpleQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for SimpleQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::deserialize(deserializer).map(Self)
    }
}

impl<T> std::fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.show("SimpleQueue", "item", f)
    }
}
