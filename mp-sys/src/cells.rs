//! Data that several processes use without a lock: one value, or a slice of them.
//!
//! Nothing here hands out a reference to an element, because a peer may write it at any moment. Elements are loaded and
//! stored, and elements of up to 8 bytes always as a whole:
//!
//! | size of the element | kept in | a load or store is |
//! |---|---|---|
//! | 1, 2, 4, 8 | its own size | one atomic access |
//! | 3, 5, 6, 7 | the next power of two | one atomic access |
//! | more than 8 | its own size | several accesses of one size: an element may be seen half written |
//!
//! All accesses to the elements of one type have the same size, both single accesses and bulk copies: see `copy`.
//!
//! Bits that are not a valid `T` (only a peer that writes through another type can leave them) are read as `T`'s zero.

mod element;
mod signal;
mod twins;
mod waiters;

use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    AtomicUsize, Ordering,
};

pub use self::element::Element;
pub use self::signal::{SharedSignal, SignalledWords};
pub use self::waiters::{WaiterPlace, Waiters, WaitersHead};
use crate::copy::{self, Unit};
use crate::named::{ExistingSpan, Placed};
use crate::span::{SPAN_ALIGN, Span};

/// A number that has an atomic of its size. The tiers build read-modify-write operations on it.
///
/// # Safety
/// - `Atomic` is an atomic integer of exactly the number's size.
pub unsafe trait AtomicRepr: Element {
    /// The atomic over the number's bits: the signed or unsigned integer itself, or a float's bits.
    type Atomic: Sync + 'static;
}

macro_rules! atomic_repr {
    ($($number:ty => $atomic:ty),* $(,)?) => {$(
        // SAFETY: the sizes are equal, which the next line proves.
        unsafe impl AtomicRepr for $number {
            type Atomic = $atomic;
        }
        const _: () = assert!(size_of::<$number>() == size_of::<$atomic>());
    )*};
}

atomic_repr! {
    i8 => AtomicI8, i16 => AtomicI16, i32 => AtomicI32, i64 => AtomicI64, isize => AtomicIsize,
    u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64, usize => AtomicUsize,
    f32 => AtomicU32, f64 => AtomicU64,
}

/// Bytes from one element to the next.
#[must_use]
pub const fn stride_of<T>() -> usize {
    let size = size_of::<T>();
    if size < 8 { size.next_power_of_two() } else { size }
}

/// Whether one store can write a whole `T` where elements lie side by side.
#[must_use]
pub const fn is_whole<T>() -> bool {
    matches!(size_of::<T>(), 1 | 2 | 4 | 8)
}

/// Returns the value of `bits`, or `T`'s zero if they are not a valid `T`.
pub(crate) fn checked<T: Element>(bits: T::Bits) -> T {
    if !T::is_valid_bit_pattern(&bits) {
        return T::zeroed();
    }
    // SAFETY: `Bits` has the layout of `T` by the contract of `CheckedBitPattern`, and the pattern was found valid.
    unsafe { (&raw const bits).cast::<T>().read() }
}

/// `len` elements in a span, each loaded and stored on its own.
#[derive(Debug)]
pub struct SharedSlice<T> {
    start: NonNull<u8>,
    len: usize,
    /// Keeps the memory alive.
    span: Span,
    elements: PhantomData<fn() -> T>,
}

// SAFETY: every access is atomic or an untorn copy, and T may be used from any thread (`Element` requires it).
unsafe impl<T: Element> Send for SharedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for SharedSlice<T> {}

impl<T: Element> SharedSlice<T> {
    /// Bytes of a span for `len` elements, or `None` if that overflows. Never 0.
    #[must_use]
    pub fn bytes_for(len: usize) -> Option<usize> {
        const {
            assert!(size_of::<T>() > 0, "an element has at least one byte");
            assert!(align_of::<T>() <= SPAN_ALIGN, "an element is aligned to at most 64 bytes");
        };
        // Whole words: the last element of an odd size is accessed as one word.
        len.checked_mul(stride_of::<T>())?.max(1).checked_next_multiple_of(8)
    }

    /// Makes `len` elements of the bytes in `span`, as they are.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(len)` bytes.
    pub fn new(span: Span, len: usize) -> Result<Self, Span> {
        match Self::bytes_for(len) {
            Some(bytes) if bytes <= span.len() => {
                Ok(Self { start: span.start(), len, span, elements: PhantomData })
            }
            _ => Err(span),
        }
    }

