//! The operations of a batch, grouped by kind of object.

mod containers;
mod dict;

use std::fmt;
use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{Batch, Ticket};
use crate::proto::{JoinableQueueOp, ObjectId, Op, QueueOp, ValueOp};
use crate::proxy::{JoinableQueue, Numeric, Queue, Value, read};

/// The operations on one object that can be part of a [`Batch`]: those of its proxy that do not wait, with the same
/// names.
#[must_use = "no operation is recorded yet"]
pub struct On<'t, 'b, P> {
    batch: &'t mut Batch<'b>,
    object: ObjectId,
    proxy: PhantomData<fn(&P)>,
}

impl<'t, 'b, P> On<'t, 'b, P> {
    pub(super) fn new(batch: &'t mut Batch<'b>, object: ObjectId) -> Self {
        Self { batch, object, proxy: PhantomData }
    }
}

impl<T> On<'_, '_, Value<T>> {
    /// Like [`Value::get`].
    pub fn get(self) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.batch.add(self.object, |_| Op::Value(ValueOp::Get), read::value)
    }

    /// Like [`Value::set`].
    pub fn set<Q>(self, value: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let value = self.batch.value(value);
        self.batch.add(self.object, |v| Op::Value(ValueOp::Store(v.raw(value))), read::done)
    }

    /// Like [`Value::replace`].
    pub fn replace<Q>(self, value: &Q) -> Ticket<T>
    where
        T: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let value = self.batch.value(value);
        self.batch.add(self.object, |v| Op::Value(ValueOp::Set(v.raw(value))), read::value)
    }

    /// Like [`Value::compare_exchange`]. If the value is not the expected one, the transaction still succeeds.
    pub fn compare_exchange<E, N>(self, expected: &E, new: &N) -> Ticket<Result<(), T>>
    where
        T: DeserializeOwned,
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        let (expected, new) = (self.batch.value(expected), self.batch.value(new));
        self.batch.add(
            self.object,
            |v| Op::Value(ValueOp::CompareExchange { expected: v.raw(expected), new: v.raw(new) }),
            read::exchange_value,
        )
    }

    /// Like [`Value::fetch_add`].
    pub fn fetch_add(self, number: T) -> Ticket<T>
    where
        T: Numeric + DeserializeOwned,
    {
        let number = number.as_number();
        self.batch.add(self.object, |_| Op::Value(ValueOp::FetchAdd(number)), read::value)
    }
}

impl<T> On<'_, '_, Queue<T>> {
    /// Like [`Queue::try_put`]. A full queue makes a transaction fail.
    pub fn try_put<Q>(self, item: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, |v| Op::Queue(QueueOp::Put(v.raw(item))), read::done)
    }

    /// Like [`Queue::try_get`]. An empty queue makes a transaction fail.
    pub fn try_get(self) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.batch.add(self.object, |_| Op::Queue(QueueOp::Get), read::value)
    }

    /// Like [`Queue::len`].
    pub fn len(self) -> Ticket<usize> {
        self.batch.add(self.object, |_| Op::Queue(QueueOp::Len), read::count)
    }
}

impl<T> On<'_, '_, JoinableQueue<T>> {
    /// Like [`JoinableQueue::try_put`]. A full queue makes a transaction fail.
    pub fn try_put<Q>(self, task: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let task = self.batch.value(task);
        self.batch.add(self.object, |v| Op::JoinableQueue(JoinableQueueOp::Put(v.raw(task))), read::done)
    }

    /// Like [`JoinableQueue::len`].
    pub fn len(self) -> Ticket<usize> {
        self.batch.add(self.object, |_| Op::JoinableQueue(JoinableQueueOp::Len), read::count)
    }
}

impl<P> fmt::Debug for On<'_, '_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "On({}, {:?})", self.object, self.batch)
    }
}
