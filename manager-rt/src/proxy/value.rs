//! [`Value`]: a single value.

use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ItemError, ObjectError};
use crate::proto::{Op, ValueOp};
use crate::proxy::{Handle, Numeric, proxy, read};

/// A value that any process can read and replace.
///
/// | property | |
/// |---|---|
/// | type | any type that serde encodes, up to [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX); proxies inside live as long as the value |
/// | atomic | every method: [`update`](Self::update) and [`fetch_add`](Self::fetch_add) lose nothing |
/// | equality | by encoded bytes |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy over its own connection.
///
/// # Crash
/// If a process is killed inside a method, the change happened completely or not at all.
///
/// # Source
/// Python's `multiprocessing.Manager().Value`, whose `v.value += 1` loses updates.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let manager = Manager::in_process()?;
/// let value = manager.value(&20_u64)?;
/// assert_eq!(value.fetch_add(1)?, 20);
/// assert_eq!(value.update(|n| n * 2)?, 21); // the previous one
/// assert_eq!(value.get()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Value<T> {
    handle: Handle,
    items: PhantomData<fn(T) -> (T,)>,
}

proxy!(Value<T>);

impl<T: DeserializeOwned> Value<T> {
    /// Returns the value.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn get(&self) -> Result<T, ObjectError> {
        self.handle.ask(Op::Value(ValueOp::Get), read::value)
    }
}

impl<T> Value<T> {
    /// Sets the value. The previous one is not sent back, however long it is.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set<Q>(&self, value: &Q) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle.ask_with(value, |raw| Op::Value(ValueOp::Store(raw)), read::done)
    }
}

impl<T: DeserializeOwned> Value<T> {
    /// Sets the value, and returns the previous one.
    ///
    /// # Errors
    /// [`ObjectError`]; after [`ObjectError::Decode`], the value was replaced.
    pub fn replace<Q>(&self, value: &Q) -> Result<T, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle.ask_with(value, |raw| Op::Value(ValueOp::Set(raw)), read::value)
    }

    /// Sets the value to `new` if it equals `expected`. Otherwise returns the current value as the inner error.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let value = mp::manager::Manager::in_process()?.value(&1)?;
    /// assert_eq!(value.compare_exchange(&1, &2)?, Ok(()));
    /// assert_eq!(value.compare_exchange(&1, &3)?, Err(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn compare_exchange<E, N>(&self, expected: &E, new: &N) -> Result<Result<(), T>, ObjectError>
    where
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        let mut values = self.handle.values();
        let (expected, new) = (values.add(expected)?, values.add(new)?);
        let op = ValueOp::CompareExchange { expected: values.raw(expected), new: values.raw(new) };
        self.handle.ask(Op::Value(op), read::exchange_value)
    }

    /// Replaces the value with the result of `change`, atomically across all processes, and returns the previous one.
    ///
    /// `change` runs in this process, and runs again whenever another caller changed the value first. It should have no
    /// side effects.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn update(&self, change: impl FnMut(T) -> T) -> Result<T, ObjectError>
    where
        T: Serialize,
    {
        self.handle.update(
            Op::Value(ValueOp::Get),
            |expected, new| Op::Value(ValueOp::CompareExchange { expected, new }),
            change,
        )
    }
}

impl<T: Numeric + DeserializeOwned> Value<T> {
    /// Adds to the number, inside the manager, and returns the number before. Sums of integers wrap around.
    ///
    /// # Errors
    /// [`ItemError::NoNumber`] if the stored value is not a number of this type; [`ItemError::Object`].
    pub fn fetch_add(&self, number: T) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::Value(ValueOp::FetchAdd(number.as_number())), read::value)?)
    }
}
