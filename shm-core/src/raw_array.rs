//! `RawArray<T>`: many values in shared memory without a lock.

use std::fmt;
use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};

use mp_sys::cells::SharedSlice;
use mp_sys::line::Count;
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};

use crate::arena;
use crate::element::{Element, Number};
use crate::error::{RangeError, TOO_LARGE};
use crate::kind;
use crate::named::{self, NameError};
use crate::travel::{Parts, Travels, travels};

/// A fixed number of values that processes share, without a lock.
///
/// | property | |
/// |---|---|
/// | size | `len` elements, rounded up; elements of 3, 5, 6 or 7 bytes take the next power of two |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | ordering | `get` acquires and `set` releases; read-modify-write operations are sequentially consistent; bulk copies are not ordered |
/// | drop | closes this process's handle; the array lives as long as any process has a handle |
///
/// Bulk copies run at the speed of `memcpy`.
///
/// # Fork safety
/// A forked child shares the array.
///
/// # Crash
/// Neither `set` nor a bulk copy ever tears an element of at most 8 bytes. A process that dies during a bulk copy has stored
/// some of the elements. Larger elements may tear. [`Array`](crate::Array) has a lock and poison.
///
/// # Source
/// Python's `multiprocessing.sharedctypes.RawArray`.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::RawArray;
///
/// let samples = RawArray::<f64>::zeroed(1000)?;
/// samples.write(10, &[1.5, 2.5])?;
/// assert_eq!(samples.get(11)?, 2.5);
/// assert!(samples.get(1000).is_err());
///
/// let claimed = RawArray::<u32>::zeroed(8)?;
/// assert_eq!(claimed.compare_exchange(3, 0, 42)?, Ok(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "mmap")]
pub struct RawArray<T: Element> {
    elements: SharedSlice<T>,
    segment: Option<Segment>,
}

impl<T: Element> RawArray<T> {
    /// Creates an array of `len` zeros. `len` may be 0.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`] before anything is written, if that much memory is not available.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        let bytes = SharedSlice::<T>::bytes_for(len).ok_or(TOO_LARGE)?;
        let elements = SharedSlice::new(arena::allocate(bytes)?, len).map_err(|_| TOO_LARGE)?;
        Ok(Self { elements, segment: None })
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
        Self::make_named(name, values.len(), |elements| {
            // Always true: the array was made for this many.
            let _fits: bool = elements.copy_in(0, values);
        })
    }

    fn make_named(name: &str, len: usize, fill: impl FnOnce(&SharedSlice<T>)) -> Result<Self, NameError> {
        let bytes = SharedSlice::<T>::bytes_for(len).ok_or(TOO_LARGE)?;
        let fill = |span| SharedSlice::new(span, len).inspect(fill);
        let (elements, segment) = named::create::<T, _>(name, kind::RAW_ARRAY, len, bytes, fill)?;
        Ok(Self { elements, segment: Some(segment) })
    }

    /// Opens the array of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object or another `T`; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let attach = |len, span| SharedSlice::attach(span, len).ok();
        let (elements, segment) = named::open::<T, _>(name, kind::RAW_ARRAY, attach)?;
        Ok(Self { elements, segment: Some(segment) })
    }

    /// Creates an array with a copy of `values`.
    ///
    /// # Errors
    /// The same as [`zeroed`](Self::zeroed).
    pub fn from_slice(values: &[T]) -> Result<Self, MemoryError> {
        let made = Self::zeroed(values.len())?;
        // Always true: the array was made for this many.
        let _fits: bool = made.elements.copy_in(0, values);
        Ok(made)
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Returns whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    fn out_of_range(&self, index: usize) -> RangeError {
        RangeError::OutOfRange { start: index, end: index.saturating_add(1), len: self.len() }
    }

    /// Returns element `index`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, RangeError> {
        self.elements.load(index).ok_or_else(|| self.out_of_range(index))
    }

    /// Replaces element `index`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), RangeError> {
        if self.elements.store(index, value) { Ok(()) } else { Err(self.out_of_range(index)) }
    }

    /// Returns a copy of the elements in `range`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`].
    pub fn read(&self, range: Range<usize>) -> Result<Vec<T>, RangeError> {
        let Range { start, end } = range;
        let out_of_range = RangeError::OutOfRange { start, end, len: self.len() };
        let count = end.checked_sub(start).ok_or(out_of_range)?;
        RangeError::check(start, count, self.len())?;
        let mut into = vec![T::zeroed(); count];
        self.read_into(start, &mut into)?;
        Ok(into)
    }

    /// Fills `into` with the elements from `at` on. It must not reach beyond the end.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`]; nothing was copied.
    pub fn read_into(&self, at: usize, into: &mut [T]) -> Result<(), RangeError> {
        RangeError::check(at, into.len(), self.len())?;
        let _covered: bool = self.elements.copy_out(at, into);
        Ok(())
    }

    /// Replaces the elements from `at` on with `values`.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`] if they do not all fit; nothing was written.
    pub fn write(&self, at: usize, values: &[T]) -> Result<(), RangeError> {
        RangeError::check(at, values.len(), self.len())?;
        let _covered: bool = self.elements.copy_in(at, values);
        Ok(())
    }

    /// Replaces all elements.
    ///
    /// # Errors
    /// [`RangeError::LengthMismatch`] if the length of `values` differs from that of the array; nothing was written.
    pub fn write_all(&self, values: &[T]) -> Result<(), RangeError> {
        RangeError::check_whole(values.len(), self.len())?;
        self.write(0, values)
    }

    /// Stores `value` into every element.
    pub fn fill(&self, value: T) {
        let size = const { if FILL_BYTES / size_of::<T>() > 0 { FILL_BYTES / size_of::<T>() } else { 1 } };
        let batch = vec![value; size.min(self.len())];
        for at in (0..self.len()).step_by(size) {
            let count = self.len().saturating_sub(at).min(size);
            let _covered: bool = self.elements.copy_in(at, batch.get(..count).unwrap_or_default());
        }
    }

    /// Returns a copy of all elements.
    #[doc(alias = "get_obj")]
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let mut into = vec![T::zeroed(); self.len()];
        let _covered: bool = self.elements.copy_out(0, &mut into);
        into
    }
}

