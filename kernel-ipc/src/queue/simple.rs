//! [`SimpleQueue`]: a queue with as little as possible.

use mp_sys::alike::{SameBytes, Wire};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::{CreateError, GetError, PutError, Queue};

/// A [`Queue`] without limits, timeouts and counts, for code that was written for Python's.
///
/// # Fork safety
/// As [`Queue`].
///
/// # Crash
/// As [`Queue`].
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
pub struct SimpleQueue<T>(Queue<T>);

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// As [`Queue::new`].
    ///
    /// # Fork safety
    /// As [`Queue::new`].
    pub fn new() -> Result<Self, CreateError> {
        Queue::new().map(Self)
    }
}

impl<T> SimpleQueue<T> {
    /// Whether there is no item in the queue.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`Queue::close`].
    ///
    /// # Errors
    /// As [`Queue::close`].
    pub fn close(&self) -> Result<(), PutError> {
        self.0.close()
    }
}

impl<T> SimpleQueue<T> {
    /// Puts one item at the end.
    ///
    /// # Errors
    /// As [`Queue::put`].
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
    /// As [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// As [`Queue`]: inside a message of a pipe or connection.
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
