//! The async forms of [`Dict`]'s methods.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::Pending;
use crate::error::{ItemError, ObjectError};
use crate::proto::{DictOp, Op, Part, Payload, Reply, Wait};
use crate::proxy::{Dict, Numeric, Proxy, Read, codec, read};

impl<K, V> Dict<K, V> {
    /// As [`len`](Self::len), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::Dict(DictOp::Len), read::count)
    }

    /// As [`clear`](Self::clear), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::Dict(DictOp::Clear), read::done)
    }

    /// As [`contains_key`](Self::contains_key), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn contains_key_async<Q>(&self, key: &Q) -> impl Future<Output = Result<bool, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle().with_one_async(key, move |raw| Op::Dict(DictOp::Contains(raw)), Wait::No, read::bool)
    }

    /// As [`delete`](Self::delete), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn delete_async<Q>(&self, key: &Q) -> impl Future<Output = Result<bool, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle().with_one_async(key, move |raw| Op::Dict(DictOp::Delete(raw)), Wait::No, read::bool)
    }

    /// As [`insert`](Self::insert), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn insert_async<Q, W>(
        &self,
        key: &Q,
        value: &W,
    ) -> impl Future<Output = Result<(), ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.handle().with_two_async(
            (key, value),
            move |one, other| Op::Dict(DictOp::Store(one, other)),
            read::done,
        )
    }

    /// As [`extend`](Self::extend), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`]. After an error, nothing was set.
    pub fn extend_async<'a, Q, W>(
        &self,
        entries: impl IntoIterator<Item = (&'a Q, &'a W)>,
    ) -> impl Future<Output = Result<(), ObjectError>> + Send
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized + 'a,
        Wire: SameBytes<W, V>,
    {
        let pending = self.handle().begin_with(
            |values| {
                let both = |(key, value)| Ok((values.add(key)?, values.add(value)?));
                entries.into_iter().map(both).collect::<Result<Vec<_>, ObjectError>>()
            },
            |values, numbers| {
                let both = |(key, value)| (values.raw(key), values.raw(value));
                Op::Dict(DictOp::Extend(numbers.into_iter().map(both).collect()))
            },
            Wait::No,
        );
        self.handle().decode_async(pending, read::done)
    }
}

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// As [`get`](Self::get), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn get_async<Q>(&self, key: &Q) -> impl Future<Output = Result<Option<V>, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle().with_one_async(key, move |raw| Op::Dict(DictOp::Get(raw)), Wait::No, read::option)
    }

    /// As [`remove`](Self::remove), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn remove_async<Q>(&self, key: &Q) -> impl Future<Output = Result<Option<V>, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        self.handle().with_one_async(key, move |raw| Op::Dict(DictOp::Remove(raw)), Wait::No, read::option)
    }

    /// As [`replace`](Self::replace), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn replace_async<Q, W>(
        &self,
        key: &Q,
        value: &W,
    ) -> impl Future<Output = Result<Option<V>, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.handle().with_two_async(
            (key, value),
            move |one, other| Op::Dict(DictOp::Insert(one, other)),
            read::option,
        )
    }

    /// As [`insert_new`](Self::insert_new), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn insert_new_async<Q, W>(
        &self,
        key: &Q,
        value: &W,
    ) -> impl Future<Output = Result<Result<(), V>, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.handle().with_two_async(
            (key, value),
            move |one, other| Op::Dict(DictOp::InsertNew(one, other)),
            read::exchange_value,
        )
    }

    /// As [`get_or_insert`](Self::get_or_insert), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn get_or_insert_async<Q, W>(
        &self,
        key: &Q,
        value: &W,
    ) -> impl Future<Output = Result<V, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        self.handle().with_two_async(
            (key, value),
            move |one, other| Op::Dict(DictOp::GetOrInsert(one, other)),
            read::value,
        )
    }

    /// As [`compare_exchange`](Self::compare_exchange), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn compare_exchange_async<Q, W>(
        &self,
        key: &Q,
        expected: Option<&W>,
        new: Option<&W>,
    ) -> impl Future<Output = Result<Result<(), Option<V>>, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        let pending = self.handle().begin_with(
            |values| {
                let key = values.add(key)?;
                let expected = expected.map(|expected| values.add(expected)).transpose()?;
                Ok((key, expected, new.map(|new| values.add(new)).transpose()?))
            },
            |values, (key, expected, new)| {
                let raw = |number| values.raw(number);
                let (expected, new) = (expected.map(raw), new.map(raw));
                Op::Dict(DictOp::CompareExchange { key: values.raw(key), expected, new })
            },
            Wait::No,
        );
        self.handle().decode_async(pending, read::exchange)
    }
}

