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

/// A list that any process reads and changes.
///
/// | property | |
/// |---|---|
/// | items | whatever serde encodes; proxies inside live as long as the item |
/// | atomic | every method, but for [`iter`](Self::iter), which looks again for each page |
/// | equality | of encoded bytes |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited over a connection of its own.
///
/// # Crash
/// A process that is killed in a method has changed the list or not.
///
/// # Source
/// Python's `multiprocessing.Manager().list`, where `l[i] += 1` loses updates and iteration asks for each item.
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
    /// The number of items.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::List(ListOp::Len), read::count)
    }

    /// Whether there is no item.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Takes all items away.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn clear(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::List(ListOp::Clear), read::done)
    }

    /// Turns the order round.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn reverse(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::List(ListOp::Reverse), read::done)
    }

    /// Exchanges two items.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn swap(&self, one: usize, other: usize) -> Result<(), ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Swap(count_of(one), count_of(other))), read::done)?)
    }
}

impl<T> List<T> {
    /// Adds an item at the end.
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

    /// Adds items at the end, all in one step: at most [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX).
    ///
    /// # Errors
    /// [`ObjectError`]; [`Fault::TooMany`](crate::proto::Fault::TooMany). No item was added then.
    pub fn extend<'a, Q>(&self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), ObjectError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let mut values = self.handle.values();
        for item in items {
            values.add(item)?;
        }
        self.handle.ask(Op::List(ListOp::Extend(values.raws().collect())), read::done)
    }

    /// Puts another item in the place of one.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__setitem__")]
    pub fn set<Q>(&self, index: usize, item: &Q) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(item, |raw| Op::List(ListOp::Set(count_of(index), raw)), read::done)?)
    }

    /// Adds an item before that at `index`, which may be the length.
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
}

impl<T: DeserializeOwned> List<T> {
    /// The item at an index.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Get(count_of(index))), read::value)?)
    }

    /// Takes the item at an index; those behind it move up.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__delitem__")]
    pub fn remove(&self, index: usize) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::List(ListOp::Remove(count_of(index))), read::value)?)
    }

    /// Takes the last item; `None` if there is none.
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
    /// Puts another item in the place of one, and gives the previous one.
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

    /// Puts `new` in the place of the item at an index if that equals `expected`; else gives what is there, as the inner
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

    /// Replaces the item at an index by `change` of it, atomically between all processes, and gives the previous one.
    ///
    /// `change` runs here, and again whenever somebody else was faster: it should do nothing else.
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
