//! [`Queue`]: first in, first out.

use std::marker::PhantomData;
use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{GetError, ObjectError, PutError};
use crate::proto::frame::Wait;
use crate::proto::{Op, QueueOp, Reply};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A queue: whoever has it may put and get.
///
/// Items come out in the order in which they were put, and each is got once. Whoever waits longest is served first.
///
/// | property | |
/// |---|---|
/// | items | whatever serde encodes; proxies inside live as long as the item |
/// | limits | none, or a number of items; each item up to [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX) |
/// | fair | yes |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited.
///
/// # Crash
/// An item is in the queue or it is not. A process that dies while it waits takes nothing; one that dies before it has read
/// the answer, neither: the item comes back, in front of the others. What it has read is gone with it;
/// [`JoinableQueue`](crate::JoinableQueue) loses nothing.
///
/// # Source
/// Python's `multiprocessing.Manager().Queue`, where a client that dies in `get` eats the next item.
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
    /// Items in the queue.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Queue(QueueOp::Len), read::count)
    }

    /// Whether there is no item in the queue.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Whether the queue holds as many items as it may.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool, ObjectError> {
        // What a queue may hold never changes, so the second question alone tells.
        Ok(match self.capacity()? {
            Some(capacity) => self.len()? >= capacity,
            None => false,
        })
    }

    /// Items that the queue holds at most, if it has a limit.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Result<Option<usize>, ObjectError> {
        let capacity = self.handle.ask(Op::Queue(QueueOp::Capacity), read::count)?;
        Ok((capacity > 0).then_some(capacity))
    }

    /// Closes the queue for all: nothing more is put; what is in it can still be got, and after that, `get` says that it is
    /// closed. All who wait in vain are told. Closing it again does nothing.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "shutdown")]
    pub fn close(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Queue(QueueOp::Close), read::done)
    }

    /// Whether the queue was closed.
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

    /// Puts one item at the end, if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; else as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(item, Wait::No)
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
        self.put_for(item, within(timeout))
    }

    fn put_for<Q: Serialize + ?Sized>(&self, item: &Q, wait: Wait) -> Result<(), PutError> {
        let mut values = self.handle.values();
        let number = values.add(item)?;
        self.handle.call(Op::Queue(QueueOp::Put(values.raw(number))), wait)?;
        Ok(())
    }

    /// Puts all of `items` at the end in one step, side by side. Waits until there is room for all.
    ///
    /// # Errors
    /// As [`put`](Self::put), and none was put; [`Fault::OutOfRange`](crate::proto::Fault::OutOfRange) for more items than
    /// the queue ever has room for.
    pub fn put_many<'a, Q>(&self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
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

    /// Takes the oldest item, if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; else as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_for(Wait::No)
    }

    /// Takes the oldest item. Waits for `timeout` at most while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; else as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_for(within(timeout))
    }

    fn get_for(&self, wait: Wait) -> Result<T, GetError> {
        let reply = self.handle.call(Op::Queue(QueueOp::Get), wait)?;
        Ok(read::value(self.handle.backend(), reply)?)
    }

    /// Takes the items that are there, as many as fit in one answer and at most `max`, together. Waits while the queue is
    /// empty; 0 takes none and does not wait.
    ///
    /// # Errors
    /// As [`get`](Self::get). If one of them cannot be decoded, all are lost.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.get_many_for(max, Wait::Forever)
    }

    /// As [`get_many`](Self::get_many), without waiting.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get), and [`get_many`](Self::get_many).
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.get_many_for(max, Wait::No)
    }

    /// As [`get_many`](Self::get_many), for `timeout` at most.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout), and [`get_many`](Self::get_many).
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

    /// The items as they come, until the queue is closed and empty. After any other error it may go on.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, GetError>> {
        std::iter::from_fn(|| match self.get() {
            Err(GetError::Closed) => None,
            item => Some(item),
        })
    }
}
