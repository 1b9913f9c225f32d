//! Putting values into a queue.

use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use mp_sys::robust::Patience;
use serde::Serialize;

use crate::queue::error::{PutError, PutManyError};
use crate::queue::typed::{FOR_EVER, within};
use crate::queue::{Queue, item};

impl<T> Queue<T> {
    /// Puts one item at the end. Waits while the queue is full. A borrowed form of the item also works: `&str` for a
    /// `String`, for example. [`SameBytes`] lists these forms.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Memory`], [`PutError::Lock`],
    /// [`PutError::Corrupt`]. In each case the item is not in the queue.
    ///
    /// # Crash
    /// The item is either in the queue or not.
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
    /// A value with a different encoding does not compile: a number of another size, or an array for a vector.
    /// ```compile_fail,E0308
    /// # let queue = kernel_ipc::Queue::<u64>::new().unwrap();
    /// queue.put(&5_u32);
    /// ```
    /// ```compile_fail,E0277
    /// # let queue = kernel_ipc::Queue::<Vec<u8>>::new().unwrap();
    /// queue.put(&[1_u8, 2, 3]); // `&[1, 2, 3][..]` works
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

    /// Puts one item at the end if there is room.
    ///
    /// # Errors
    /// [`PutError::Full`]; [`PutError::Lock`] if a process was stopped while it holds the queue's lock; otherwise those of
    /// [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_until(item, Patience::None)
    }

    /// Puts one item at the end. Waits at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise those of [`put`](Self::put).
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

    /// Puts all of `items` at the end, in order. Each step puts as many as there is room for, side by side in the queue.
    /// Waits while the queue is full.
    ///
    /// All items are encoded first. If one cannot be encoded, none is put.
    ///
    /// # Errors
    /// [`PutManyError`], which contains the number of items that were put.
    ///
    /// # Crash
    /// The first few items may be in the queue. The others are not.
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
