//! [`Queue`]: a queue of typed items.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::robust::Patience;
use serde::de::DeserializeOwned;

use crate::limits::CAPACITY_MAX;
use crate::queue::batch::Batch;
use crate::queue::config::Config;
use crate::queue::core::Core;
use crate::queue::error::{CreateError, GetError, PutError, PutManyError};
use crate::queue::refused::Refused;
use crate::queue::travel::{self, Shared};
use crate::queue::{item, layout};

pub(super) const FOR_EVER: Patience = Patience::Until(Deadline::NEVER);

/// The items and bytes for which a batch reserves private memory before it knows its real size.
const RESERVED_ITEMS: usize = 1024;
const RESERVED_BYTES: usize = 64 << 10;

/// Checks a limit on the number of items.
pub(super) fn capacity(maxsize: usize) -> Result<u64, CreateError> {
    match maxsize {
        0 => Err(CreateError::NoCapacity),
        1..=CAPACITY_MAX => Ok(u64::try_from(maxsize).unwrap_or(u64::MAX)),
        _ => Err(CreateError::CapacityTooLarge),
    }
}

pub(super) fn within(timeout: Duration) -> Patience {
    Patience::Until(Deadline::after(timeout))
}

/// A first-in, first-out queue between processes. Any process that has it may put and get.
///
/// Items come out in the order in which they were put, across all producers, and each is got once. `put` returns when the
/// item is in shared memory. Values are encoded by `postcard` outside of all locks. [`put_bytes`](Self::put_bytes) and
/// [`get_bytes_into`](Self::get_bytes_into) transfer bytes as they are.
///
/// | property | |
/// |---|---|
/// | memory | one mapping of address space; as much memory as the items need, at least 68 KiB; returned after a peak |
/// | descriptors | two |
/// | limits | none by default, a number of items, or a number of bytes; [`ITEM_BYTES_MAX`](crate::limits::ITEM_BYTES_MAX) for each item |
/// | order | first in, first out, across all producers |
/// | a clone | the same queue |
///
/// # Fork safety
/// A forked child uses the queue that it inherited. Dropping a handle does not affect the handles of other processes.
///
/// # Crash
/// An item is either in the queue or not, and the queue stays usable. Items are not lost while any process holds the queue,
/// with one exception: a process that is killed inside `get` can lose the item or batch that it was taking. If that
/// loss matters, use a [`JoinableQueue`](crate::JoinableQueue), which loses nothing.
///
/// # Source
/// Python's `multiprocessing.Queue`; differs: no feeder thread, exact counts, and [`close`](Self::close) is for all
/// processes.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::{GetError, Queue};
///
/// let queue = Queue::<(u32, String)>::new()?;
/// queue.put(&(1, "one".to_owned()))?;
/// assert_eq!(queue.len(), 1);
/// assert_eq!(queue.get()?, (1, "one".to_owned()));
/// assert_eq!(queue.try_get(), Err(GetError::Empty));
/// queue.close()?;
/// assert_eq!(queue.get(), Err(GetError::Closed));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "mpmc")]
#[doc(alias = "channel")]
pub struct Queue<T> {
    pub(super) core: Arc<Shared>,
    pub(super) items: PhantomData<fn(T) -> T>,
}

impl<T: DeserializeOwned> Queue<T> {
    /// Makes a queue without a limit. It grows as long as there is memory.
    ///
    /// # Errors
    /// [`CreateError::Memory`].
    ///
    /// # Fork safety
    /// Make it before the fork; the children inherit it.
    pub fn new() -> Result<Self, CreateError> {
        Self::with_limits(u64::MAX, u64::MAX)
    }

    /// Makes a queue that holds at most `maxsize` items.
    ///
    /// # Errors
    /// [`CreateError::NoCapacity`] for 0; [`CreateError::CapacityTooLarge`] above
    /// [`CAPACITY_MAX`]; [`CreateError::Memory`].
    ///
    /// # Fork safety
    /// Same as for [`new`](Self::new).
    #[doc(alias = "maxsize")]
    pub fn bounded(maxsize: usize) -> Result<Self, CreateError> {
        Self::with_limits(capacity(maxsize)?, u64::MAX)
    }

