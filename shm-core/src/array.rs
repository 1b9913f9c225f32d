//! `Array<T>`: many values in shared memory behind one lock.
//!
//! # How an element is never half written
//! An element of 1, 2, 4 or 8 bytes is written by one store. An element of any other size goes through a journal first:
//!
//! | offset | what |
//! |---|---|
//! | 0 | the journal's word: 0, or the index plus one of the element that is being replaced |
//! | 8 | the journal's copy of the new element |
//! | then, aligned | the elements |
//!
//! `set` writes the new element into the journal, and then the word: from here on, the element *is* replaced. Then it copies
//! the element to its place and clears the word. If a process dies in between, the next holder of the lock copies again,
//! which is harmless to repeat.
//!
//! # How elements are read without the lock
//! A reader copies between two looks at the [version](mp_sys::locked::Version), and the copy counts if both find the same
//! one. Every `set` changes the version, so a range is a copy of one moment and includes all changes up to then. From before
//! the journal's word is stored until it is cleared, the version says that a write is in progress, so nobody reads the old
//! element once the new one counts.

mod bytes;
mod guard;
mod travel;

use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::cells::is_whole;
use mp_sys::crash;
use mp_sys::locked::{CONTROL_BYTES, Held};
use mp_sys::memory::MemoryError;
use mp_sys::named::Segment;
use mp_sys::robust::Patience;
use mp_sys::span::SPAN_ALIGN;

pub use self::guard::ArrayGuard;
use crate::element::Element;
use crate::error::{ArrayError, LockError, LockResult, RangeError, TOO_LARGE};
use crate::kind;
use crate::named::NameError;
use crate::protected::{FOR_EVER, PanicWatch, Protected, open_section, within};

/// A fixed number of values that processes share, behind one lock.
///
/// | property | |
/// |---|---|
/// | size | `len` elements and about 64 bytes, rounded up |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | reentrant | no: if this thread holds the guard, every use of the array returns [`LockError::Deadlock`], and `try_lock` returns [`LockError::WouldBlock`] |
/// | fair | no |
/// | reading | `get`, `read`, `read_into` and `to_vec` take no lock, unless others keep changing the array at that moment |
/// | recovers | at once: the kernel wakes a waiter when the holder dies |
/// | drop | closes this process's handle; the array lives as long as any process has a handle |
///
/// A range is written under one lock, and read as a copy of one moment. For many single elements, call [`lock`](Self::lock)
/// once and use the slice that it lends.
///
/// # Fork safety
/// A forked child shares the array. It never holds its parent's locks: an inherited guard does nothing there.
///
/// # Crash
/// `set` stores the whole element or nothing, and never poisons. A process that dies in `write`, `write_all`, `fill` or
/// `set_c_bytes`, or while it holds the guard of [`lock`](Self::lock), poisons the array: every operation then returns
/// [`LockError::Poisoned`] until [`clear_poison`](Self::clear_poison) is called.
///
/// # Source
/// Python's `multiprocessing.Array`, which takes its lock once for each element of a loop. There are no negative indices
/// here.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::{Array, ArrayError, RangeError};
///
/// let scores = Array::from_slice(&[3_i32, 1, 2])?;
/// scores.set(1, 10)?;
/// scores.lock().unwrap().sort(); // the guard is a slice
/// assert_eq!(scores.to_vec()?, [2, 3, 10]);
/// let error = scores.get(3).unwrap_err();
/// assert_eq!(error, ArrayError::Range(RangeError::OutOfRange { start: 3, end: 4, len: 3 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SynchronizedArray")]
#[derive(Clone)]
pub struct Array<T: Element> {
    protected: Protected,
    len: usize,
    elements: PhantomData<T>,
    /// Dropped after the lock, which is inside it.
    segment: Option<Segment>,
}

/// Bytes of a word.
const WORD: usize = 8;
/// The offset of the journal's copy of the new element.
const JOURNAL: usize = WORD;

impl<T: Element> Array<T> {
    const ALIGN: usize = {
        assert!(size_of::<T>() > 0, "an element has at least one byte");
        assert!(align_of::<T>() <= SPAN_ALIGN, "an element is aligned to at most 64 bytes");
        if align_of::<T>() > WORD { align_of::<T>() } else { WORD }
    };
    /// The offset of element 0 in the data. Elements that one store writes need no journal.
    const FIRST: usize = {
        let before = if is_whole::<T>() { 0 } else { JOURNAL + size_of::<T>() };
        (CONTROL_BYTES + before).next_multiple_of(Self::ALIGN) - CONTROL_BYTES
    };

