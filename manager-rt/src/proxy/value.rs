//! [`Value`]: one value.

use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ItemError, ObjectError};
use crate::proto::{Op, ValueOp};
use crate::proxy::{Handle, Numeric, proxy, read};

/// A value that any process reads and replaces.
///
/// | property | |
/// |---|---|
/// | type | whatever serde encodes, up to [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX); proxies inside live as long as the value |
/// | atomic | every method: [`update`](Self::update) and [`fetch_add`](Self::fetch_add) lose nothing |
/// | equality | of encoded bytes |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited over a connection of its own.
///
/// # Crash
/// A process that is killed in a method has changed the value or not.
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
    /// The value.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn get(&self) -> Result<T, ObjectError> {
        self.handle.ask(Op::Value(ValueOp::Get), read::value)
    }
}

impl<T> Value<T> {
    /// Another value.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set<Q>(&self, value: &Q) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle.ask_with(value, |raw| Op::Value(ValueOp::Set(raw)), read::done)
    }
}

impl<T: DeserializeOwned> Value<T> {
    /// Another value; gives the previous one.
    ///
    /// # Errors
    /// [`ObjectError`]; after [`ObjectError::Decode`] the value is replaced.
    pub fn replace<Q>(&self, value: &Q) -> Result<T, ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle.ask_with(value, |raw| Op::Value(ValueOp::Set(raw)), read::value)
    }

    /// Another value if it is `expected`; else gives what it is, as the inner error.
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

    /// Replaces the value by `change` of it, atomically between all processes, and gives the previous one.
    ///
    /// `change` runs here, and again whenever somebody else was faster: it should do nothing else.
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
    /// Adds to the number, in the manager, and gives the number before. Sums of integers wrap around.
    ///
    /// # Errors
    /// [`ItemError::NoNumber`] if what is stored is no number of this type; [`ItemError::Object`].
    pub fn fetch_add(&self, number: T) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::Value(ValueOp::FetchAdd(number.as_number())), read::value)?)
    }
}
