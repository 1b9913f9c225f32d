//! `RwLock<T>`: one value that many readers use in place at the same time, or one writer changes.
//!
//! Readers register next to the lock and do not take it. `mp-sys` describes how, and who goes first. This module adds poison
//! and the guards.

use std::fmt;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use mp_sys::line::{Count, Short};
use mp_sys::locked::{self, CONTROL_BYTES, Held, ReadError, SharedLock};
pub use mp_sys::locked::{READERS_MAX, READS_MAX};
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};
use mp_sys::robust::Patience;
use mp_sys::span::SPAN_ALIGN;

use crate::arena;
use crate::element::Element;
use crate::error::{LockError, LockResult, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::{FOR_EVER, PanicWatch, clear_poison, is_poisoned, poison, poison_text, within};
use crate::travel::{Parts, Travels, travels};

/// One value that many readers use in place at the same time, or one writer changes.
///
/// | property | |
/// |---|---|
/// | size | 4,288 bytes of shared memory and one `T`, rounded up: a word for each of [`READERS_MAX`] readers |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | reentrant | a thread that reads can read again, up to [`READS_MAX`] guards. If it writes while it reads, or uses the lock while it writes, it gets [`LockError::Deadlock`], or [`LockError::WouldBlock`] from `try_read` and `try_write` |
/// | fair | a writer whose turn it is goes before all readers that come later; writers get their turns in no order |
/// | recovers | the next process gets a dead writer's lock at once; a dead reader stops counting within 100 ms (mostly at once) when a writer waits, or at the next `try_write` |
/// | drop | closes this process's handle; the value lives as long as any process has a handle |
///
/// Use it for values that are too large to copy for each reading, or that you read for a longer time. [`Value`](crate::Value)
/// is faster for small values, because its `get` takes no lock and writes nothing.
///
/// # Fork safety
/// A forked child shares the lock. It never holds its parent's locks: `fork` refuses while the calling thread has a guard of
/// either kind, and dropping an inherited guard does nothing. Reading through an inherited read guard panics. If a thread
/// ends with a forgotten guard, the process ends.
///
/// # Crash
/// A process that dies while it writes poisons the value: `read` and `write` then return [`LockError::Poisoned`] with the
/// guard inside, until [`clear_poison`](Self::clear_poison) is called. A process that dies while it reads or waits poisons
/// nothing.
///
/// # Source
/// Python has no counterpart. `std::sync::RwLock`, extended to processes that die.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::{LockError, RwLock};
///
/// let prices = RwLock::new([0_u32; 100])?;
/// prices.write().unwrap()[7] = 12;
/// let (first, second) = (prices.read().unwrap(), prices.read().unwrap());
/// assert_eq!(first[7] + second[7], 24);
/// assert!(matches!(prices.try_write(), Err(LockError::WouldBlock)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RwLock<T: Element> {
    shared: SharedLock,
    value: PhantomData<T>,
    /// Dropped after the lock, which is inside it.
    segment: Option<Segment>,
}

impl<T: Element> RwLock<T> {
    /// The offset of the value in the data.
    const PLACE: usize = {
        assert!(size_of::<T>() > 0, "a value has at least one byte");
        assert!(align_of::<T>() <= SPAN_ALIGN, "a value is aligned to at most 64 bytes");
        // On its own cache line, because readers look at the words in front of it.
        CONTROL_BYTES.next_multiple_of(SPAN_ALIGN) - CONTROL_BYTES
    };
    const DATA_BYTES: usize = Self::PLACE + size_of::<T>();