    /// Creates an array of `len` zeros. `len` may be 0.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        Self::make(len, |_| {})
    }

    /// Creates an array with a copy of `values`.
    ///
    /// # Errors
    /// The same as [`zeroed`](Self::zeroed).
    pub fn from_slice(values: &[T]) -> Result<Self, MemoryError> {
        Self::make(values.len(), |held| held.write_slice(Self::FIRST, values))
    }

    fn make(len: usize, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, MemoryError> {
        let bytes = Self::data_bytes(len).ok_or(TOO_LARGE)?;
        let protected = Protected::new(bytes, Self::redo, fill)?;
        Ok(Self { protected, len, elements: PhantomData, segment: None })
    }

    /// Creates an array of `len` zeros under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str, len: usize) -> Result<Self, NameError> {
        Self::make_named(name, len, |_| {})
    }

    /// Creates an array with a copy of `values` under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// The same as [`create`](Self::create).
    pub fn create_from(name: &str, values: &[T]) -> Result<Self, NameError> {
        Self::make_named(name, values.len(), |held| held.write_slice(Self::FIRST, values))
    }

    fn make_named(name: &str, len: usize, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, NameError> {
        let bytes = Self::data_bytes(len).ok_or(TOO_LARGE)?;
        let (protected, segment) = Protected::create::<T>((name, kind::ARRAY, len), bytes, Self::redo, fill)?;
        Ok(Self { protected, len, elements: PhantomData, segment: Some(segment) })
    }

    /// Opens the array of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object or another `T`; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (protected, len, segment) =
            Protected::open_named::<T>(name, kind::ARRAY, Self::data_bytes, Self::redo)?;
        Ok(Self { protected, len, elements: PhantomData, segment: Some(segment) })
    }

    fn data_bytes(len: usize) -> Option<usize> {
        len.checked_mul(size_of::<T>())?.checked_add(Self::FIRST)
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns element `index`.
    ///
    /// This takes no lock and delays nobody, unless other threads are changing the array at that moment.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`]; [`LockError::Poisoned`] with the element inside; [`LockError::Deadlock`] while this
    /// thread holds the guard.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, ArrayError<T>> {
        RangeError::check(index, 1, self.len)?;
        match self.protected.glimpse(|_| Self::place(index)) {
            Some(outcome) => Ok(outcome?),
            None => Ok(self.get_locked(index)?),
        }
    }

    /// Reads under the lock, for an array that another thread is changing, or was changing when it died.
    #[cold]
    fn get_locked(&self, index: usize) -> LockResult<T> {
        let held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        self.protected.unless_poisoned(held.read(Self::place(index)))
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// The same as [`get`](Self::get), with `value` inside `Poisoned`; nothing was stored.
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), ArrayError<T>> {
        RangeError::check(index, 1, self.len)?;
        let mut held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        let value = self.protected.unless_poisoned(value)?;
        Self::commit(&mut held, index, value);
        Ok(())
    }

    /// Returns a copy of the elements in `range`, taken at one moment.
    ///
    /// # Errors
    /// The same as [`get`](Self::get), with the copy inside `Poisoned`.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, ArrayError<Vec<T>>> {
        let Range { start, end } = range;
        let count = end.checked_sub(start).ok_or(RangeError::OutOfRange { start, end, len: self.len })?;
        RangeError::check(start, count, self.len)?;
        Ok(self.copied(start, count)?)
    }

    /// Fills `into` with a copy of the elements from `at` on, taken at one moment.
    ///
    /// # Errors
    /// The same as [`get`](Self::get); `into` is also filled if the array is poisoned. After any other [`LockError`], its
    /// contents are unspecified.
    pub fn read_into(&self, at: usize, into: &mut [T]) -> Result<(), ArrayError<()>> {
        RangeError::check(at, into.len(), self.len)?;
        Ok(self.copy_into(at, into)?)
    }

    /// Copies elements that exist.
    fn copy_into(&self, at: usize, into: &mut [T]) -> LockResult<()> {
        if let Some(outcome) = self.protected.glimpse_slice(Self::place(at), into) {
            return outcome;
        }
        let held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        held.read_slice(Self::place(at), into);
        self.protected.unless_poisoned(())
    }

    fn copied(&self, at: usize, count: usize) -> LockResult<Vec<T>> {
        let mut into = vec![T::zeroed(); count];
        match self.copy_into(at, &mut into) {
            Ok(()) => Ok(into),
            Err(error) => Err(error.map(|()| into)),
        }
    }

    /// Replaces the elements from `at` on with `values`, under one lock.
    ///
    /// # Errors
    /// The same as [`get`](Self::get); nothing was written.
    pub fn write(&self, at: usize, values: &[T]) -> Result<(), ArrayError<()>> {
        RangeError::check(at, values.len(), self.len)?;
        let mut held = self.open_to_write().map_err(|error| error.map(drop))?;
        held.write_slice(Self::place(at), values);
        crash::point();
        Ok(())
    }

    /// Replaces all elements, under one lock.
    ///
    /// # Errors
    /// [`RangeError::LengthMismatch`] if the length of `values` differs from that of the array; otherwise the same as
    /// [`get`](Self::get). Nothing was written.
    pub fn write_all(&self, values: &[T]) -> Result<(), ArrayError<()>> {
        RangeError::check_whole(values.len(), self.len)?;
        self.write(0, values)
    }

    /// Stores `value` into every element, under one lock.
    ///
    /// # Errors
    /// The same as [`get`](Self::get); nothing was written.
    pub fn fill(&self, value: T) -> Result<(), ArrayError<()>> {
        let held = self.open_to_write().map_err(|error| error.map(drop))?;
        held.into_slice_guard(Self::FIRST, self.len).fill(value);
        crash::point();
        Ok(())
    }

    /// Returns a copy of all elements, taken at one moment.
    ///
    /// # Errors
    /// The same as [`read`](Self::read), but never `Range`.
    pub fn to_vec(&self) -> LockResult<Vec<T>> {
        self.copied(0, self.len)
    }

    /// Waits until the lock is free, takes it, and lends the elements in place.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside: the caller holds the lock. [`LockError::Deadlock`] and
    /// [`LockError::TooManyHeld`]: the caller does not hold it.
    #[doc(alias = "get_lock")]
    #[doc(alias = "get_obj")]
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<ArrayGuard<'_, T>> {
        self.lock_with(FOR_EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if the lock is held; otherwise the same as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<ArrayGuard<'_, T>> {
        self.lock_with(Patience::None)
    }

    /// Takes the lock, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if the lock did not become free in time; otherwise the same as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<ArrayGuard<'_, T>> {
        self.lock_with(within(timeout))
    }

    fn lock_with(&self, patience: Patience) -> LockResult<ArrayGuard<'_, T>> {
        let held = self.protected.open(patience).map_err(LockError::refused)?;
        let data = held.into_slice_guard(Self::FIRST, self.len);
        let guard = ArrayGuard { owner: self, watch: PanicWatch::start(), data };
        self.protected.unless_poisoned(guard)
    }

    /// Returns whether a holder died or panicked and nobody has called `clear_poison` since.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.protected.is_poisoned()
    }

    /// Declares that the elements are in order again, typically after good ones were written through the poisoned guard.
    pub fn clear_poison(&self) {
        self.protected.clear_poison();
    }

    /// Takes the lock with the section open, unless the array is poisoned.
    fn open_to_write(&self) -> LockResult<Held<'_>> {
        let held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        Ok(open_section(self.protected.unless_poisoned(held)?))
    }

    /// The offset of element `index`. The caller has checked it against the length, so nothing overflows: the array has room.
    #[inline]
    fn place(index: usize) -> usize {
        Self::FIRST.wrapping_add(index.wrapping_mul(size_of::<T>()))
    }

    /// Stores an element so that a death at any instruction leaves the old element or the new one.
    #[inline]
    fn commit(held: &mut Held<'_>, index: usize, value: T) {
        if is_whole::<T>() {
            held.begin_write();
            held.write_whole(Self::place(index), value);
            crash::point();
        } else {
            held.write(JOURNAL, value);
            crash::point();
            held.begin_write();
            held.store_word(0, u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1));
            crash::point();
            Self::redo(held);
        }
        held.end_write();
    }

    /// Finishes the replacement that the journal records, if there is one.
    fn redo(held: &mut Held<'_>) {
        if is_whole::<T>() {
            return;
        }
        let Some(index) = held.load_word(0).checked_sub(1) else {
            return;
        };
        held.copy_within(JOURNAL, Self::place(usize::try_from(index).unwrap_or(usize::MAX)), size_of::<T>());
        crash::point();
        held.store_word(0, 0);
        crash::point();
    }
}

// Like std's locks and atomics: poison reports what a panic left.
impl<T: Element> UnwindSafe for Array<T> {}
impl<T: Element> RefUnwindSafe for Array<T> {}