/// Byte strings as in C: they end at the first NUL.
impl RawArray<u8> {
    /// Returns the bytes before the first NUL, or all of them if there is none. Python's `.value` of a character array.
    #[doc(alias = "value")]
    #[must_use]
    pub fn to_c_bytes(&self) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
        bytes
    }

    /// Stores `bytes` at the start, and a NUL after them if there is room. The rest stays as it is.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`] if there are more bytes than elements; nothing was written.
    #[doc(alias = "value")]
    pub fn set_c_bytes(&self, bytes: &[u8]) -> Result<(), RangeError> {
        self.write(0, bytes)?;
        let _has_room: bool = self.elements.store(bytes.len(), 0);
        Ok(())
    }
}

/// Bytes of the private buffer that `fill` copies repeatedly.
const FILL_BYTES: usize = 4096;

macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`RangeError::OutOfRange`].
        #[inline]
        pub fn $operation(&self, index: usize, value: T) -> Result<T, RangeError> {
            let atomic = self.elements.atomic(index).ok_or_else(|| self.out_of_range(index))?;
            Ok(T::$operation(atomic, value))
        }
    )*};
}

/// Atomic operations on single elements that are numbers. Integers wrap around at their limits.
impl<T: Number> RawArray<T> {
    operations! {
        /// Replaces element `index`, and returns the previous value.
        swap;
        /// Adds to element `index`, and returns the previous value.
        fetch_add;
        /// Subtracts from element `index`, and returns the previous value.
        fetch_sub;
        /// Applies bitwise and to element `index`, and returns the previous value. For floats, it works on the bits.
        fetch_and;
        /// Applies bitwise or to element `index`, and returns the previous value. For floats, it works on the bits.
        fetch_or;
        /// Stores the greater of the two values in element `index`, and returns the previous value.
        fetch_max;
        /// Stores the smaller of the two values in element `index`, and returns the previous value.
        fetch_min;
    }

    /// Stores `new` in element `index` if it is `current`. The inner result is `Ok` with the previous value, or `Err` with
    /// the value that was found instead.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`].
    #[inline]
    pub fn compare_exchange(&self, index: usize, current: T, new: T) -> Result<Result<T, T>, RangeError> {
        let atomic = self.elements.atomic(index).ok_or_else(|| self.out_of_range(index))?;
        Ok(T::compare_exchange(atomic, current, new))
    }
}

impl<T: Element> Travels for RawArray<T> {
    type Object = SharedSlice<T>;

    fn what() -> What {
        named::of::<T>(kind::RAW_ARRAY)
    }

    fn parts(&self) -> Parts<'_, SharedSlice<T>> {
        Parts { object: &self.elements, count: self.len(), segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<SharedSlice<T>>, count: usize) -> Option<Self> {
        Some(Self { elements: SharedSlice::attach(object, count).ok()?, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(RawArray<T: Element>);

// Like std's locks and atomics: every operation on it is whole, and other processes go on with it anyway.
impl<T: Element> UnwindSafe for RawArray<T> {}
impl<T: Element> RefUnwindSafe for RawArray<T> {}

impl<T: Element> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawArray({})", Count(self.len(), "element"))
    }
}