    /// Returns a handle of `len` elements that this process or another one made before.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(len)` bytes.
    pub fn attach(existing: ExistingSpan<Self>, len: usize) -> Result<Self, Span> {
        Self::new(existing.into_span(), len)
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of element `index`, or `None` beyond the end.
    #[inline]
    fn place(&self, index: usize) -> Option<*mut u8> {
        (index < self.len).then(|| self.start.as_ptr().wrapping_add(index.wrapping_mul(stride_of::<T>())))
    }

    /// Loads element `index` (acquire); returns `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn load(&self, index: usize) -> Option<T> {
        let place = self.place(index)?;
        // SAFETY: the element lies in the span, at a multiple of its stride, and is shared through this module only.
        Some(unsafe { load_element::<T>(place) })
    }

    /// Stores element `index` (release); returns `false` beyond the end.
    #[inline]
    #[must_use]
    pub fn store(&self, index: usize, value: T) -> bool {
        let Some(place) = self.place(index) else {
            return false;
        };
        // SAFETY: as in `load`.
        unsafe { store_element::<T>(place, value) };
        true
    }

    /// The atomic of element `index`, or `None` beyond the end.
    #[inline]
    #[must_use]
    pub fn atomic(&self, index: usize) -> Option<&T::Atomic>
    where
        T: AtomicRepr,
    {
        let place = self.place(index)?;
        // SAFETY: the element lies in the span, has the atomic's size, is a multiple of it away from the start of a
        // cache line, and is accessed atomically only. The span lives as long as `self`.
        Some(unsafe { &*place.cast::<T::Atomic>() })
    }

    /// Copies the elements from `at` on into `into`; returns `false` (and copies nothing) if they are not all there.
    #[must_use]
    pub fn copy_out(&self, at: usize, into: &mut [T]) -> bool {
        if !self.covers(at, into.len()) {
            return false;
        }
        if stride_of::<T>() != size_of::<T>() {
            return into.iter_mut().zip(at..).all(|(slot, index)| match self.load(index) {
                Some(value) => {
                    *slot = value;
                    true
                }
                None => false,
            });
        }
        let shared = self.start.as_ptr().wrapping_add(at.wrapping_mul(size_of::<T>()));
        let unit = copy::unit_of(size_of::<T>());
        // SAFETY: the range was checked; both sides are multiples of the unit; `into` is exclusively borrowed. Bits
        // that are not a valid T are repaired below before anybody can look at them as a T.
        unsafe { copy::load(into.as_mut_ptr().cast(), shared, size_of_val(into), unit) };
        // SAFETY: `into` was just filled.
        unsafe { repair(into.as_mut_ptr(), into.len()) };
        true
    }

    /// Copies `from` over the elements from `at` on; returns `false` (and copies nothing) if they do not all fit.
    #[must_use]
    pub fn copy_in(&self, at: usize, from: &[T]) -> bool {
        if !self.covers(at, from.len()) {
            return false;
        }
        if stride_of::<T>() != size_of::<T>() {
            return from.iter().zip(at..).all(|(value, index)| self.store(index, *value));
        }
        let shared = self.start.as_ptr().wrapping_add(at.wrapping_mul(size_of::<T>()));
        let unit = copy::unit_of(size_of::<T>());
        // SAFETY: the range was checked; both sides are multiples of the unit; `from` is borrowed.
        unsafe { copy::store(shared, from.as_ptr().cast(), size_of_val(from), unit) };
        true
    }

    fn covers(&self, at: usize, count: usize) -> bool {
        at.checked_add(count).is_some_and(|end| end <= self.len)
    }
}

impl<T> Placed for SharedSlice<T> {
    const CLASS: u8 = 4;

    fn span(&self) -> &Span {
        &self.span
    }
}

/// One value in a span.
#[derive(Debug)]
pub struct SharedCell<T>(SharedSlice<T>);

impl<T: Element> SharedCell<T> {
    /// Bytes of a span for the value, or `None` if that overflows.
    #[must_use]
    pub fn bytes() -> Option<usize> {
        SharedSlice::<T>::bytes_for(1)
    }

    /// Makes a value of the bytes in `span`, as they are.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes`] bytes.
    pub fn new(span: Span) -> Result<Self, Span> {
        SharedSlice::new(span, 1).map(Self)
    }

    /// Returns a handle of a value that this process or another one made before.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes`] bytes.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        SharedSlice::new(existing.into_span(), 1).map(Self)
    }

    /// Loads the value (acquire).
    #[inline]
    #[must_use]
    pub fn load(&self) -> T {
        // SAFETY: `new` made room for one element, aligned; it is shared through this module only.
        unsafe { load_element::<T>(self.0.start.as_ptr()) }
    }

    /// Stores the value (release).
    #[inline]
    pub fn store(&self, value: T) {
        // SAFETY: as in `load`.
        unsafe { store_element::<T>(self.0.start.as_ptr(), value) };
    }

    /// The atomic of the value.
    #[inline]
    #[must_use]
    pub fn atomic(&self) -> &T::Atomic
    where
        T: AtomicRepr,
    {
        // SAFETY: as in `SharedSlice::atomic`, for the one element that `new` made room for.
        unsafe { &*self.0.start.as_ptr().cast::<T::Atomic>() }
    }
}

