//! The async forms of [`Queue`]'s methods.

use futures_core::Stream;
use mp_sys::alike::{SameBytes, Wire};
use mp_sys::asynchronous::repeated;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{GetError, ObjectError, PutError};
use crate::proto::{Kind, Op, QueueOp, Reply, Wait};
use crate::proxy::{Proxy, Queue, read};

impl<T> Queue<T> {
    /// As [`len`](Self::len), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::Queue(QueueOp::Len), read::count)
    }

    /// As [`close`](Self::close), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn close_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Queue(QueueOp::Close), read::done)
    }

    /// As [`is_closed`](Self::is_closed), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_closed_async(&self) -> impl Future<Output = Result<bool, ObjectError>> + Send {
        self.handle().ask_async(Op::Queue(QueueOp::IsClosed), read::bool)
    }

    /// As [`put`](Self::put), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the item is in the queue completely, or not at all.
    ///
    /// # Errors
    /// [`PutError::Closed`]; [`PutError::Object`].
    pub fn put_async<Q>(&self, item: &Q) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(item, move |raw| Op::Queue(QueueOp::Put(raw)), Wait::Forever, read::done)
    }

    /// As [`try_put`](Self::try_put), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, the item is in the queue completely, or not at all.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put).
    pub fn try_put_async<Q>(&self, item: &Q) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(item, move |raw| Op::Queue(QueueOp::Put(raw)), Wait::No, read::done)
    }

    /// As [`put_many`](Self::put_many), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many).
    pub fn put_many_async<'a, Q>(
        &self,
        items: impl IntoIterator<Item = &'a Q>,
    ) -> impl Future<Output = Result<(), PutError>> + Send
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let handle = self.handle();
        let pending = handle.check_put_many(Kind::Queue).map_err(ObjectError::from).and_then(|()| {
            handle.begin_with(
                |values| items.into_iter().try_for_each(|item| values.add(item).map(drop)),
                |values, ()| Op::Queue(QueueOp::PutMany(values.raws().collect())),
                Wait::Forever,
            )
        });
        handle.decode_async(pending, read::done)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// As [`get`](Self::get), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, it takes no item.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Object`].
    pub fn get_async(&self) -> impl Future<Output = Result<T, GetError>> + Send {
        self.handle().wait_async(Op::Queue(QueueOp::Get), Wait::Forever, read::value)
    }

    /// As [`try_get`](Self::try_get), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, it takes no item.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    pub fn try_get_async(&self) -> impl Future<Output = Result<T, GetError>> + Send {
        self.handle().ask_async(Op::Queue(QueueOp::Get), read::value)
    }

    /// As [`get_many`](Self::get_many), in a task of a tokio runtime. If the future is dropped before it is
    /// ready, it takes no items.
    ///
    /// # Errors
    /// As for [`get_many`](Self::get_many).
    pub fn get_many_async(&self, max: usize) -> impl Future<Output = Result<Vec<T>, GetError>> + Send {
        let op = Op::Queue(QueueOp::GetMany(count_of(max)));
        let pending = (max > 0).then(|| self.handle().call_async(op, Wait::Forever));
        async move {
            match pending {
                None => Ok(Vec::new()),
                Some(pending) => match pending.await? {
                    Reply::Values { values, .. } => Ok(read::all(self.handle().backend(), values)?),
                    other => Ok(read::unexpected(self.handle().backend(), &other)?),
                },
            }
        }
    }

    /// Returns a stream that takes items until the queue is closed and empty. It works like [`iter`](Self::iter), but lets
    /// other tasks run. If the stream is dropped, it takes no further item.
    pub fn stream(&self) -> impl Stream<Item = Result<T, GetError>> + Send + '_ {
        repeated(move || async move {
            match self.get_async().await {
                Err(GetError::Closed) => None,
                item => Some(item),
            }
        })
    }
}
