//! [`Queue`]: first in, first out.

use std::marker::PhantomData;
use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{GetError, ObjectError, PutError};
use crate::proto::{Kind, Op, QueueOp, Reply, Wait};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A queue that any process with a proxy can put into and get from.
///
/// Items come out in the order in which they were put, and each is returned once, apart from [rare crashes](#crash). The longest waiter is served first.
///
/// | property | |
/// |---|---|
/// | items | any type that serde encodes; proxies inside an item live as long as the item |
/// | limits | none, or a number of items; each item up to [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX) |
/// | fair | yes |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy.
///
/// # Crash
/// A killed process has put or taken an item completely, or not at all. A process that dies while it waits takes no
/// item. If it dies before it has read the answer, the item returns to the front of the queue, unless the process reached the
/// manager over TCP. An item that the process has already read is lost with it. An item can come twice if its process dies
/// while other threads of it wait and a long write of one of them fills the socket. [`JoinableQueue`](crate::JoinableQueue) loses no
/// items.
///
/// # Source
/// Python's `multiprocessing.Manager().Queue`, where a client that dies in `get` swallows the next item.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::{GetError, Manager};
///
/// let queue = Manager::in_process()?.queue::<(u32, String)>()?;
/// queue.put(&(1, "one".to_owned()))?;
/// assert_eq!(queue.len()?, 1);
/// assert_eq!(queue.get()?, (1, "one".to_owned()));
/// assert_eq!(queue.try_get(), Err(GetError::Empty));
/// queue.close()?;
/// assert_eq!(queue.get(), Err(GetError::Closed));
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    handle: Handle,
    items: PhantomData<fn(T) -> (T,)>,
}

proxy!(Queue<T>);

impl<T> Queue<T> {
    /// Returns the number of items in the queue.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Queue(QueueOp::Len), read::count)
    }

    /// Returns `true` if the queue has no items.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Returns `true` if the queue holds as many items as it may.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool, ObjectError> {
        // The capacity of a queue never changes, so the answer is as old as the length alone.
        Ok(match self.capacity()? {
            Some(capacity) => self.len()? >= capacity,
            None => false,
        })
    }

    /// Returns the most items that the queue may hold, or `None` without a limit.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Result<Option<usize>, ObjectError> {
        let capacity = self.handle.ask(Op::Queue(QueueOp::Capacity), read::count)?;
        Ok((capacity > 0).then_some(capacity))
    }

    /// Closes the queue for all processes: no more items can be put. Items in the queue can still be taken; after that,
    /// `get` returns [`GetError::Closed`]. Callers that would wait in vain get the error at once. Closing a closed
    /// queue does nothing.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "shutdown")]
    pub fn close(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Queue(QueueOp::Close), read::done)
    }

    /// Returns `true` if the queue was closed.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_closed(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Queue(QueueOp::IsClosed), read::bool)
    }
}

impl<T> Queue<T> {
    /// Puts one item at the end. Waits while the queue is full.
    ///
    /// # Errors
    /// [`PutError::Closed`]; [`PutError::Object`].
    pub fn put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(item, Wait::Forever)
    }

    /// Puts one item at the end if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(item, Wait::No)
    }

    /// Puts one item at the end. Waits at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout<Q>(&self, item: &Q, timeout: Duration) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(item, within(timeout))
    }

    fn put_for<Q: Serialize + ?Sized>(&self, item: &Q, wait: Wait) -> Result<(), PutError> {
        let mut values = self.handle.values();
        let number = values.add(item)?;
        self.handle.call(Op::Queue(QueueOp::Put(values.raw(number))), wait)?;
        Ok(())
    }

    /// Puts all `items` at the end in one step, next to each other. Waits until there is room for all.
    ///
    /// # Errors
    /// As for [`put`](Self::put), and no item was put; [`Fault::OutOfRange`](crate::proto::Fault::OutOfRange) for more
    /// items than the queue can ever hold, and [`Fault::TooMany`](crate::proto::Fault::TooMany) for more than
    /// [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX); [`CallError::Unsupported`](crate::CallError::Unsupported) if the
    /// backend does not put [several items in one call](crate::Caps::puts_many). If it does, but not
    /// [in one step](crate::Caps::atomic_put_many), the items are put in order, those of others can come between them, and
    /// [`CallError::OutcomeUnknown`](crate::CallError::OutcomeUnknown) says that some of them may have been put.
    pub fn put_many<'a, Q>(&self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.handle.check_put_many(Kind::Queue)?;
        let mut values = self.handle.values();
        for item in items {
            values.add(item)?;
        }
        self.handle.call(Op::Queue(QueueOp::PutMany(values.raws().collect())), Wait::Forever)?;
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the oldest item. Waits while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Object`].
    pub fn get(&self) -> Result<T, GetError> {
        self.get_for(Wait::Forever)
    }

    /// Takes the oldest item if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_for(Wait::No)
    }

    /// Takes the oldest item. Waits at most `timeout` while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_for(within(timeout))
    }

    fn get_for(&self, wait: Wait) -> Result<T, GetError> {
        let reply = self.handle.call(Op::Queue(QueueOp::Get), wait)?;
        Ok(read::value(self.handle.backend(), reply)?)
    }

    /// Takes the available items together, as many as fit in one answer and at most `max`. Waits while the queue is
    /// empty. With a `max` of 0, it takes none and does not wait.
    ///
    /// # Errors
    /// As for [`get`](Self::get). If one of the items cannot be decoded, all are lost.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.get_many_for(max, Wait::Forever)
    }

    /// Like [`get_many`](Self::get_many), without waiting.
    ///
    /// # Errors
    /// As for [`try_get`](Self::try_get) and [`get_many`](Self::get_many).
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.get_many_for(max, Wait::No)
    }

    /// Like [`get_many`](Self::get_many), but waits at most `timeout`.
    ///
    /// # Errors
    /// As for [`get_timeout`](Self::get_timeout) and [`get_many`](Self::get_many).
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>, GetError> {
        self.get_many_for(max, within(timeout))
    }

    fn get_many_for(&self, max: usize, wait: Wait) -> Result<Vec<T>, GetError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        match self.handle.call(Op::Queue(QueueOp::GetMany(count_of(max))), wait)? {
            Reply::Values { values, .. } => Ok(read::all(self.handle.backend(), values)?),
            other => Ok(read::unexpected(self.handle.backend(), &other)?),
        }
    }

    /// Iterates over the items as they arrive, until the queue is closed and empty. The iteration may continue after
    /// any other error.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, GetError>> {
        std::iter::from_fn(|| match self.get() {
            Err(GetError::Closed) => None,
            item => Some(item),
        })
    }
}
