//! The operations of a batch on lists, dicts, namespaces and arrays.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::CallError;
use crate::batch::{Make, On, Ticket};
use crate::count::count_of;
use crate::proto::{ArrayOp, DictOp, Fault, Kind, ListOp, NamespaceOp, Op, Raw};
use crate::proxy::travel::print_of;
use crate::proxy::{Array, Dict, List, Namespace, Numeric, Read, is_private, read};

impl<P> On<'_, '_, P> {
    /// An operation without a value.
    fn ask<R>(self, op: impl Fn() -> Op<Raw<'static>> + 'static, read: Read<R>) -> Ticket<R> {
        self.batch.add(self.object, Box::new(move |_| op()), read)
    }
}

impl<T> On<'_, '_, List<T>> {
    /// As [`List::push`].
    #[doc(alias = "append")]
    pub fn push(self, item: &T) -> Ticket<()>
    where
        T: Serialize,
    {
        let item = self.batch.value(item);
        self.batch.add(self.object, Box::new(move |v| Op::List(ListOp::Push(v.raw(item)))), read::done)
    }

    /// As [`List::get`].
    pub fn get(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(move || Op::List(ListOp::Get(count_of(index))), read::value)
    }

    /// As [`List::set`].
    pub fn set(self, index: usize, item: &T) -> Ticket<()>
    where
        T: Serialize,
    {
        self.set_and(index, item, read::done)
    }

    /// As [`List::replace`].
    pub fn replace(self, index: usize, item: &T) -> Ticket<T>
    where
        T: Serialize + DeserializeOwned,
    {
        self.set_and(index, item, read::value)
    }

    fn set_and<R>(self, index: usize, item: &T, read: Read<R>) -> Ticket<R>
    where
        T: Serialize,
    {
        let item = self.batch.value(item);
        let make: Make = Box::new(move |v| Op::List(ListOp::Set(count_of(index), v.raw(item))));
        self.batch.add(self.object, make, read)
    }

    /// As [`List::insert`].
    pub fn insert(self, index: usize, item: &T) -> Ticket<()>
    where
        T: Serialize,
    {
        let item = self.batch.value(item);
        let make: Make = Box::new(move |v| Op::List(ListOp::Insert(count_of(index), v.raw(item))));
        self.batch.add(self.object, make, read::done)
    }

    /// As [`List::remove`].
    pub fn remove(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(move || Op::List(ListOp::Remove(count_of(index))), read::value)
    }

    /// As [`List::pop`], but that an empty list makes a transaction fail.
    pub fn pop(self) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(|| Op::List(ListOp::Pop), read::value)
    }

    /// As [`List::compare_exchange`]. Another item than the expected one is no reason for a transaction to fail.
    pub fn compare_exchange(self, index: usize, expected: &T, new: &T) -> Ticket<Result<(), T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let (at, expected, new) = (count_of(index), self.batch.value(expected), self.batch.value(new));
        let make: Make = Box::new(move |v| {
            Op::List(ListOp::CompareExchange { at, expected: v.raw(expected), new: v.raw(new) })
        });
        self.batch.add(self.object, make, read::exchange_value)
    }

    /// As [`List::swap`].
    pub fn swap(self, one: usize, other: usize) -> Ticket<()> {
        self.ask(move || Op::List(ListOp::Swap(count_of(one), count_of(other))), read::done)
    }

    /// As [`List::reverse`].
    pub fn reverse(self) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Reverse), read::done)
    }

    /// As [`List::clear`].
    pub fn clear(self) -> Ticket<()> {
        self.ask(|| Op::List(ListOp::Clear), read::done)
    }

    /// As [`List::len`].
    pub fn len(self) -> Ticket<usize> {
        self.ask(|| Op::List(ListOp::Len), read::count)
    }
}

