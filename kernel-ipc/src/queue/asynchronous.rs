//! The methods of queues for tasks of a tokio runtime.

use futures_core::Stream;
use mp_sys::alike::{SameBytes, Wire};
use mp_sys::asynchronous::repeated;
use mp_sys::robust::Patience;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::queue::batch::Batch;
use crate::queue::error::{GetError, PutError};
use crate::queue::item::{self, Taken};
use crate::queue::{JoinableQueue, Queue, SimpleQueue, Task};

/// Returns `None` at the end of a queue.
fn unless_closed<T>(outcome: Result<T, GetError>) -> Option<Result<T, GetError>> {
    match outcome {
        Err(GetError::Closed) => None,
        outcome => Some(outcome),
    }
}

impl<T> Queue<T> {
    /// Puts one item at the end, and lets other tasks run while the queue is full. Works like [`put`](Self::put).
    ///
    /// The item is encoded at once. The future does not borrow it, and puts it when it is polled.
    ///
    /// # Errors
    /// [`PutError::Runtime`] if the task has to wait, and this is no tokio runtime with I/O and timers; otherwise those of
    /// [`put`](Self::put). In each case the item is not in the queue.
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, the item is not in the queue, and other producers miss nothing.
    ///
    /// # Crash
    /// The item is either in the queue or not. A stopped process that holds the queue's lock stops the task, but not its
    /// thread.
    pub fn put_async<Q>(&self, item: &Q) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T, Q>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let bytes = item::append_encoded(item, &self.core, Vec::new());
        async move {
            let bytes = bytes?;
            Ok(self.core.wait_for_change(|| self.core.put(&bytes, Patience::TryOnce)).await?)
        }
    }

    /// Takes up to `max` available items together, and lets other tasks run while the queue is empty. Works like
    /// [`get_many`](Self::get_many).
    ///
    /// # Errors
    /// [`GetError::Runtime`], as for [`get_async`](Self::get_async); otherwise those of [`get_many`](Self::get_many).
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, no item was taken.
    pub async fn get_many_async(&self, max: usize) -> Result<Batch<T>, GetError> {
        Ok(self.core.wait_to_take(|| self.take_many(max, Patience::TryOnce)).await?)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the oldest item, and lets other tasks run while the queue is empty. Works like [`get`](Self::get).
    ///
    /// From the first wait on, each change from empty to filled and back costs a system call, in every process.
    ///
    /// # Errors
    /// [`GetError::Runtime`] if the task has to wait, and this is no tokio runtime with I/O and timers; otherwise those of
    /// [`get`](Self::get).
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, no item was taken, and other consumers miss nothing.
    ///
    /// # Crash
    /// As for [`get`](Self::get). A stopped process that holds the queue's lock stops the task, but not its thread.
    ///
    /// # Examples
    /// ```
    /// # extern crate kernel_ipc as mp;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// let queue = mp::Queue::<String>::bounded(1)?;
    /// # runtime.block_on(async {
    /// let produce = async {
    ///     queue.put_async("one").await?;
    ///     queue.put_async("two").await // waits for room
    /// };
    /// let consume = async { Ok::<_, mp::GetError>((queue.get_async().await?, queue.get_async().await?)) };
    /// let (produced, consumed) = tokio::join!(produce, consume);
    /// produced?;
    /// assert_eq!(consumed?, ("one".to_owned(), "two".to_owned()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn get_async(&self) -> Result<T, GetError> {
        let taken = self.core.wait_to_take(|| self.core.get(Patience::TryOnce, Taken::copy)).await?;
        taken.decode()
    }

    /// Returns a stream that takes items until the queue is closed and empty. It works like [`iter`](Self::iter), but
    /// lets other tasks run.
    ///
    /// # Cancellation
    /// If the stream is dropped, no item is lost.
    pub fn stream(&self) -> impl Stream<Item = Result<T, GetError>> + '_ {
        repeated(move || async move { unless_closed(self.get_async().await) })
    }
}

impl<T> JoinableQueue<T> {
    /// Puts a task at the end, and lets other tasks of the runtime run while the queue is full: see
    /// [`Queue::put_async`].
    ///
    /// # Errors
    /// Those of [`Queue::put_async`].
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, the task is not in the queue.
    pub fn put_async<Q>(&self, task: &Q) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T, Q>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put_async(task)
    }

    /// Waits until every task is done or put aside, and lets other tasks of the runtime run. Works like
    /// [`join`](Self::join).
    ///
    /// # Errors
    /// [`GetError::Lock`]; [`GetError::Runtime`], as for [`get_async`](Self::get_async).
    ///
    /// # Cancellation
    /// The future can be dropped at any time.
    pub async fn join_async(&self) -> Result<(), GetError> {
        Ok(self.queue.core.wait_for_end().await?)
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a task on lease, and lets other tasks of the runtime run while there is none. Works like [`get`](Self::get).
    ///
    /// A [`Task`] can be kept across an `.await`. If it is dropped before it is done, for example with the future that
    /// holds it, it returns to the queue.
    ///
    /// On a closed queue, it waits as long as anybody has a task, since that task may return. If this future's own task
    /// holds the last one, it waits for itself.
    ///
    /// # Errors
    /// [`GetError::Runtime`] if the task has to wait, and this is no tokio runtime with I/O and timers; otherwise those of
    /// [`get`](Self::get).
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, no task was taken, and other workers miss nothing.
    ///
    /// # Crash
    /// As for [`get`](Self::get). A stopped process that holds the queue's lock stops the task, but not its thread.
    pub async fn get_async(&self) -> Result<Task<T>, GetError> {
        let core = &self.queue.core;
        let leased = core.wait_to_take(|| core.lease(Patience::TryOnce)).await?;
        Task::decode(std::sync::Arc::clone(core), leased)
    }

    /// Returns a stream that takes tasks on lease until the queue is closed and empty. It works like [`iter`](Self::iter), but
    /// lets other tasks run.
    ///
    /// # Cancellation
    /// If the stream is dropped, no task is lost.
    pub fn stream(&self) -> impl Stream<Item = Result<Task<T>, GetError>> + '_ {
        repeated(move || async move { unless_closed(self.get_async().await) })
    }
}

impl<T> SimpleQueue<T> {
    /// Puts one item at the end: see [`Queue::put_async`].
    ///
    /// # Errors
    /// Those of [`Queue::put_async`].
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, the item is not in the queue.
    pub fn put_async<Q>(&self, item: &Q) -> impl Future<Output = Result<(), PutError>> + Send + use<'_, T, Q>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.0.put_async(item)
    }
}

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// Takes the oldest item, and lets other tasks run while the queue is empty: see [`Queue::get_async`].
    ///
    /// # Errors
    /// Those of [`Queue::get_async`].
    ///
    /// # Cancellation
    /// If the future is dropped before it is ready, no item was taken.
    pub async fn get_async(&self) -> Result<T, GetError> {
        self.0.get_async().await
    }

    /// Returns a stream that takes items until the queue is closed and empty. It works like [`iter`](Self::iter), but
    /// lets other tasks run.
    ///
    /// # Cancellation
    /// If the stream is dropped, no item is lost.
    pub fn stream(&self) -> impl Stream<Item = Result<T, GetError>> + '_ {
        repeated(move || async move { unless_closed(self.get_async().await) })
    }
}
