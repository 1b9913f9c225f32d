//! [`Array`]: a fixed number of values, by index.

use std::marker::PhantomData;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::count::count_of;
use crate::error::{ItemError, ObjectError};
use crate::proto::{ArrayOp, Op, Raw};
use crate::proxy::{Handle, Numeric, TRIES_MAX, proxy, read};

/// An array that any process can read and change. Its length is fixed when it is made.
///
/// | property | |
/// |---|---|
/// | elements | any type that serde encodes; proxies inside an element live as long as the element |
/// | atomic | every method |
/// | equality | by encoded bytes |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// To share millions of numbers between processes on one machine, use the `Array` of shared memory.
///
/// # Fork safety
/// A forked child uses the inherited proxy over its own connection.
///
/// # Crash
/// If a process is killed inside a method, the change happened completely or not at all.
///
/// # Source
/// Python's `multiprocessing.Manager().Array`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::Manager;
///
/// let array = Manager::in_process()?.array(&[1_i64, 2, 3])?;
/// array.set(1, &-2)?;
/// assert_eq!(array.fetch_add(2, 7)?, 3);
/// assert_eq!(array.to_vec()?, [1, -2, 10]);
/// assert!(array.get(3).is_err());
/// # Ok(())
/// # }
/// ```
pub struct Array<T> {
    handle: Handle,
    items: PhantomData<fn(T) -> (T,)>,
}

proxy!(Array<T>);

impl<T> Array<T> {
    /// Returns the number of elements.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Array(ArrayOp::Len), read::count)
    }

    /// Returns `true` if the array has no elements.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }
}

impl<T> Array<T> {
    /// Sets the element at an index.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__setitem__")]
    pub fn set<Q>(&self, index: usize, element: &Q) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(
            element,
            |raw| Op::Array(ArrayOp::Store(count_of(index), raw)),
            read::done,
        )?)
    }

    /// Sets the elements from an index on, all in one step, up to
    /// [`VALUES_AT_ONCE_MAX`](crate::limits::VALUES_AT_ONCE_MAX) of them.
    ///
    /// # Errors
    /// [`ItemError::Index`] if they go beyond the end; [`ItemError::Object`]. After an error, nothing was written.
    pub fn write<'a, Q>(&self, at: usize, elements: impl IntoIterator<Item = &'a Q>) -> Result<(), ItemError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        let mut values = self.handle.values();
        for element in elements {
            values.add(element)?;
        }
        let op = ArrayOp::Write { at: count_of(at), elements: values.raws().collect() };
        Ok(self.handle.ask(Op::Array(op), read::done)?)
    }
}

impl<T: DeserializeOwned> Array<T> {
    /// Returns the element at an index.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    #[doc(alias = "__getitem__")]
    pub fn get(&self, index: usize) -> Result<T, ItemError> {
        Ok(self.handle.ask(Op::Array(ArrayOp::Get(count_of(index))), read::value)?)
    }

    /// Returns the elements in a range, as they are at one moment.
    ///
    /// # Errors
    /// [`ItemError::Index`] if the range goes beyond the end; [`ObjectError::Changing`] if the range is long and
    /// changed during every attempt to read it.
    #[doc(alias = "slice")]
    pub fn read(&self, range: std::ops::Range<usize>) -> Result<Vec<T>, ItemError> {
        let len = self.len()?;
        if range.end > len || range.start > range.end {
            let index = range.end.max(range.start);
            return Err(ItemError::Index { index: count_of(index), len: count_of(len) });
        }
        for _ in 0..TRIES_MAX {
            if let Some(elements) = self.try_read(&range)? {
                return Ok(elements);
            }
        }
        Err(ObjectError::Changing.into())
    }

    /// Returns all elements, as they are at one moment.
    ///
    /// # Errors
    /// [`ObjectError`]; [`ObjectError::Changing`] as for [`read`](Self::read).
    #[doc(alias = "_getvalue")]
    pub fn to_vec(&self) -> Result<Vec<T>, ItemError> {
        self.read(0..self.len()?)
    }

    /// Returns `None` if the array changed between two pages.
    fn try_read(&self, range: &std::ops::Range<usize>) -> Result<Option<Vec<T>>, ObjectError> {
        let mut elements: Vec<T> = Vec::new();
        let mut first_version = None;
        while elements.len() < range.len() {
            let at = range.start.saturating_add(elements.len());
            let max = range.end.saturating_sub(at);
            let op = ArrayOp::Read { at: count_of(at), max: count_of(max) };
            let (page, version) = self.handle.ask(Op::Array(op), read::page)?;
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

impl<T: DeserializeOwned> Array<T> {
    /// Sets the element at an index, and returns the previous one.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn replace<Q>(&self, index: usize, element: &Q) -> Result<T, ItemError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        Ok(self.handle.ask_with(element, |raw| Op::Array(ArrayOp::Set(count_of(index), raw)), read::value)?)
    }

    /// Sets the element at an index to `new` if it equals `expected`. Otherwise returns the current element as the
    /// inner error.
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

    /// Replaces the element at an index with the result of `change`, atomically across all processes, and returns the
    /// previous one.
    ///
    /// `change` runs in this process, and runs again whenever another caller changed the element first. It should have
    /// no side effects.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::Object`].
    pub fn update(&self, index: usize, change: impl FnMut(T) -> T) -> Result<T, ItemError>
    where
        T: Serialize,
    {
        let get = Op::Array(ArrayOp::Get(count_of(index)));
        Ok(self.handle.update(get, |expected, new| exchange(index, expected, new), change)?)
    }
}

impl<T: Numeric + DeserializeOwned> Array<T> {
    /// Adds to the number at an index, inside the manager, and returns the number before. Sums of integers wrap around.
    ///
    /// # Errors
    /// [`ItemError::Index`], [`ItemError::NoNumber`], [`ItemError::Object`].
    pub fn fetch_add(&self, index: usize, number: T) -> Result<T, ItemError> {
        let op = Op::Array(ArrayOp::FetchAdd(count_of(index), number.as_number()));
        Ok(self.handle.ask(op, read::value)?)
    }
}

fn exchange<'a>(index: usize, expected: Raw<'a>, new: Raw<'a>) -> Op<Raw<'a>> {
    Op::Array(ArrayOp::CompareExchange { at: count_of(index), expected, new })
}
