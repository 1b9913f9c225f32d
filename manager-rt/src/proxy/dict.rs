//! [`Dict`]: values by key, in insertion order.

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

/// A dict that any process can read and change.
///
/// | property | |
/// |---|---|
/// | keys, values | any type that serde encodes; proxies inside an entry live as long as the entry |
/// | order | by insertion, as in Python: replacing a value does not move its key |
/// | atomic | every method, except those documented to ask page by page |
/// | equality | by encoded bytes: equal keys must have equal encodings, so a key must not contain a `HashMap` |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy over its own connection.
///
/// # Crash
/// If a process is killed inside a method, the change happened completely or not at all.
///
/// # Source
/// Python's `multiprocessing.Manager().dict`, where `d[k] += 1` loses updates. Use [`fetch_add`](Self::fetch_add) or
/// [`update`](Self::update) instead.
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
    /// Returns the number of entries.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Dict(DictOp::Len), read::count)
    }

    /// Returns `true` if the dict has no entries.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::Dict(DictOp::Clear), read::done)
    }
}

impl<K, V> Dict<K, V> {
    /// Returns `true` if the key has a value.
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

    /// Removes a key, without returning its value. Returns `true` if it had one.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pages = mp::manager::Manager::in_process()?.dict::<String, Vec<u8>>()?;
    /// pages.insert("index", &vec![7; 100_000])?;
    /// assert!(pages.delete("index")?); // `remove` would send the 100,000 bytes back
    /// assert!(!pages.delete("index")?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn delete<Q>(&self, key: &Q) -> Result<bool, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle.ask_with(key, |key| Op::Dict(DictOp::Delete(key)), read::bool)
    }
}

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// Returns the value of a key.
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

    /// Removes a key, and returns its value.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "pop")]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle.ask_with(key, |key| Op::Dict(DictOp::Remove(key)), read::option)
    }
}

impl<K, V> Dict<K, V> {
    /// Sets the value of a key. The previous one is not sent back, however long it is.
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
        self.with_both(key, value, |key, value| DictOp::Store(key, value), read::done)
    }

    /// Sets the values of several keys in one step, up to [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX)
    /// of them.
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::TooMany`](crate::proto::Fault::TooMany). After an error, nothing was set.
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

    /// Runs an operation on a key and a value.
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
    /// Sets the value of a key, and returns the previous one.
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

    /// Sets the value of a key that has none. Otherwise returns the current value as the inner error.
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

    /// Returns the value of a key, after setting it to `value` if there was none.
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
    /// Removes and returns the newest entry.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "popitem")]
    pub fn pop_item(&self) -> Result<Option<(K, V)>, ObjectError> {
        self.handle.ask(Op::Dict(DictOp::PopItem), read::entry)
    }
}
