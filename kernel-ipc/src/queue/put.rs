//! Putting values into a queue.

use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use mp_sys::robust::Patience;
use serde::Serialize;

use crate::queue::error::{PutError, PutManyError};
use crate::queue::{FOR_EVER, Queue, item, within};

impl<T> Queue<T> {
    /// Puts one item at the end. Waits while the queue is full. What borrows from an item will do: `&str` for a `String`, for
    /// example. [`SameBytes`] lists such types.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Memory`], [`PutError::Lock`],
    /// [`PutError::Corrupt`]; the item is not in the queue then.
    ///
    /// # Crash
    /// The item is in the queue or it is not.
    ///
    /// # Examples
    /// ```
    /// # extern crate kernel_ipc as mp;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mp::{PutError, Queue};
    ///
    /// let queue = Queue::<u8>::bounded(1)?;
    /// queue.put(&1)?;
    /// assert_eq!(queue.try_put(&2), Err(PutError::Full));
    ///
    /// let words = Queue::<String>::new()?;
    /// words.put("one")?;
    /// words.put(&String::from("two"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What is encoded otherwise does not compile: a number of another size, or an array for a vector.
    /// ```compile_fail,E0308
    /// # let queue = kernel_ipc::Queue::<u64>::new().unwrap();
    /// queue.put(&5_u32);
    /// ```
    /// ```compile_fail,E0277
    /// # let queue = kernel_ipc::Queue::<Vec<u8>>::new().unwrap();
    /// queue.put(&[1_u8, 2, 3]); // `&[1, 2, 3][..]` would do
    /// ```
    /// ```compile_fail,E0308
    /// # let queue = kernel_ipc::Queue::<[u8; 3]>::new().unwrap();
    /// queue.put(&[1_u8, 2, 3][..]);
    /// ```
    pub fn put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_until(item, FOR_EVER)
    }

    /// Puts one item at the end, if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; [`PutError::Lock`] if a process that holds the queue's lock was stopped; else as
    /// [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_until(item, Patience::None)
    }

    /// Puts one item at the end. Waits for `timeout` at most while the queue is full.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; else as [`put`](Self::put).
    pub fn put_timeout<Q>(&self, item: &Q, timeout: Duration) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_until(item, within(timeout))
    }

    #[inline]
    fn put_until<Q: Serialize + ?Sized>(&self, item: &Q, patience: Patience) -> Result<(), PutError> {
        item::encoded(item, &self.core, |bytes| Ok(self.core.put(bytes, patience)?))
    }

    /// Puts all of `items` at the end, in their order, as many at a time as there is room for; what is put at a time is
    /// side by side in the queue. Waits while the queue is full.
    ///
    /// All are encoded first: if one cannot be, none is put.
    ///
    /// # Errors
    /// [`PutManyError`], which says how many were put.
    ///
    /// # Crash
    /// Some of the first items are in the queue, and none of the others.
    pub fn put_many<'a, Q>(&self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for item in items {
            let encoded = item::append_encoded(item, &self.core, bytes);
            bytes = encoded.map_err(|error| PutManyError { put: 0, error })?;
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let encoded: Vec<&[u8]> =
            starts.zip(&ends).filter_map(|(start, end)| bytes.get(start..*end)).collect();
        self.put_all(&encoded, FOR_EVER)
    }
}
