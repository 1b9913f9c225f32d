//! Copies between private memory and memory that other processes write at the same moment.
//!
//! A plain `memcpy` of memory that another process writes is a data race, and the compiler may split, repeat or merge
//! its accesses. Here a copy is a series of relaxed atomic accesses, one for each unit (1, 2, 4 or 8 bytes) of the
//! shared side. An element of that size is never torn.
//!
//! # One size for each place
//! Rust's model leaves atomic accesses of two sizes to one place undefined if nothing orders them. So each element type
//! has one unit, and all code accesses its elements by that unit only, here and in [`cells`](crate::cells).
//!
//! A loop over units is slow, so [`words`] moves whole words in inline assembly. The compiler cannot look into it. In
//! terms of the language, such a block **stands for the loop over units**: a processor that moves an aligned word at
//! once moves all units in it, and no observer can distinguish that from units that happened to be moved together. On
//! other processors, and under Miri, the loop itself runs.

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod words;

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes in the word by which long runs are moved.
const WORD: usize = 8;

/// The largest unit, up to 8 bytes, that divides elements of `size` bytes.
pub(crate) const fn unit_of(size: usize) -> usize {
    let power = size.trailing_zeros();
    if power >= 3 { WORD } else { 1 << power }
}

/// Copies `bytes` bytes from shared to private memory in units of `unit` bytes.
///
/// # Safety
/// - `shared` is readable and `private` writable for `bytes` bytes; they do not overlap.
/// - `unit` is 1, 2, 4 or 8; `shared` and `bytes` are multiples of it.
/// - Nobody else uses `private`; all other accesses to `shared` that nothing orders are atomics of the unit's size, or such
///   copies in the same unit.
pub(crate) unsafe fn load(private: *mut u8, shared: *const u8, bytes: usize, unit: usize) {
    let plan = Plan::new(shared.addr(), bytes);
    // SAFETY: the head is the first part of the caller's ranges.
    unsafe { load_units(private, shared, plan.head, unit) };
    let (private, shared) = (private.wrapping_add(plan.head), shared.wrapping_add(plan.head));
    // SAFETY: the body follows the head inside the caller's ranges; `shared` is a multiple of 8 now.
    unsafe { load_words(private, shared, plan.body, unit) };
    let (private, shared) = (private.wrapping_add(plan.body), shared.wrapping_add(plan.body));
    // SAFETY: the tail is the rest of the caller's ranges.
    unsafe { load_units(private, shared, plan.tail, unit) };
}

/// Copies `bytes` bytes from private to shared memory in units of `unit` bytes.
///
/// # Safety
/// - `shared` is writable and `private` readable for `bytes` bytes; they do not overlap.
/// - `unit` is 1, 2, 4 or 8; `shared` and `bytes` are multiples of it.
/// - Nobody writes `private`; all other accesses to `shared` that nothing orders are atomics of the unit's size, or such
///   copies in the same unit.
pub(crate) unsafe fn store(shared: *mut u8, private: *const u8, bytes: usize, unit: usize) {
    let plan = Plan::new(shared.addr(), bytes);
    // SAFETY: the head is the first part of the caller's ranges.
    unsafe { store_units(shared, private, plan.head, unit) };
    let (shared, private) = (shared.wrapping_add(plan.head), private.wrapping_add(plan.head));
    // SAFETY: the body follows the head inside the caller's ranges; `shared` is a multiple of 8 now.
    unsafe { store_words(shared, private, plan.body, unit) };
    let (shared, private) = (shared.wrapping_add(plan.body), private.wrapping_add(plan.body));
    // SAFETY: the tail is the rest of the caller's ranges.
    unsafe { store_units(shared, private, plan.tail, unit) };
}

/// A run cut at the shared side's 8-byte boundaries.
struct Plan {
    head: usize,
    body: usize,
    tail: usize,
}

impl Plan {
    fn new(shared: usize, bytes: usize) -> Self {
        let head = shared.wrapping_neg() % WORD;
        let head = head.min(bytes);
        let rest = bytes.saturating_sub(head);
        let tail = rest % WORD;
        Self { head, body: rest.saturating_sub(tail), tail }
    }
}

