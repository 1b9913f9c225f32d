//! The operations of a batch on dicts.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{On, Ticket};
use crate::proto::{DictOp, Op, Raw};
use crate::proxy::{Dict, Numeric, Read, read};

impl<K, V> On<'_, '_, Dict<K, V>> {
    /// Records an operation on a key.
    fn on_key<Q: Serialize + ?Sized, R>(
        self,
        key: &Q,
        op: impl for<'v> FnOnce(Raw<'v>) -> DictOp<Raw<'v>>,
        read: Read<R>,
    ) -> Ticket<R> {
        let key = self.batch.value(key);
        self.batch.add(self.object, |v| Op::Dict(op(v.raw(key))), read)
    }

    /// Records an operation on a key and a value.
    fn on_entry<Q: Serialize + ?Sized, W: Serialize + ?Sized, R>(
        self,
        key: &Q,
        value: &W,
        op: impl for<'v> FnOnce(Raw<'v>, Raw<'v>) -> DictOp<Raw<'v>>,
        read: Read<R>,
    ) -> Ticket<R> {
        let (key, value) = (self.batch.value(key), self.batch.value(value));
        self.batch.add(self.object, |v| Op::Dict(op(v.raw(key), v.raw(value))), read)
    }

    /// Like [`Dict::get`].
    pub fn get<Q>(self, key: &Q) -> Ticket<Option<V>>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.on_key(key, |key| DictOp::Get(key), read::option)
    }

    /// Like [`Dict::contains_key`].
    pub fn contains_key<Q>(self, key: &Q) -> Ticket<bool>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.on_key(key, |key| DictOp::Contains(key), read::bool)
    }

    /// Like [`Dict::insert`].
    pub fn insert<Q, W>(self, key: &Q, value: &W) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.on_entry(key, value, |key, value| DictOp::Store(key, value), read::done)
    }

    /// Like [`Dict::replace`].
    pub fn replace<Q, W>(self, key: &Q, value: &W) -> Ticket<Option<V>>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.on_entry(key, value, |key, value| DictOp::Insert(key, value), read::option)
    }

    /// Like [`Dict::insert_new`]. If the key has a value, the transaction still succeeds.
    pub fn insert_new<Q, W>(self, key: &Q, value: &W) -> Ticket<Result<(), V>>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.on_entry(key, value, |key, value| DictOp::InsertNew(key, value), read::exchange_value)
    }

    /// Like [`Dict::insert_new`], except that a transaction fails with [`Fault::Exists`](crate::proto::Fault::Exists)
    /// if the key has a value. So the transaction happens once, however often it is tried.
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
    /// // The process that sent it first may be dead, with its request still under way.
    /// assert_eq!(book(7), Err(TransactionError::Refused(Fault::Exists)));
    /// assert_eq!(balance.get()?, 90);
    /// # Ok(())
    /// # }
    /// ```
    pub fn claim<Q, W>(self, key: &Q, value: &W) -> Ticket<()>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.on_entry(key, value, |key, value| DictOp::Claim(key, value), read::done)
    }

    /// Like [`Dict::add_many`].
    pub fn add_many<'a, Q>(self, entries: impl IntoIterator<Item = (&'a Q, V)>) -> Ticket<()>
    where
        V: Numeric,
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, K>,
    {
        let entries: Vec<_> =
            entries.into_iter().map(|(key, number)| (self.batch.value(key), number.as_number())).collect();
        self.batch.add(
            self.object,
            |v| {
                let entries = entries.iter().map(|(key, number)| (v.raw(*key), *number)).collect();
                Op::Dict(DictOp::FetchAddMany(entries))
            },
            read::done,
        )
    }

    /// Like [`Dict::get_or_insert`].
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<Q, W>(self, key: &Q, value: &W) -> Ticket<V>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.on_entry(key, value, |key, value| DictOp::GetOrInsert(key, value), read::value)
    }

    /// Like [`Dict::delete`].
    pub fn delete<Q>(self, key: &Q) -> Ticket<bool>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.on_key(key, |key| DictOp::Delete(key), read::bool)
    }

    /// Like [`Dict::remove`].
    pub fn remove<Q>(self, key: &Q) -> Ticket<Option<V>>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.on_key(key, |key| DictOp::Remove(key), read::option)
    }

    /// Like [`Dict::fetch_add`].
    pub fn fetch_add<Q>(self, key: &Q, number: V) -> Ticket<V>
    where
        V: Numeric + DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        let number = number.as_number();
        self.on_key(key, move |key| DictOp::FetchAdd(key, number), read::value)
    }

    /// Like [`Dict::compare_exchange`]. If the value is not the expected one, the transaction still succeeds.
    pub fn compare_exchange<Q, W>(
        self,
        key: &Q,
        expected: Option<&W>,
        new: Option<&W>,
    ) -> Ticket<Result<(), Option<V>>>
    where
        V: DeserializeOwned,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        let key = self.batch.value(key);
        let [expected, new] = [expected, new].map(|value| value.map(|value| self.batch.value(value)));
        self.batch.add(
            self.object,
            |v| {
                let [expected, new] = [expected, new].map(|value| value.map(|value| v.raw(value)));
                Op::Dict(DictOp::CompareExchange { key: v.raw(key), expected, new })
            },
            read::exchange,
        )
    }
}

impl<K, V> On<'_, '_, Dict<K, V>> {
    /// Like [`Dict::pop_item`].
    #[doc(alias = "popitem")]
    pub fn pop_item(self) -> Ticket<Option<(K, V)>>
    where
        K: DeserializeOwned,
        V: DeserializeOwned,
    {
        self.ask(|| Op::Dict(DictOp::PopItem), read::entry)
    }

    /// Like [`Dict::clear`].
    pub fn clear(self) -> Ticket<()> {
        self.ask(|| Op::Dict(DictOp::Clear), read::done)
    }

    /// Like [`Dict::len`].
    pub fn len(self) -> Ticket<usize> {
        self.ask(|| Op::Dict(DictOp::Len), read::count)
    }
}
