//! [`Dict`]: values by key, in the order of insertion.

mod pages;
mod update;

use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::pages::DictIter;
use crate::error::ObjectError;
use crate::proto::{DictOp, Op, Raw};
use crate::proxy::{Handle, proxy, read};

/// A dict that any process reads and changes.
///
/// | property | |
/// |---|---|
/// | keys, values | whatever serde encodes; proxies inside live as long as the entry |
/// | order | of insertion, as in Python: replacing a value keeps the place of its key |
/// | atomic | every method, but for those that say that they look again for each page |
/// | equality | of encoded bytes: two keys that are equal must be encoded equally, so no `HashMap` in a key |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited over a connection of its own.
///
/// # Crash
/// A process that is killed in a method has changed the dict or not.
///
/// # Source
/// Python's `multiprocessing.Manager().dict`, where `d[k] += 1` loses updates: see [`fetch_add`](Self::fetch_add) and
/// [`update`](Self::update).
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::Manager;
///
/// let ages = Manager::in_process()?.dict::<String, u32>()?;
/// ages.insert("ada", &36)?;
/// assert_eq!(ages.fetch_add("ada", 1)?, 36);
/// assert_eq!(ages.get("ada")?, Some(37));
/// assert_eq!(ages.get("bob")?, None);
/// assert_eq!(ages.items()?, [("ada".to_owned(), 37)]);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "HashMap")]
pub struct Dict<K, V> {
    handle: Handle,
    #[expect(clippy::type_complexity, reason = "the two types, as arguments and as results")]
    items: PhantomData<fn(K, V) -> (K, V)>,
}

proxy!(Dict<K, V>);

impl<K, V> Dict<K, V> {
    /// The number of entries.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Dict(DictOp::Len), read::count)
    }

    /// Whether there is no entry.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Takes all entries away.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Dict(DictOp::Clear), read::done)
    }
}

impl<K, V> Dict<K, V> {
    /// Whether a key has a value.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "__contains__")]
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle.ask_with(key, |key| Op::Dict(DictOp::Contains(key)), read::bool)
    }
}

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "__getitem__")]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle.ask_with(key, |key| Op::Dict(DictOp::Get(key)), read::option)
    }

    /// Takes the value of a key.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "pop")]
    #[doc(alias = "__delitem__")]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle.ask_with(key, |key| Op::Dict(DictOp::Remove(key)), read::option)
    }
}

impl<K, V> Dict<K, V> {
    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "__setitem__")]
    pub fn insert<Q, W>(&self, key: &Q, value: &W) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.with_both(key, value, |key, value| DictOp::Insert(key, value), read::done)
    }

    /// Sets the values of keys, all in one step: at most [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX).
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::TooMany`](crate::proto::Fault::TooMany). Nothing was set then.
    #[doc(alias = "update")]
    pub fn extend<'a, Q, W>(
        &self,
        entries: impl IntoIterator<Item = (&'a Q, &'a W)>,
    ) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized + 'a,
        Wire: SameBytes<W, V>,
    {
        let mut values = self.handle.values();
        let mut numbers = Vec::new();
        for (key, value) in entries {
            numbers.push((values.add(key)?, values.add(value)?));
        }
        let entries = numbers.into_iter().map(|(key, value)| (values.raw(key), values.raw(value))).collect();
        self.handle.ask(Op::Dict(DictOp::Extend(entries)), read::done)
    }

    /// Runs an operation with a key and a value.
    fn with_both<Q: Serialize + ?Sized, W: Serialize + ?Sized, R>(
        &self,
        key: &Q,
        value: &W,
        op: impl for<'r> FnOnce(Raw<'r>, Raw<'r>) -> DictOp<Raw<'r>>,
        read: crate::proxy::handle::Read<R>,
    ) -> Result<R, ObjectError> {
        let mut values = self.handle.values();
        let (key, value) = (values.add(key)?, values.add(value)?);
        self.handle.ask(Op::Dict(op(values.raw(key), values.raw(value))), read)
    }
}

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// Sets the value of a key, and gives the previous one.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn replace<Q, W>(&self, key: &Q, value: &W) -> Result<Option<V>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.with_both(key, value, |key, value| DictOp::Insert(key, value), read::option)
    }

    /// Sets the value of a key that has none; else gives the value that it has, as the inner error.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn insert_new<Q, W>(&self, key: &Q, value: &W) -> Result<Result<(), V>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.with_both(key, value, |key, value| DictOp::InsertNew(key, value), read::exchange_value)
    }

    /// The value of a key, which is set to `value` if there is none.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "setdefault")]
    pub fn get_or_insert<Q, W>(&self, key: &Q, value: &W) -> Result<V, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.with_both(key, value, |key, value| DictOp::GetOrInsert(key, value), read::value)
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Dict<K, V> {
    /// Takes the newest entry.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "popitem")]
    pub fn pop_item(&self) -> Result<Option<(K, V)>, ObjectError> {
        self.handle.ask(Op::Dict(DictOp::PopItem), read::entry)
    }
}