    /// Creates a value in shared memory.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        let bytes = SharedLock::bytes_for(Self::DATA_BYTES).ok_or(TOO_LARGE)?;
        let shared = SharedLock::new(arena::allocate(bytes)?, Self::fill(value)).map_err(|_| TOO_LARGE)?;
        Ok(Self { shared, value: PhantomData, segment: None })
    }

    /// Creates a value under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str, value: T) -> Result<Self, NameError> {
        let bytes = SharedLock::bytes_for(Self::DATA_BYTES).ok_or(TOO_LARGE)?;
        let make = |span| SharedLock::new(span, Self::fill(value));
        let (shared, segment) = named::create::<T, _>(name, kind::RW_LOCK, 1, bytes, make)?;
        Ok(Self { shared, value: PhantomData, segment: Some(segment) })
    }

    /// Opens the value of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object or another `T`; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (shared, segment) = named::open::<T, _>(name, kind::RW_LOCK, |_, span| Self::attach(span))?;
        Ok(Self { shared, value: PhantomData, segment: Some(segment) })
    }

    fn fill(value: T) -> impl FnOnce(&mut Held<'_>) {
        move |held| held.write(Self::PLACE, value)
    }

    fn attach(span: ExistingSpan<SharedLock>) -> Option<SharedLock> {
        let shared = SharedLock::attach(span).ok()?;
        (Self::DATA_BYTES <= shared.data_len()).then_some(shared)
    }

    /// Lends the value for reading, at the same time as other readers. Waits while a writer has the lock or waits for it.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside. [`LockError::TooManyReaders`] above [`READERS_MAX`], and above
    /// [`READS_MAX`] of this thread. [`LockError::Deadlock`] while this thread writes.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(FOR_EVER)
    }

    /// Lends the value for reading, if no writer has the lock or waits for it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise the same as [`read`](Self::read).
    pub fn try_read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(Patience::None)
    }

    /// Like [`read`](Self::read), waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise the same as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> LockResult<RwLockReadGuard<'_, T>> {
        self.read_with(within(timeout))
    }

    #[inline]
    fn read_with(&self, patience: Patience) -> LockResult<RwLockReadGuard<'_, T>> {
        let data = self.shared.read(Self::PLACE, patience, poison).map_err(refused)?;
        self.unless_poisoned(RwLockReadGuard { data })
    }

    /// Waits until nobody reads or writes, and lends the value for writing. Readers that come meanwhile wait.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside. [`LockError::Deadlock`] while this thread reads or writes,
    /// [`LockError::TooManyHeld`].
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(FOR_EVER)
    }

    /// Lends the value for writing, if nobody reads or writes.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise the same as [`write`](Self::write).
    pub fn try_write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(Patience::None)
    }

    /// Like [`write`](Self::write), waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise the same as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.write_with(within(timeout))
    }

    #[inline]
    fn write_with(&self, patience: Patience) -> LockResult<RwLockWriteGuard<'_, T>> {
        let watch = PanicWatch::start();
        let data = self.shared.write(Self::PLACE, patience, poison).map_err(LockError::refused)?;
        self.unless_poisoned(RwLockWriteGuard { flag: self.shared.flag(), watch, data })
    }

    #[inline]
    fn unless_poisoned<G>(&self, guard: G) -> LockResult<G> {
        if self.is_poisoned() { Err(LockError::Poisoned(guard)) } else { Ok(guard) }
    }

    /// Returns whether a writer died or panicked and nobody has called `clear_poison` since.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        is_poisoned(self.shared.flag())
    }

    /// Declares that the value is in order again, typically after a good one was stored through the poisoned guard.
    pub fn clear_poison(&self) {
        clear_poison(self.shared.flag());
    }
}

fn refused<G>(error: ReadError) -> LockError<G> {
    match error {
        ReadError::Refused(error) => LockError::refused(error),
        // The enum grows with mp-sys, which is pinned to this crate's version.
        _ => LockError::TooManyReaders,
    }
}

impl<T: Element> Travels for RwLock<T> {
    type Object = SharedLock;

    fn what() -> What {
        named::of::<T>(kind::RW_LOCK)
    }

    fn parts(&self) -> Parts<'_, SharedLock> {
        Parts { object: &self.shared, count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SharedLock>, _: usize) -> Option<Self> {
        Some(Self { shared: Self::attach(object)?, value: PhantomData, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(RwLock<T: Element>);

// Like std's locks: poison reports what a panic left.
impl<T: Element> UnwindSafe for RwLock<T> {}
impl<T: Element> RefUnwindSafe for RwLock<T> {}

impl<T: Element + fmt::Debug> fmt::Debug for RwLock<T> {
    /// Shows the value and the number of readers, or the writer. It takes no lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poison = poison_text(self.is_poisoned());
        match self.shared.glimpse::<T>(Self::PLACE) {
            Some(value) => {
                let readers = Count(self.shared.reader_count(), "reader");
                write!(f, "RwLock({}, {readers}{poison})", Short(&value))
            }
            None => write!(f, "RwLock({}{poison})", self.shared.holder()),
        }
    }
}

/// A [`RwLock`]'s value lent for reading, at the same time as other readers. Dropping it ends the reading.
///
/// It belongs to the thread that took it, and cannot be sent to another. Reading through it panics in a forked child that
/// inherited it.
#[must_use = "the reading ends when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: Element> {
    data: locked::ReadGuard<'a, T>,
}

impl<T: Element> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

/// A [`RwLock`]'s value lent for writing. Dropping it releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Element> {
    flag: &'a AtomicU32,
    watch: PanicWatch,
    data: locked::Guard<'a, T>,
}

impl<T: Element> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Element> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: Element> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        // An inherited guard, in a forked child, holds nothing.
        if self.watch.panicked() && self.data.is_held_here() {
            poison(self.flag);
        }
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.data.is_held_here() {
            return f.write_str("RwLockReadGuard(its parent's)");
        }
        write!(f, "RwLockReadGuard({})", Short(&*self.data))
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data.is_inherited() {
            return f.write_str("RwLockWriteGuard(its parent's)");
        }
        write!(f, "RwLockWriteGuard({})", Short(&*self.data))
    }
}
