//! `RawValue<T>`: one value in shared memory without a lock.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use mp_sys::cells::SharedCell;
use mp_sys::line::Short;
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};

use crate::arena;
use crate::element::{Element, Number};
use crate::error::TOO_LARGE;
use crate::kind;
use crate::named::{self, NameError};
use crate::travel::{Parts, Travels, travels};

/// One value that processes share, without a lock.
///
/// | property | |
/// |---|---|
/// | size | 64 bytes of shared memory, or `T` rounded up: no two values share a cache line |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | ordering | `load` acquires and `store` releases; read-modify-write operations are sequentially consistent |
/// | drop | closes this process's handle; the value lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the value.
///
/// # Crash
/// A store of at most 8 bytes happens completely or not at all. A larger `T` is stored in several steps, so a reader at the
/// same moment, or after the writer died, may see a mixture. [`Value`](crate::Value) never tears.
///
/// # Source
/// Python's `multiprocessing.sharedctypes.RawValue`, whose `+= 1` loses updates; [`fetch_add`](Self::fetch_add) does not.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::RawValue;
///
/// let done = RawValue::new(0_u64)?;
/// assert_eq!(done.fetch_add(2), 0);
/// assert_eq!(done.compare_exchange(2, 7), Ok(2));
/// assert_eq!(done.compare_exchange(2, 9), Err(7));
/// assert_eq!(done.load(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "AtomicU64")]
#[doc(alias = "Atomic")]
pub struct RawValue<T: Element> {
    cell: SharedCell<T>,
    segment: Option<Segment>,
}

impl<T: Element> RawValue<T> {
    /// Creates a value in shared memory.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        let bytes = SharedCell::<T>::bytes().ok_or(TOO_LARGE)?;
        let cell = SharedCell::new(arena::allocate(bytes)?).map_err(|_| TOO_LARGE)?;
        cell.store(value);
        Ok(Self { cell, segment: None })
    }

    /// Creates a value under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str, value: T) -> Result<Self, NameError> {
        let bytes = SharedCell::<T>::bytes().ok_or(TOO_LARGE)?;
        let fill = |span| SharedCell::new(span).inspect(|cell| cell.store(value));
        let (cell, segment) = named::create::<T, _>(name, kind::RAW_VALUE, 1, bytes, fill)?;
        Ok(Self { cell, segment: Some(segment) })
    }

    /// Opens the value of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object or another `T`; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (cell, segment) =
            named::open::<T, _>(name, kind::RAW_VALUE, |_, span| SharedCell::attach(span).ok())?;
        Ok(Self { cell, segment: Some(segment) })
    }

    /// Returns the value.
    #[doc(alias = "value")]
    #[inline]
    #[must_use]
    pub fn load(&self) -> T {
        self.cell.load()
    }

    /// Replaces the value.
    #[doc(alias = "value")]
    #[inline]
    pub fn store(&self, value: T) {
        self.cell.store(value);
    }
}

impl<T: Element> Travels for RawValue<T> {
    type Object = SharedCell<T>;

    fn what() -> What {
        named::of::<T>(kind::RAW_VALUE)
    }

    fn parts(&self) -> Parts<'_, SharedCell<T>> {
        Parts { object: &self.cell, count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SharedCell<T>>, _: usize) -> Option<Self> {
        Some(Self { cell: SharedCell::attach(object).ok()?, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(RawValue<T: Element>);

macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $operation(&self, value: T) -> T {
            T::$operation(self.cell.atomic(), value)
        }
    )*};
}

/// Atomic operations on numbers of 1, 2, 4 and 8 bytes. Integers wrap around at their limits.
impl<T: Number> RawValue<T> {
    operations! {
        /// Replaces the value, and returns the previous value.
        swap;
        /// Adds to the value, and returns the previous value.
        fetch_add;
        /// Subtracts from the value, and returns the previous value.
        fetch_sub;
        /// Applies bitwise and, and returns the previous value. For floats, it works on the bits.
        fetch_and;
        /// Applies bitwise or, and returns the previous value. For floats, it works on the bits.
        fetch_or;
        /// Stores the greater of the two values, and returns the previous value.
        fetch_max;
        /// Stores the smaller of the two values, and returns the previous value.
        fetch_min;
    }

    /// Stores `new` if the value is `current`, and returns the previous value.
    ///
    /// Floats are compared by their bits.
    ///
    /// # Errors
    /// The value that was found instead of `current`; nothing was stored.
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::compare_exchange(self.cell.atomic(), current, new)
    }
}

// Like std's locks and atomics: every operation on it is whole, and other processes go on with it anyway.
impl<T: Element> UnwindSafe for RawValue<T> {}
impl<T: Element> RefUnwindSafe for RawValue<T> {}

impl<T: Element + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawValue({})", Short(&self.load()))
    }
}
