//! The async forms of [`List`]'s methods.

use std::ops::Range;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{ItemError, ObjectError};
use crate::proto::{ListOp, Op, Raw, Wait};
use crate::proxy::{List, Proxy, TRIES_MAX, read};

impl<T> List<T> {
    /// As [`len`](Self::len), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len_async(&self) -> impl Future<Output = Result<usize, ObjectError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Len), read::count)
    }

    /// As [`clear`](Self::clear), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Clear), read::done)
    }

    /// As [`reverse`](Self::reverse), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reverse_async(&self) -> impl Future<Output = Result<(), ObjectError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Reverse), read::done)
    }

    /// As [`swap`](Self::swap), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn swap_async(&self, one: usize, other: usize) -> impl Future<Output = Result<(), ItemError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Swap(count_of(one), count_of(other))), read::done)
    }

    /// As [`delete`](Self::delete), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn delete_async(&self, index: usize) -> impl Future<Output = Result<(), ItemError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Delete(count_of(index))), read::done)
    }

    /// As [`push`](Self::push), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn push_async<Q>(&self, item: &Q) -> impl Future<Output = Result<(), ObjectError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(item, move |raw| Op::List(ListOp::Push(raw)), Wait::No, read::done)
    }

    /// As [`extend`](Self::extend), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`]. After an error, no item was added.
    pub fn extend_async<'a, Q>(
        &self,
        items: impl IntoIterator<Item = &'a Q>,
    ) -> impl Future<Output = Result<(), ObjectError>> + Send
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_all_async(items, move |raws| Op::List(ListOp::Extend(raws)), Wait::No, read::done)
    }

    /// As [`set`](Self::set), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn set_async<Q>(&self, index: usize, item: &Q) -> impl Future<Output = Result<(), ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            item,
            move |raw| Op::List(ListOp::Store(count_of(index), raw)),
            Wait::No,
            read::done,
        )
    }

    /// As [`insert`](Self::insert), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn insert_async<Q>(
        &self,
        index: usize,
        item: &Q,
    ) -> impl Future<Output = Result<(), ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            item,
            move |raw| Op::List(ListOp::Insert(count_of(index), raw)),
            Wait::No,
            read::done,
        )
    }
}

impl<T: DeserializeOwned> List<T> {
    /// As [`get`](Self::get), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn get_async(&self, index: usize) -> impl Future<Output = Result<T, ItemError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Get(count_of(index))), read::value)
    }

    /// As [`remove`](Self::remove), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn remove_async(&self, index: usize) -> impl Future<Output = Result<T, ItemError>> + Send {
        self.handle().ask_async(Op::List(ListOp::Remove(count_of(index))), read::value)
    }

    /// As [`pop`](Self::pop), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn pop_async(&self) -> impl Future<Output = Result<Option<T>, ObjectError>> + Send {
        let popped = self.handle().ask_async(Op::List(ListOp::Pop), read::value);
        async move {
            match popped.await {
                Ok(item) => Ok(Some(item)),
                Err(ItemError::Object(error)) => Err(error),
                Err(_) => Ok(None),
            }
        }
    }

    /// As [`replace`](Self::replace), in a task of a tokio runtime.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn replace_async<Q>(
        &self,
        index: usize,
        item: &Q,
    ) -> impl Future<Output = Result<T, ItemError>> + Send
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle().with_one_async(
            item,
            move |raw| Op::List(ListOp::Set(count_of(index), raw)),
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
        let get = self.handle().call_async(Op::List(ListOp::Get(count_of(index))), Wait::No);
        let updated =
            self.handle().update_async(get, move |expected, new| exchange(index, expected, new), change);
        async move { Ok(updated.await?) }
    }
}

impl<T: DeserializeOwned + Send> List<T> {
    /// As [`to_vec`](Self::to_vec), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`to_vec`](Self::to_vec).
    pub async fn to_vec_async(&self) -> Result<Vec<T>, ObjectError> {
        self.range_async(0..usize::MAX).await
    }

    /// As [`range`](Self::range), in a task of a tokio runtime.
    ///
    /// # Errors
    /// As for [`range`](Self::range).
    pub async fn range_async(&self, range: Range<usize>) -> Result<Vec<T>, ObjectError> {
        for _ in 0..TRIES_MAX {
            if let Some(items) = self.try_range_async(&range).await? {
                return Ok(items);
            }
        }
        Err(ObjectError::Changing)
    }

    /// Returns `None` if the list changed between two pages.
    async fn try_range_async(&self, range: &Range<usize>) -> Result<Option<Vec<T>>, ObjectError> {
        let mut items: Vec<T> = Vec::new();
        let mut first_version = None;
        loop {
            let at = range.start.saturating_add(items.len());
            let max = range.end.saturating_sub(at);
            let op = Op::List(ListOp::Page { at: count_of(at), max: count_of(max) });
            let page: Result<_, ObjectError> = self.handle().ask_async(op, read::page).await;
            let (page, version) = page?;
            if first_version.replace(version).is_some_and(|first| first != version) {
                return Ok(None);
            }
            let is_last = page.is_empty();
            items.extend(page);
            if is_last || items.len() >= range.len() {
                return Ok(Some(items));
            }
        }
    }
}

fn exchange<'a>(index: usize, expected: Raw<'a>, new: Raw<'a>) -> Op<Raw<'a>> {
    Op::List(ListOp::CompareExchange { at: count_of(index), expected, new })
}
