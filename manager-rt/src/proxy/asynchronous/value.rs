//! The async forms of [`Value`]'s methods.

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ItemError, ObjectError};
use crate::proto::{Op, Raw, ValueOp, Wait};
use crate::proxy::{Numeric, Proxy, Value, read};

impl<T: DeserializeOwned> Value<T> {
    /// As [`get`](Self::get), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn get_async(&self) -> impl Future<Output = Result<T, ObjectError>> + Send {
        self.handle().ask_async(Op::Value(ValueOp::Get), read::value)
    }
}

impl<T> Value<T> {
    /// As [`set`](Self::set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn set_async<Q>(&self, value: &Q) -> impl Future<Output = Result<(), ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(value, move |raw| Op::Value(ValueOp::Store(raw)), Wait::No, read::done)
    }
}

impl<T: DeserializeOwned> Value<T> {
    /// As [`replace`](Self::replace), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn replace_async<Q>(&self, value: &Q) -> impl Future<Output = Result<T, ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(value, move |raw| Op::Value(ValueOp::Set(raw)), Wait::No, read::value)
    }

    /// As [`compare_exchange`](Self::compare_exchange), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn compare_exchange_async<E, N>(
        &self,
        expected: &E,
        new: &N,
    ) -> impl Future<Output = Result<Result<(), T>, ObjectError>> + Send
    where
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        self.handle().with_two_async((expected, new), exchange, read::exchange_value)
    }

    /// As [`update`](Self::update), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn update_async(
        &self,
        change: impl FnMut(T) -> T + Send,
    ) -> impl Future<Output = Result<T, ObjectError>> + Send
    where
        T: Serialize + Send,
    {
        let get = self.handle().call_async(Op::Value(ValueOp::Get), Wait::No);
        self.handle().update_async(get, exchange, change)
    }
}

impl<T: Numeric + DeserializeOwned> Value<T> {
    /// As [`fetch_add`](Self::fetch_add), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::NoNumber`], [`ItemError::Object`].
    pub fn fetch_add_async(&self, number: T) -> impl Future<Output = Result<T, ItemError>> + Send {
        self.handle().ask_async(Op::Value(ValueOp::FetchAdd(number.as_number())), read::value)
    }
}

fn exchange<'a>(expected: Raw<'a>, new: Raw<'a>) -> Op<Raw<'a>> {
    Op::Value(ValueOp::CompareExchange { expected, new })
}
