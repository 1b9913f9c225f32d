//! [`List`]: a sequence of values.

mod pages;
mod search;

use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::pages::ListIter;
use crate::count::count_of;
use crate::error::{ItemError, ObjectError};
use crate::proto::{ListOp, Op, Raw};
use crate::proxy::{Handle, proxy, read};

/// A list that any process can read and change.
///
/// | property | |
/// |---|---|
/// | items | any type that serde encodes; proxies inside an item live as long as the item |
/// | atomic | every method except [`iter`](Self::iter), which asks page by page |
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
/// Python's `multiprocessing.Manager().list`, where `l[i] += 1` loses updates, and iteration requests each item
/// separately.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::{ItemError, Manager};
///
/// let list = Manager::in_process()?.list::<u32>()?;
/// list.extend(&[3, 1, 2])?;
/// list.sort()?;
/// assert_eq!(list.to_vec()?, [1, 2, 3]);
/// assert_eq!(list.update(0, |n| n + 40)?, 1); // the previous one
/// assert_eq!(list.get(0)?, 41);
/// assert_eq!(list.get(9), Err(ItemError::Index { index: 9, len: 3 }));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Vec")]
pub struct List<T> {
    handle: Handle,
    items: PhantomData<fn(T) -> (T,)>,
}

proxy!(List<T>);

impl<T> List<T> {
    /// Returns the number of items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::List(ListOp::Len), read::count)
    }

    /// Returns `true` if the list has no items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Removes all items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::List(ListOp::Clear), read::done)
    }

    /// Reverses the order of the items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reverse(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::List(ListOp::Reverse), read::done)
    }

    /// Swaps two items.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn swap(&self, one: usize, other: usize) -> Result<(), ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Swap(count_of(one), count_of(other))), read::done)?)
    }
}

impl<T> List<T> {
    /// Appends an item.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "append")]
    pub fn push<Q>(&self, item: &Q) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.handle.ask_with(item, |raw| Op::List(ListOp::Push(raw)), read::done)
    }

    /// Appends several items in one step, up to [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX) of them.
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::TooMany`](crate::proto::Fault::TooMany). After an error, no item was added.
    pub fn extend<'a, Q>(&self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let mut values = self.handle.values();
        for item in items {
            values.add(item)?;
        }
        self.extend_with(values.raws().collect())
    }

    /// Appends items that are already encoded.
    ///
    /// # Errors
    /// As for [`extend`](Self::extend).
    pub(crate) fn extend_with(&self, items: Vec<Raw<'_>>) -> Result<(), ObjectError> {
        self.handle.ask(Op::List(ListOp::Extend(items)), read::done)
    }

    /// Sets the item at an index. The previous one is not sent back, however long it is.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__setitem__")]
    pub fn set<Q>(&self, index: usize, item: &Q) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(item, |raw| Op::List(ListOp::Store(count_of(index), raw)), read::done)?)
    }

    /// Inserts an item before the one at `index`, which may equal the length.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn insert<Q>(&self, index: usize, item: &Q) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(item, |raw| Op::List(ListOp::Insert(count_of(index), raw)), read::done)?)
    }

    /// Removes the item at an index, without returning it. Later items move up.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list = mp::manager::Manager::in_process()?.list::<String>()?;
    /// list.extend(["a", "b", "c"])?;
    /// list.delete(1)?; // `remove` also returns the item
    /// assert_eq!(list.to_vec()?, ["a", "c"]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "__delitem__")]
    pub fn delete(&self, index: usize) -> Result<(), ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Delete(count_of(index))), read::done)?)
    }
}

impl<T: DeserializeOwned> List<T> {
    /// Returns the item at an index.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Get(count_of(index))), read::value)?)
    }

    /// Removes and returns the item at an index. Later items move up.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn remove(&self, index: usize) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Remove(count_of(index))), read::value)?)
    }

    /// Removes and returns the last item, or returns `None` if the list is empty.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn pop(&self) -> Result<Option<T>, ObjectError> {
        match self.handle.ask(Op::List(ListOp::Pop), read::value).map_err(ItemError::from) {
            Ok(item) => Ok(Some(item)),
            Err(ItemError::Object(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl<T: DeserializeOwned> List<T> {
    /// Sets the item at an index, and returns the previous one.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn replace<Q>(&self, index: usize, item: &Q) -> Result<T, ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(item, |raw| Op::List(ListOp::Set(count_of(index), raw)), read::value)?)
    }

    /// Sets the item at an index to `new` if it equals `expected`. Otherwise returns the current item as the inner
    /// error.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn compare_exchange<E, N>(
        &self,
        index: usize,
        expected: &E,
        new: &N,
    ) -> Result<Result<(), T>, ItemError>
    where
        E: Serialize + ?Sized,
        Wire: SameBytes<E, T>,
        N: Serialize + ?Sized,
        Wire: SameBytes<N, T>,
    {
        let mut values = self.handle.values();
        let (expected, new) = (values.add(expected)?, values.add(new)?);
        let op = exchange(index, values.raw(expected), values.raw(new));
        Ok(self.handle.ask(op, read::exchange_value)?)
    }

    /// Replaces the item at an index with the result of `change`, atomically across all processes, and returns the
    /// previous one.
    ///
    /// `change` runs in this process, and runs again whenever another caller changed the item first. It should have no
    /// side effects.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T, ItemError>
    where
        T: Serialize,
    {
        let get = Op::List(ListOp::Get(count_of(index)));
        Ok(self.handle.update(get, |expected, new| exchange(index, expected, new), change)?)
    }
}

fn exchange<'a>(index: usize, expected: Raw<'a>, new: Raw<'a>) -> Op<Raw<'a>> {
    Op::List(ListOp::CompareExchange { at: count_of(index), expected, new })
}
