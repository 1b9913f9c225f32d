//! The async forms of [`Array`]'s methods.

use std::ops::Range;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{ItemError, ObjectError};
use crate::proto::{ArrayOp, Op, Raw, Wait};
use crate::proxy::{Array, Numeric, Proxy, TRIES_MAX, read};

impl<T> Array<T> {
    /// As [`len`](Self::len), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::Array(ArrayOp::Len), read::count)
    }

    /// As [`set`](Self::set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn set_async<Q>(
        &self,
        index: usize,
        element: &Q,
    ) -> impl Future<Output = Result<(), ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            element,
            move |raw| Op::Array(ArrayOp::Store(count_of(index), raw)),
            Wait::No,
            read::done,
        )
    }

    /// As [`write`](Self::write), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`]. After an error, nothing was written.
    pub fn write_async<'a, Q>(
        &self,
        at: usize,
        elements: impl IntoIterator<Item = &'a Q>,
    ) -> impl Future<Output = Result<(), ItemError>> + Send
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_all_async(
            elements,
            move |raws| Op::Array(ArrayOp::Write { at: count_of(at), elements: raws }),
            Wait::No,
            read::done,
        )
    }
}

impl<T: DeserializeOwned> Array<T> {
    /// As [`get`](Self::get), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn get_async(&self, index: usize) -> impl Future<Output = Result<T, ItemError>> + Send {
        self.handle().ask_async(Op::Array(ArrayOp::Get(count_of(index))), read::value)
    }

    /// As [`replace`](Self::replace), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn replace_async<Q>(
        &self,
        index: usize,
        element: &Q,
    ) -> impl Future<Output = Result<T, ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            element,
            move |raw| Op::Array(ArrayOp::Set(count_of(index), raw)),
            Wait::No,
            read::value,
        )
    }

    /// As [`compare_exchange`](Self::compare_exchange), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn compare_exchange_async<E, N>(
        &self,
        index: usize,
        expected: &E,
        new: &N,
    ) -> impl Future<Output = Result<Result<(), T>, ItemError>> + Send
    where
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        self.handle().with_two_async(
            (expected, new),
            move |one, other| exchange(index, one, other),
            read::exchange_value,
        )
    }

    /// As [`update`](Self::update), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn update_async(
        &self,
        index: usize,
        change: impl FnMut(T) -> T + Send,
    ) -> impl Future<Output = Result<T, ItemError>> + Send
    where
        T: Serialize + Send,
    {
        let get = self.handle().call_async(Op::Array(ArrayOp::Get(count_of(index))), Wait::No);
        let updated =
            self.handle().update_async(get, move |expected, new| exchange(index, expected, new), change);
        async move { Ok(updated.await?) }
    }
}

impl<T: DeserializeOwned + Send> Array<T> {
    /// As [`read`](Self::read), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_async(&self, range: Range<usize>) -> Result<Vec<T>, ItemError> {
        let len = self.len_async().await?;
        if range.end > len || range.start > range.end {
            let index = range.end.max(range.start);
            return Err(ItemError::Index { index: count_of(index), len: count_of(len) });
        }
        for _ in 0..TRIES_MAX {
            if let Some(elements) = self.try_read_async(&range).await? {
                return Ok(elements);
            }
        }
        Err(ObjectError::Changing.into())
    }

    /// As [`to_vec`](Self::to_vec), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`to_vec`](Self::to_vec).
    pub async fn to_vec_async(&self) -> Result<Vec<T>, ItemError> {
        let len = self.len_async().await?;
        self.read_async(0..len).await
    }

    /// Returns `None` if the array changed between two pages.
    async fn try_read_async(&self, range: &Range<usize>) -> Result<Option<Vec<T>>, ObjectError> {
        let mut elements: Vec<T> = Vec::new();
        let mut first_version = None;
        while elements.len() < range.len() {
            let at = range.start.saturating_add(elements.len());
            let max = range.end.saturating_sub(at);
            let op = Op::Array(ArrayOp::Read { at: count_of(at), max: count_of(max) });
            let page: Result<_, ObjectError> = self.handle().ask_async(op, read::page).await;
            let (page, version) = page?;
            if page.is_empty() {
                break;
            }
            if first_version.replace(version).is_some_and(|first| first != version) {
                return Ok(None);
            }
            elements.extend(page);
        }
        Ok(Some(elements))
    }
}

impl<T: Numeric + DeserializeOwned> Array<T> {
    /// As [`fetch_add`](Self::fetch_add), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::NoNumber`], [`ItemError::Object`].
    pub fn fetch_add_async(
        &self,
        index: usize,
        number: T,
    ) -> impl Future<Output = Result<T, ItemError>> + Send {
        let op = Op::Array(ArrayOp::FetchAdd(count_of(index), number.as_number()));
        self.handle().ask_async(op, read::value)
    }
}

fn exchange<'a>(index: usize, expected: Raw<'a>, new: Raw<'a>) -> Op<Raw<'a>> {
    Op::Array(ArrayOp::CompareExchange { at: count_of(index), expected, new })
}