impl<K, V: Serialize + DeserializeOwned + Send> Dict<K, V> {
    /// As [`update`](Self::update), in a task of a tokio runtime. `change` runs in the thread that polls the future.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn update_async<Q>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Option<V> + Send,
    ) -> Result<Option<V>, ObjectError>
    where
        Q: Serialize + ?Sized + Sync,
        Wire: SameBytes<Q, K>,
    {
        let backend = self.handle().backend();
        let get = self.handle().begin_with(
            |values| values.add(key),
            |values, key| Op::Dict(DictOp::Get(values.raw(key))),
            Wait::No,
        );
        let mut reply = get?.await?;
        loop {
            let (Reply::Option(found) | Reply::Found(found)) = reply else {
                return read::unexpected(backend, &reply);
            };
            // Taken at once: it keeps the objects inside alive while the second copy is decoded.
            let previous = found.as_ref().map(|found| codec::take(backend, found)).transpose()?;
            let current = found.as_ref().map(|found| codec::look(backend, found.raw())).transpose()?;
            let pending = self.exchange(key, found.as_ref(), change(current).as_ref());
            reply = pending?.await?;
            if reply == Reply::Bool(true) {
                return Ok(previous);
            }
        }
    }

    /// Begins to replace the value that was found with a new one.
    fn exchange<Q: Serialize + ?Sized>(
        &self,
        key: &Q,
        found: Option<&Payload>,
        new: Option<&V>,
    ) -> Result<Pending, ObjectError> {
        let mut values = self.handle().values();
        let key = values.add(key)?;
        let new = new.map(|new| values.add(new)).transpose()?.map(|number| values.raw(number));
        let op = DictOp::CompareExchange { key: values.raw(key), expected: found.map(Payload::raw), new };
        Ok(self.handle().call_async(Op::Dict(op), Wait::No))
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Dict<K, V> {
    /// As [`pop_item`](Self::pop_item), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn pop_item_async(&self) -> impl Future<Output = Result<Option<(K, V)>, ObjectError>> + Send {
        self.handle().ask_async(Op::Dict(DictOp::PopItem), read::entry)
    }
}

impl<K, V> Dict<K, V> {
    async fn all_async<R: Send>(&self, part: Part, read: Read<(Vec<R>, u64)>) -> Result<Vec<R>, ObjectError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let op = Op::Dict(DictOp::Page { after, max: u64::MAX, part });
            let page: Result<_, ObjectError> = self.handle().ask_async(op, read).await;
            let (page, place) = page?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
            after = Some(place);
        }
    }
}

impl<K: DeserializeOwned + Send, V> Dict<K, V> {
    /// As [`keys`](Self::keys), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn keys_async(&self) -> impl Future<Output = Result<Vec<K>, ObjectError>> + Send {
        self.all_async(Part::Keys, read::page)
    }
}

impl<K, V: DeserializeOwned + Send> Dict<K, V> {
    /// As [`values`](Self::values), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn values_async(&self) -> impl Future<Output = Result<Vec<V>, ObjectError>> + Send {
        self.all_async(Part::Values, read::page)
    }
}

impl<K: DeserializeOwned + Send, V: DeserializeOwned + Send> Dict<K, V> {
    /// As [`items`](Self::items), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn items_async(&self) -> impl Future<Output = Result<Vec<(K, V)>, ObjectError>> + Send {
        self.all_async(Part::Items, read::entries)
    }
}

impl<K, V: Numeric + DeserializeOwned> Dict<K, V> {
    /// As [`fetch_add`](Self::fetch_add), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::NoNumber`], [`ItemError::Object`].
    pub fn fetch_add_async<Q>(&self, key: &Q, number: V) -> impl Future<Output = Result<V, ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        let number = number.as_number();
        self.handle().with_one_async(
            key,
            move |raw| Op::Dict(DictOp::FetchAdd(raw, number)),
            Wait::No,
            read::value,
        )
    }
}
