//! Changing a value depending on its current value.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ItemError, ObjectError};
use crate::proto::{DictOp, Op, Payload, Raw, Reply, Wait};
use crate::proxy::dict::Dict;
use crate::proxy::{Numeric, codec, read};

impl<K, V: DeserializeOwned> Dict<K, V> {
    /// Sets the value of a key if its current value is `expected`, where `None` stands for no value. Otherwise returns
    /// the current value as the inner error.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dict = mp::manager::Manager::in_process()?.dict::<u8, u8>()?;
    /// assert_eq!(dict.compare_exchange(&1, None, Some(&10))?, Ok(()));
    /// assert_eq!(dict.compare_exchange(&1, Some(&11), None)?, Err(Some(10)));
    /// assert_eq!(dict.compare_exchange(&1, Some(&10), None)?, Ok(()));
    /// assert!(dict.is_empty()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn compare_exchange<Q, W>(
        &self,
        key: &Q,
        expected: Option<&W>,
        new: Option<&W>,
    ) -> Result<Result<(), Option<V>>, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
        W: Serialize + ?Sized,
        Wire: SameBytes<W, V>,
    {
        let mut values = self.handle.values();
        let key = values.add(key)?;
        let expected = expected.map(|expected| values.add(expected)).transpose()?;
        let new = new.map(|new| values.add(new)).transpose()?;
        let op = DictOp::CompareExchange {
            key: values.raw(key),
            expected: expected.map(|number| values.raw(number)),
            new: new.map(|number| values.raw(number)),
        };
        self.handle.ask(Op::Dict(op), read::exchange)
    }

    /// Replaces the value of a key with the result of `change`, atomically across all processes, and returns the
    /// previous one. `None` stands for no value, both as argument and as result.
    ///
    /// `change` runs in this process, and runs again whenever another caller changed the value first. It should have no
    /// side effects.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let words = mp::manager::Manager::in_process()?.dict::<String, Vec<String>>()?;
    /// for word in ["ant", "bee", "asp"] {
    ///     words.update(&word[..1].to_owned(), |all| {
    ///         let mut all = all.unwrap_or_default();
    ///         all.push(word.to_owned());
    ///         Some(all)
    ///     })?;
    /// }
    /// assert_eq!(words.get("a")?.unwrap(), ["ant", "asp"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn update<Q>(
        &self,
        key: &Q,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<Option<V>, ObjectError>
    where
        V: Serialize,
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        let backend = self.handle.backend();
        let mut encoded_key = self.handle.values();
        let key = encoded_key.add(key)?;
        let mut reply = self.handle.call(Op::Dict(DictOp::Get(encoded_key.raw(key))), Wait::No)?;
        loop {
            let (Reply::Option(found) | Reply::Found(found)) = reply else {
                return read::unexpected(backend, &reply);
            };
            let previous = found.as_ref().map(|found| codec::take(backend, found)).transpose()?;
            let raw = found.as_ref().map(Payload::raw);
            // Decoded a second time, since not every type can be cloned. The first copy keeps the objects inside alive.
            let current = raw.map(|raw: Raw<'_>| codec::look(backend, raw)).transpose()?;
            let mut values = self.handle.values();
            let new = change(current).map(|new| values.add(&new)).transpose()?;
            let new = new.map(|number| values.raw(number));
            let op = DictOp::CompareExchange { key: encoded_key.raw(key), expected: raw, new };
            reply = self.handle.call(Op::Dict(op), Wait::No)?;
            if reply == Reply::Bool(true) {
                return Ok(previous);
            }
        }
    }
}

impl<K, V: Numeric + DeserializeOwned> Dict<K, V> {
    /// Adds to the number of a key, inside the manager, and returns the number before. A key without a value counts as
    /// 0. Sums of integers wrap around.
    ///
    /// # Errors
    /// [`ItemError::NoNumber`] if the stored value is not a number of this type; [`ItemError::Object`].
    #[doc(alias = "Counter")]
    pub fn fetch_add<Q>(&self, key: &Q, number: V) -> Result<V, ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, K>,
    {
        Ok(self.handle.ask_with(
            key,
            |key| Op::Dict(DictOp::FetchAdd(key, number.as_number())),
            read::value,
        )?)
    }

    /// Adds to the numbers of several keys in one step, up to
    /// [`ENTRIES_AT_ONCE_MAX`](crate::limits::ENTRIES_AT_ONCE_MAX) of them.
    ///
    /// # Errors
    /// As for [`fetch_add`](Self::fetch_add). After an error, nothing was added.
    pub fn add_many<'a, Q>(&self, entries: impl IntoIterator<Item = (&'a Q, V)>) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, K>,
    {
        let mut values = self.handle.values();
        let mut numbers = Vec::new();
        for (key, number) in entries {
            numbers.push((values.add(key)?, number.as_number()));
        }
        let entries = numbers.into_iter().map(|(key, number)| (values.raw(key), number)).collect();
        Ok(self.handle.ask(Op::Dict(DictOp::FetchAddMany(entries)), read::done)?)
    }
}