impl<T> Placed for SharedCell<T> {
    const CLASS: u8 = 5;

    fn span(&self) -> &Span {
        &self.0.span
    }
}

/// # Safety
/// - `place` has room for one stride of `T`, at a multiple of it (of `T`'s alignment above 8 bytes), mapped.
/// - All other accesses to it that nothing orders are atomics of that size, or of [`copy::unit_of`] above 8 bytes, or copies
///   by [`copy`] in such units.
#[inline]
unsafe fn load_element<T: Element>(place: *mut u8) -> T {
    let mut bits = MaybeUninit::<T::Bits>::uninit();
    let private = bits.as_mut_ptr().cast::<u8>();
    macro_rules! whole {
        ($unit:ty) => {{
            // SAFETY: the caller's place is one stride, aligned and shared atomically.
            let word = unsafe { <$unit>::load(place.cast(), Ordering::Acquire) }.to_ne_bytes();
            // SAFETY: the element's size is at most the word's.
            unsafe { private.copy_from_nonoverlapping(word.as_ptr(), size_of::<T>()) };
        }};
    }
    match stride_of::<T>() {
        1 => whole!(u8),
        2 => whole!(u16),
        4 => whole!(u32),
        8 => whole!(u64),
        // SAFETY: `bits` has the element's size; the place is a multiple of the unit of that size.
        size => unsafe { copy::load(private, place, size, copy::unit_of(size)) },
    }
    // SAFETY: every byte was written, and `Bits` allows any pattern.
    checked(unsafe { bits.assume_init() })
}

/// # Safety
/// As [`load_element`].
#[inline]
pub(crate) unsafe fn store_element<T: Element>(place: *mut u8, value: T) {
    let bytes = bytemuck::bytes_of(&value);
    macro_rules! whole {
        ($unit:ty) => {{
            let mut word = [0; size_of::<$unit>()];
            for (slot, byte) in word.iter_mut().zip(bytes) {
                *slot = *byte;
            }
            // SAFETY: the caller's place is one stride, aligned and shared atomically.
            unsafe { <$unit>::store(place.cast(), bytemuck::cast(word), Ordering::Release) };
        }};
    }
    match stride_of::<T>() {
        1 => whole!(u8),
        2 => whole!(u16),
        4 => whole!(u32),
        8 => whole!(u64),
        // SAFETY: `bytes` has the element's size; the place is a multiple of the unit of that size.
        size => unsafe { copy::store(place, bytes.as_ptr(), size, copy::unit_of(size)) },
    }
}

/// Replaces elements that are not a valid `T` by `T`'s zero. For `Pod` types the check is constant and the loop
/// compiles to nothing.
///
/// # Safety
/// - `first` points to `count` initialised elements' worth of bytes, exclusively borrowed.
#[expect(clippy::mem_forget, reason = "the guard is for unwinding only")]
pub(crate) unsafe fn repair<T: Element>(first: *mut T, count: usize) {
    /// Zeroes everything if a user's `is_valid_bit_pattern` panics: the elements that were not checked may be invalid.
    struct Zero<T>(*mut T, usize);
    impl<T> Drop for Zero<T> {
        fn drop(&mut self) {
            // SAFETY: the caller of `repair` lends this many elements for writing, and zero is a valid `T` (`Element`).
            unsafe { self.0.write_bytes(0, self.1) };
        }
    }
    let unless_finished = Zero(first, count);
    // SAFETY: the caller's contract is the same.
    unsafe { repair_in_place(first, count) };
    std::mem::forget(unless_finished);
}

/// Repairs as [`repair`] does, for elements that are repaired again before anybody looks at them as `T`: if a user's
/// `is_valid_bit_pattern` panics, they stay as they are.
///
/// # Safety
/// The contract of [`repair`]. In addition, nobody looks at them as `T` after a panic.
pub(crate) unsafe fn repair_in_place<T: Element>(first: *mut T, count: usize) {
    for index in 0..count {
        let element = first.wrapping_add(index);
        // SAFETY: the element is initialised, and `Bits` allows any pattern and has T's layout.
        let bits = unsafe { element.cast::<T::Bits>().read() };
        if !T::is_valid_bit_pattern(&bits) {
            // SAFETY: the caller lends the element for writing.
            unsafe { element.write(T::zeroed()) };
        }
    }
}

#[cfg(test)]
mod tests;
