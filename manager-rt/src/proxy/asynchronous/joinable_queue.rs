//! The async forms of [`JoinableQueue`]'s methods.

use futures_core::Stream;
use mp_sys::alike::{SameBytes, Wire};
use mp_sys::asynchronous::repeated;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::Pending;
use crate::error::{GetError, ObjectError, PutError};
use crate::proto::{JoinableQueueOp, Kind, Op, Raw, Reply, Wait};
use crate::proxy::{JoinableQueue, Lease, Proxy, Task, read};

impl<T> JoinableQueue<T> {
    /// As [`len`](Self::len), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::JoinableQueue(JoinableQueueOp::Len), read::count)
    }

    /// As [`close`](Self::close), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn close_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::JoinableQueue(JoinableQueueOp::Close), read::done)
    }

    /// As [`is_closed`](Self::is_closed), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_closed_async(&self) -> impl Future<Output = Result<bool, ObjectError>> + Send {
        self.handle().ask_async(Op::JoinableQueue(JoinableQueueOp::IsClosed), read::bool)
    }

    /// As [`put`](Self::put), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the task is in the queue completely, or not at all.
    ///
    /// # Errors
    /// [`PutError::Closed`]; [`PutError::Object`].
    pub fn put_async<Q>(&self, task: &Q) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            task,
            move |raw| Op::JoinableQueue(JoinableQueueOp::Put(raw)),
            Wait::Forever,
            read::done,
        )
    }

    /// As [`try_put`](Self::try_put), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the task is in the queue completely, or not at all.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put).
    pub fn try_put_async<Q>(&self, task: &Q) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            task,
            move |raw| Op::JoinableQueue(JoinableQueueOp::Put(raw)),
            Wait::No,
            read::done,
        )
    }

    /// As [`put_many`](Self::put_many), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many).
    pub fn put_many_async<'a, Q>(
        &self,
        tasks: impl IntoIterator<Item = &'a Q>,
    ) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let handle = self.handle();
        let pending = handle.check_put_many(Kind::JoinableQueue).map_err(ObjectError::from).and_then(|()| {
            handle.begin_with(
                |values| tasks.into_iter().try_for_each(|task| values.add(task).map(drop)),
                |values, ()| Op::JoinableQueue(JoinableQueueOp::PutMany(values.raws().collect())),
                Wait::Forever,
            )
        });
        handle.decode_async(pending, read::done)
    }

    /// As [`join`](Self::join), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn join_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        let op = Op::JoinableQueue(JoinableQueueOp::Join);
        self.handle().wait_async(op, Wait::Forever, read::done)
    }

    /// As [`unfinished`](Self::unfinished), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn unfinished_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::JoinableQueue(JoinableQueueOp::Unfinished), read::count)
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// As [`get`](Self::get), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the task does not count as delivered. Dropping the [`Task`] does not wait for the server.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Object`].
    pub fn get_async(&self) -> impl Future<Output = Result<Task<T>, GetError>> + Send {
        self.get_for_async(Wait::Forever)
    }

    /// As [`try_get`](Self::try_get), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the task does not count as delivered.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    pub fn try_get_async(&self) -> impl Future<Output = Result<Task<T>, GetError>> + Send {
        self.get_for_async(Wait::No)
    }

    /// Returns a stream that takes tasks on lease until the queue is closed and no task can come back. It works like
    /// [`iter`](Self::iter), but lets other tasks run. If the stream is dropped, it takes no further task.
    pub fn stream(&self) -> impl Stream<Item = Result<Task<T>, GetError>> + Send + '_ {
        repeated(move || async move {
            match self.get_async().await {
                Err(GetError::Closed) => None,
                task => Some(task),
            }
        })
    }

    fn get_for_async(&self, wait: Wait) -> impl Future<Output = Result<Task<T>, GetError>> + Send {
        let pending = self.handle().call_async(Op::JoinableQueue(JoinableQueueOp::Get), wait);
        async move {
            match pending.await? {
                Reply::Leased { lease, deliveries, task } => {
                    Ok(Task::decode(Lease::of_task(self.handle(), lease), deliveries, &task)?)
                }
                other => Ok(read::unexpected(self.handle().backend(), &other)?),
            }
        }
    }
}

impl<T: Send> Task<T> {
    /// As [`done`](Self::done), in a task of a tokio runtime. If the future is dropped before it is ready, the task is
    /// done, or returns to the queue.
    ///
    /// # Errors
    /// As for [`done`](Self::done).
    pub async fn done_async(self) -> Result<T, ObjectError> {
        let (lease, task) = self.into_parts();
        finish(lease, |lease| JoinableQueueOp::Done { lease }).await?;
        Ok(task)
    }

    /// As [`requeue`](Self::requeue), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`done`](Self::done).
    pub async fn requeue_async(self) -> Result<(), ObjectError> {
        finish(self.into_parts().0, |lease| JoinableQueueOp::Requeue { lease }).await
    }
}

async fn finish(
    lease: Lease,
    op: impl FnOnce(u64) -> JoinableQueueOp<Raw<'static>>,
) -> Result<(), ObjectError> {
    // A forked child has only a copy of the task.
    if !lease.is_copy() {
        let pending: Pending = lease.handle().call_async(Op::JoinableQueue(op(lease.number())), Wait::No);
        let reply = pending.await?;
        read::done(lease.handle().backend(), reply)?;
    }
    lease.end();
    Ok(())
}