/// # Safety
/// The contract of [`load`]. In addition, `shared` and `bytes` are multiples of 8.
unsafe fn load_words(private: *mut u8, shared: *const u8, bytes: usize, unit: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller's ranges are whole words and do not overlap.
    unsafe {
        words::copy(private, shared, bytes, private.addr().is_multiple_of(unit));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: whole words are whole units.
    unsafe {
        load_units(private, shared, bytes, unit);
    }
}

/// # Safety
/// The contract of [`store`]. In addition, `shared` and `bytes` are multiples of 8.
unsafe fn store_words(shared: *mut u8, private: *const u8, bytes: usize, unit: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the caller's ranges are whole words and do not overlap.
    unsafe {
        words::copy(shared, private, bytes, private.addr().is_multiple_of(unit));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: whole words are whole units.
    unsafe {
        store_units(shared, private, bytes, unit);
    }
}

/// A unit of up to 8 bytes: an integer that is loaded and stored through its atomic.
pub(crate) trait Unit: Copy {
    /// # Safety
    /// - `shared` is valid and aligned for the unit, and all other accesses to it that nothing orders are atomics of this size.
    unsafe fn load(shared: *mut Self, ordering: Ordering) -> Self;
    /// # Safety
    /// As [`Unit::load`].
    unsafe fn store(shared: *mut Self, value: Self, ordering: Ordering);
}

macro_rules! unit {
    ($($plain:ty => $atomic:ty),*) => {$(
        impl Unit for $plain {
            #[inline]
            unsafe fn load(shared: *mut Self, ordering: Ordering) -> Self {
                #[cfg(test)]
                recorded::note(shared.cast(), size_of::<Self>());
                // SAFETY: the caller passes a valid, aligned, atomically shared place.
                unsafe { <$atomic>::from_ptr(shared) }.load(ordering)
            }

            #[inline]
            unsafe fn store(shared: *mut Self, value: Self, ordering: Ordering) {
                #[cfg(test)]
                recorded::note(shared.cast(), size_of::<Self>());
                // SAFETY: the caller passes a valid, aligned, atomically shared place.
                unsafe { <$atomic>::from_ptr(shared) }.store(value, ordering);
            }
        }
    )*};
}

unit!(u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64);

/// # Safety
/// As [`load`].
unsafe fn load_units(private: *mut u8, shared: *const u8, bytes: usize, unit: usize) {
    match unit {
        // SAFETY: the caller's ranges are whole units of 1 byte.
        1 => unsafe { load_each::<u8>(private, shared.cast_mut(), bytes) },
        // SAFETY: the caller's ranges are whole units of 2 bytes.
        2 => unsafe { load_each::<u16>(private, shared.cast_mut().cast(), bytes) },
        // SAFETY: the caller's ranges are whole units of 4 bytes.
        4 => unsafe { load_each::<u32>(private, shared.cast_mut().cast(), bytes) },
        // SAFETY: the caller's ranges are whole units of 8 bytes.
        _ => unsafe { load_each::<u64>(private, shared.cast_mut().cast(), bytes) },
    }
}

/// # Safety
/// As [`store`].
unsafe fn store_units(shared: *mut u8, private: *const u8, bytes: usize, unit: usize) {
    match unit {
        // SAFETY: the caller's ranges are whole units of 1 byte.
        1 => unsafe { store_each::<u8>(shared, private, bytes) },
        // SAFETY: the caller's ranges are whole units of 2 bytes.
        2 => unsafe { store_each::<u16>(shared.cast(), private.cast(), bytes) },
        // SAFETY: the caller's ranges are whole units of 4 bytes.
        4 => unsafe { store_each::<u32>(shared.cast(), private.cast(), bytes) },
        // SAFETY: the caller's ranges are whole units of 8 bytes.
        _ => unsafe { store_each::<u64>(shared.cast(), private.cast(), bytes) },
    }
}

/// # Safety
/// As [`load`], with units of `U`.
unsafe fn load_each<U: Unit>(private: *mut u8, shared: *mut U, bytes: usize) {
    for index in 0..bytes.div_euclid(size_of::<U>()) {
        // SAFETY: unit `index` lies in the caller's range, aligned and shared atomically.
        let value = unsafe { U::load(shared.wrapping_add(index), Ordering::Relaxed) };
        // SAFETY: unit `index` lies in the caller's range; the private side may have any alignment.
        unsafe { private.cast::<U>().wrapping_add(index).write_unaligned(value) };
    }
}

/// # Safety
/// As [`store`], with units of `U`.
unsafe fn store_each<U: Unit>(shared: *mut U, private: *const U, bytes: usize) {
    for index in 0..bytes.div_euclid(size_of::<U>()) {
        // SAFETY: unit `index` lies in the caller's range; the private side may have any alignment.
        let value = unsafe { private.wrapping_add(index).read_unaligned() };
        // SAFETY: unit `index` lies in the caller's range, aligned and shared atomically.
        unsafe { U::store(shared.wrapping_add(index), value, Ordering::Relaxed) };
    }
}

#[cfg(test)]
pub(crate) mod recorded;
#[cfg(test)]
mod tests;