impl<K: Serialize, V> On<'_, '_, Dict<K, V>> {
    /// An operation on a key.
    fn on_key<R>(
        self,
        key: &K,
        op: impl for<'v> Fn(Raw<'v>) -> DictOp<Raw<'v>> + 'static,
        read: Read<R>,
    ) -> Ticket<R> {
        let key = self.batch.value(key);
        self.batch.add(self.object, Box::new(move |v| Op::Dict(op(v.raw(key)))), read)
    }

    /// An operation on a key and a value.
    fn on_entry<R>(
        self,
        key: &K,
        value: &V,
        op: impl for<'v> Fn(Raw<'v>, Raw<'v>) -> DictOp<Raw<'v>> + 'static,
        read: Read<R>,
    ) -> Ticket<R>
    where
        V: Serialize,
    {
        let (key, value) = (self.batch.value(key), self.batch.value(value));
        self.batch.add(self.object, Box::new(move |v| Op::Dict(op(v.raw(key), v.raw(value)))), read)
    }

    /// As [`Dict::get`].
    pub fn get(self, key: &K) -> Ticket<Option<V>>
    where
        V: DeserializeOwned,
    {
        self.on_key(key, |key| DictOp::Get(key), read::option)
    }

    /// As [`Dict::contains_key`].
    pub fn contains_key(self, key: &K) -> Ticket<bool> {
        self.on_key(key, |key| DictOp::Contains(key), read::bool)
    }

    /// As [`Dict::insert`].
    pub fn insert(self, key: &K, value: &V) -> Ticket<()>
    where
        V: Serialize,
    {
        self.on_entry(key, value, |key, value| DictOp::Insert(key, value), read::done)
    }

    /// As [`Dict::replace`].
    pub fn replace(self, key: &K, value: &V) -> Ticket<Option<V>>
    where
        V: Serialize + DeserializeOwned,
    {
        self.on_entry(key, value, |key, value| DictOp::Insert(key, value), read::option)
    }

    /// As [`Dict::insert_new`]. A key that has a value is no reason for a transaction to fail.
    pub fn insert_new(self, key: &K, value: &V) -> Ticket<Result<(), V>>
    where
        V: Serialize + DeserializeOwned,
    {
        self.on_entry(key, value, |key, value| DictOp::InsertNew(key, value), read::exchange_value)
    }

    /// As [`Dict::insert_new`], but that a key that has a value makes a transaction fail:
    /// [`Fault::Exists`]. So what belongs together is done once, however often it is tried.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mp::manager::TransactionError;
    /// use mp::manager::proto::Fault;
    ///
    /// let manager = mp::manager::Manager::in_process()?;
    /// let (booked, balance) = (manager.dict::<u64, ()>()?, manager.value(&100_i64)?);
    /// let book = |order| manager.transaction(|t| (t.on(&booked).claim(&order, &()), t.on(&balance).fetch_add(-10)));
    /// book(7)?;
    /// // Whoever sent it first may be dead, and its request still under way.
    /// assert_eq!(book(7), Err(TransactionError::Refused(Fault::Exists)));
    /// assert_eq!(balance.get()?, 90);
    /// # Ok(())
    /// # }
    /// ```
    pub fn claim(self, key: &K, value: &V) -> Ticket<()>
    where
        V: Serialize,
    {
        self.on_entry(key, value, |key, value| DictOp::Claim(key, value), read::done)
    }

    /// As [`Dict::add_many`].
    pub fn add_many<'a>(self, entries: impl IntoIterator<Item = (&'a K, V)>) -> Ticket<()>
    where
        K: 'a,
        V: Numeric,
    {
        let entries: Vec<_> =
            entries.into_iter().map(|(key, number)| (self.batch.value(key), number.as_number())).collect();
        let make: Make = Box::new(move |v| {
            let entries = entries.iter().map(|(key, number)| (v.raw(*key), *number)).collect();
            Op::Dict(DictOp::FetchAddMany(entries))
        });
        self.batch.add(self.object, make, read::done)
    }

    /// As [`Dict::get_or_insert`].
    #[doc(alias = "setdefault")]
    pub fn get_or_insert(self, key: &K, value: &V) -> Ticket<V>
    where
        V: Serialize + DeserializeOwned,
    {
        self.on_entry(key, value, |key, value| DictOp::GetOrInsert(key, value), read::value)
    }

    /// As [`Dict::remove`].
    pub fn remove(self, key: &K) -> Ticket<Option<V>>
    where
        V: DeserializeOwned,
    {
        self.on_key(key, |key| DictOp::Remove(key), read::option)
    }

    /// As [`Dict::fetch_add`].
    pub fn fetch_add(self, key: &K, number: V) -> Ticket<V>
    where
        V: Numeric + DeserializeOwned,
    {
        let number = number.as_number();
        self.on_key(key, move |key| DictOp::FetchAdd(key, number), read::value)
    }

    /// As [`Dict::compare_exchange`]. Another value than the expected one is no reason for a transaction to fail.
    pub fn compare_exchange(
        self,
        key: &K,
        expected: Option<&V>,
        new: Option<&V>,
    ) -> Ticket<Result<(), Option<V>>>
    where
        V: Serialize + DeserializeOwned,
    {
        let key = self.batch.value(key);
        let [expected, new] = [expected, new].map(|value| value.map(|value| self.batch.value(value)));
        let make: Make = Box::new(move |v| {
            let [expected, new] = [expected, new].map(|value| value.map(|value| v.raw(value)));
            Op::Dict(DictOp::CompareExchange { key: v.raw(key), expected, new })
        });
        self.batch.add(self.object, make, read::exchange)
    }
}