    /// Makes a queue whose items may have `bytes` bytes together. An item counts as its encoded bytes, rounded up to a
    /// multiple of 8, plus 8; from 4 KiB on, plus 64.
    ///
    /// # Errors
    /// [`CreateError::NoCapacity`] if `bytes` is less than 8, so that not even an empty item fits; [`CreateError::Memory`].
    ///
    /// # Fork safety
    /// Same as for [`new`](Self::new).
    pub fn bounded_bytes(bytes: usize) -> Result<Self, CreateError> {
        Self::with_limits(u64::MAX, u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    pub(super) fn with_limits(max_items: u64, max_bytes: u64) -> Result<Self, CreateError> {
        if max_bytes < layout::RECORD_HEADER_BYTES {
            return Err(CreateError::NoCapacity);
        }
        let fingerprint = Self::fingerprint();
        Self::with(Config { fingerprint, max_items, max_bytes, leases: None })
    }

    pub(super) fn with_leases(max_items: u64, max_deliveries: u32) -> Result<Self, CreateError> {
        let fingerprint = Self::fingerprint();
        Self::with(Config { fingerprint, max_items, max_bytes: u64::MAX, leases: Some(max_deliveries) })
    }

    fn with(config: Config) -> Result<Self, CreateError> {
        Ok(Self::over(travel::register(Core::new(config)?)))
    }
}

impl<T> Queue<T> {
    /// Returns the exact number of items in the queue, at one moment during the call.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.core.ring.len()).unwrap_or(usize::MAX)
    }

    /// Returns whether the queue is empty.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.core.ring.len() == 0
    }

    /// Returns whether the queue is full: it holds its maximum of items, or so many bytes that not even an empty item fits.
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// Returns the maximum number of items, if the queue was made with such a limit.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let items = self.core.config.max_items;
        (items != u64::MAX).then(|| usize::try_from(items).unwrap_or(usize::MAX))
    }

    /// Closes the queue for all processes. Nothing more can be put. Items in the queue can still be got; once it is empty,
    /// `get` returns [`GetError::Closed`]. All waiting calls wake up. Closing a closed queue does nothing.
    ///
    /// # Errors
    /// [`PutError::Lock`].
    ///
    /// # Crash
    /// The queue is either closed or not. If it is closed, waiting calls notice within 40 ms.
    pub fn close(&self) -> Result<(), PutError> {
        Ok(self.core.close(FOR_EVER)?)
    }

    /// Returns whether the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Takes up to `max` available items together, fewer if they have more than
    /// [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX) bytes. Waits while the queue is empty. If `max` is 0, it takes
    /// nothing and does not wait.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), except that an item that cannot be decoded is an error in the [`Batch`].
    ///
    /// # Crash
    /// A process that is killed here can lose the items that it was taking.
    pub fn get_many(&self, max: usize) -> Result<Batch<T>, GetError> {
        self.get_many_until(max, FOR_EVER)
    }

    /// Takes items like [`get_many`](Self::get_many), but does not wait.
    ///
    /// # Errors
    /// Those of [`try_get`](Self::try_get).
    pub fn try_get_many(&self, max: usize) -> Result<Batch<T>, GetError> {
        self.get_many_until(max, Patience::None)
    }

    /// Takes items like [`get_many`](Self::get_many), but waits at most `timeout`.
    ///
    /// # Errors
    /// Those of [`get_timeout`](Self::get_timeout).
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Batch<T>, GetError> {
        self.get_many_until(max, within(timeout))
    }

    pub(super) fn get_many_until(&self, max: usize, patience: Patience) -> Result<Batch<T>, GetError> {
        Ok(self.take_many(max, patience)?)
    }

    pub(super) fn take_many(&self, max: usize, patience: Patience) -> Result<Batch<T>, Refused> {
        let (mut bytes, mut lens) = (Vec::new(), Vec::new());
        self.core.get_some(max, patience, |ring, record| {
            if lens.is_empty() {
                // Items of one queue are often of one size.
                let items = max.min(usize::try_from(ring.len()).unwrap_or(max)).min(RESERVED_ITEMS);
                lens.reserve(items);
                bytes.reserve(record.len.saturating_mul(items).min(RESERVED_BYTES));
            }
            record.append_to(ring, &mut bytes)?;
            lens.push(record.len);
            Ok(())
        })?;
        Ok(Batch::new(bytes, lens))
    }

    pub(super) fn put_all(&self, items: &[&[u8]], patience: Patience) -> Result<(), PutManyError> {
        let mut put = 0_usize;
        while let Some(rest) = items.get(put..).filter(|rest| !rest.is_empty()) {
            let some = self.core.put_some(rest, patience);
            put = put.saturating_add(some.map_err(|refused| PutManyError { put, error: refused.into() })?);
        }
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the oldest item. Waits while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Decode`] with the item's bytes; [`GetError::Memory`], [`GetError::Lock`],
    /// [`GetError::Corrupt`].
    ///
    /// # Crash
    /// A process that is killed here can lose the item that it was taking.
    pub fn get(&self) -> Result<T, GetError> {
        item::get(&self.core, FOR_EVER)
    }

    /// Takes the oldest item if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`]; [`GetError::Lock`] if a process was stopped while it holds the queue's lock; otherwise those of
    /// [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        item::get(&self.core, Patience::None)
    }

    /// Takes the oldest item. Waits at most `timeout` while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        item::get(&self.core, within(timeout))
    }
}
