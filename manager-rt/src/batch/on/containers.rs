//! The operations of a batch on lists, namespaces and arrays.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::CallError;
use crate::batch::{On, Ticket};
use crate::count::count_of;
use crate::proto::{ArrayOp, Fault, Kind, ListOp, NamespaceOp, Op, Raw};
use crate::proxy::travel::print_of;
use crate::proxy::{Array, List, Namespace, Numeric, Read, Storable, is_private, read};

impl<P> On<'_, '_, P> {
    /// Records an operation without a value.
    pub(super) fn ask<R>(self, op: impl FnOnce() -> Op<Raw<'static>>, read: Read<R>) -> Ticket<R> {
        self.batch.add(self.object, |_| op(), read)
    }
}

impl<T> On<'_, '_, List<T>> {
    /// Like [`List::push`].
    #[doc(alias = "append")]
    pub fn push<Q>(self, item: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, |v| Op::List(ListOp::Push(v.raw(item))), read::done)
    }

    /// Like [`List::get`].
    pub fn get(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(|| Op::List(ListOp::Get(count_of(index))), read::value)
    }

    /// Like [`List::set`].
    pub fn set<Q>(self, index: usize, item: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, |v| Op::List(ListOp::Store(count_of(index), v.raw(item))), read::done)
    }

    /// Like [`List::replace`].
    pub fn replace<Q>(self, index: usize, item: &Q) -> Ticket<T>
    where
        T: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, |v| Op::List(ListOp::Set(count_of(index), v.raw(item))), read::value)
    }

    /// Like [`List::insert`].
    pub fn insert<Q>(self, index: usize, item: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, |v| Op::List(ListOp::Insert(count_of(index), v.raw(item))), read::done)
    }

    /// Like [`List::delete`].
    pub fn delete(self, index: usize) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Delete(count_of(index))), read::done)
    }

    /// Like [`List::remove`].
    pub fn remove(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(|| Op::List(ListOp::Remove(count_of(index))), read::value)
    }

    /// Like [`List::pop`], except that an empty list makes a transaction fail.
    pub fn pop(self) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(|| Op::List(ListOp::Pop), read::value)
    }

    /// Like [`List::compare_exchange`]. If the item is not the expected one, the transaction still succeeds.
    pub fn compare_exchange<E, N>(self, index: usize, expected: &E, new: &N) -> Ticket<Result<(), T>>
    where
        T: DeserializeOwned,
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        let (at, expected, new) = (count_of(index), self.batch.value(expected), self.batch.value(new));
        self.batch.add(
            self.object,
            |v| Op::List(ListOp::CompareExchange { at, expected: v.raw(expected), new: v.raw(new) }),
            read::exchange_value,
        )
    }

    /// Like [`List::swap`].
    pub fn swap(self, one: usize, other: usize) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Swap(count_of(one), count_of(other))), read::done)
    }

    /// Like [`List::reverse`].
    pub fn reverse(self) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Reverse), read::done)
    }

    /// Like [`List::clear`].
    pub fn clear(self) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Clear), read::done)
    }

    /// Like [`List::len`].
    pub fn len(self) -> Ticket<usize> {
        self.ask(|| Op::List(ListOp::Len), read::count)
    }
}

impl On<'_, '_, Namespace> {
    /// Like [`Namespace::get`], but not for private names.
    pub fn get<T: DeserializeOwned>(mut self, name: &str) -> Ticket<T> {
        let (name, print) = (self.public(name), print_of::<T>(Kind::Value));
        self.ask(|| Op::Namespace(NamespaceOp::Get { name, print }), read::value)
    }

    /// Like [`Namespace::set`], but not for private names.
    pub fn set<T: Storable + Serialize + ?Sized>(mut self, name: &str, value: &T) -> Ticket<()> {
        let (name, print) = (self.public(name), print_of::<T::Owned>(Kind::Value));
        let value = self.batch.value(value);
        self.batch.add(
            self.object,
            |v| Op::Namespace(NamespaceOp::Set { name, print, value: v.raw(value) }),
            read::done,
        )
    }

    /// Like [`Namespace::delete`], but not for private names.
    pub fn delete(mut self, name: &str) -> Ticket<()> {
        let name = self.public(name);
        self.ask(|| Op::Namespace(NamespaceOp::Delete { name }), read::done)
    }

    /// Makes the batch fail for a private name. Private attributes stay in the proxy, so they cannot be part of a
    /// batch.
    fn public(&mut self, name: &str) -> String {
        if is_private(name) {
            self.batch.fail(CallError::Fault(Fault::NotInTransaction).into());
        }
        name.to_owned()
    }
}

impl<T> On<'_, '_, Array<T>> {
    /// Like [`Array::get`].
    pub fn get(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(|| Op::Array(ArrayOp::Get(count_of(index))), read::value)
    }

    /// Like [`Array::set`].
    pub fn set<Q>(self, index: usize, element: &Q) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let element = self.batch.value(element);
        self.batch.add(
            self.object,
            |v| Op::Array(ArrayOp::Store(count_of(index), v.raw(element))),
            read::done,
        )
    }

    /// Like [`Array::replace`].
    pub fn replace<Q>(self, index: usize, element: &Q) -> Ticket<T>
    where
        T: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        let element = self.batch.value(element);
        self.batch.add(self.object, |v| Op::Array(ArrayOp::Set(count_of(index), v.raw(element))), read::value)
    }

    /// Like [`Array::compare_exchange`]. If the element is not the expected one, the transaction still succeeds.
    pub fn compare_exchange<E, N>(self, index: usize, expected: &E, new: &N) -> Ticket<Result<(), T>>
    where
        T: DeserializeOwned,
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        let (at, expected, new) = (count_of(index), self.batch.value(expected), self.batch.value(new));
        self.batch.add(
            self.object,
            |v| Op::Array(ArrayOp::CompareExchange { at, expected: v.raw(expected), new: v.raw(new) }),
            read::exchange_value,
        )
    }

    /// Like [`Array::fetch_add`].
    pub fn fetch_add(self, index: usize, number: T) -> Ticket<T>
    where
        T: Numeric + DeserializeOwned,
    {
        let number = number.as_number();
        self.ask(|| Op::Array(ArrayOp::FetchAdd(count_of(index), number)), read::value)
    }
}