impl<K, V> On<'_, '_, Dict<K, V>> {
    /// As [`Dict::pop_item`].
    #[doc(alias = "popitem")]
    pub fn pop_item(self) -> Ticket<Option<(K, V)>>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        self.ask(|| Op::Dict(DictOp::PopItem), read::entry)
    }

    /// As [`Dict::clear`].
    pub fn clear(self) -> Ticket<()> {
        self.ask(|| Op::Dict(DictOp::Clear), read::done)
    }

    /// As [`Dict::len`].
    pub fn len(self) -> Ticket<usize> {
        self.ask(|| Op::Dict(DictOp::Len), read::count)
    }
}

impl On<'_, '_, Namespace> {
    /// As [`Namespace::get`], of a name that does not stay in the proxy.
    pub fn get<T: DeserializeOwned>(mut self, name: &str) -> Ticket<T> {
        let (name, print) = (self.public(name), print_of::<T>(Kind::Value));
        self.ask(move || Op::Namespace(NamespaceOp::Get { name: name.clone(), print }), read::value)
    }

    /// As [`Namespace::set`], of a name that does not stay in the proxy.
    pub fn set<T: Serialize>(mut self, name: &str, value: &T) -> Ticket<()> {
        let (name, print) = (self.public(name), print_of::<T>(Kind::Value));
        let value = self.batch.value(value);
        let make: Make = Box::new(move |v| {
            Op::Namespace(NamespaceOp::Set { name: name.clone(), print, value: v.raw(value) })
        });
        self.batch.add(self.object, make, read::done)
    }

    /// As [`Namespace::delete`], of a name that does not stay in the proxy.
    pub fn delete(mut self, name: &str) -> Ticket<()> {
        let name = self.public(name);
        self.ask(move || Op::Namespace(NamespaceOp::Delete { name: name.clone() }), read::done)
    }

    /// What stays in the proxy is never sent, so it can be no part of a batch.
    fn public(&mut self, name: &str) -> String {
        if is_private(name) {
            self.batch.fail(CallError::Fault(Fault::NotInTransaction).into());
        }
        name.to_owned()
    }
}

impl<T> On<'_, '_, Array<T>> {
    /// As [`Array::get`].
    pub fn get(self, index: usize) -> Ticket<T>
    where
        T: DeserializeOwned,
    {
        self.ask(move || Op::Array(ArrayOp::Get(count_of(index))), read::value)
    }

    /// As [`Array::set`].
    pub fn set(self, index: usize, element: &T) -> Ticket<()>
    where
        T: Serialize,
    {
        self.set_and(index, element, read::done)
    }

    /// As [`Array::replace`].
    pub fn replace(self, index: usize, element: &T) -> Ticket<T>
    where
        T: Serialize + DeserializeOwned,
    {
        self.set_and(index, element, read::value)
    }

    fn set_and<R>(self, index: usize, element: &T, read: Read<R>) -> Ticket<R>
    where
        T: Serialize,
    {
        let element = self.batch.value(element);
        let make: Make = Box::new(move |v| Op::Array(ArrayOp::Set(count_of(index), v.raw(element))));
        self.batch.add(self.object, make, read)
    }

    /// As [`Array::compare_exchange`]. Another element than the expected one is no reason for a transaction to fail.
    pub fn compare_exchange(self, index: usize, expected: &T, new: &T) -> Ticket<Result<(), T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let (at, expected, new) = (count_of(index), self.batch.value(expected), self.batch.value(new));
        let make: Make = Box::new(move |v| {
            Op::Array(ArrayOp::CompareExchange { at, expected: v.raw(expected), new: v.raw(new) })
        });
        self.batch.add(self.object, make, read::exchange_value)
    }

    /// As [`Array::fetch_add`].
    pub fn fetch_add(self, index: usize, number: T) -> Ticket<T>
    where
        T: Numeric + DeserializeOwned,
    {
        let number = number.as_number();
        self.ask(move || Op::Array(ArrayOp::FetchAdd(count_of(index), number)), read::value)
    }
}
