//! Copies between private memory and memory that other processes write at the same moment.
//!
//! A plain `memcpy` of memory that somebody else writes is a data race, and the compiler may split, repeat or merge its
//! accesses. Here every access to the shared side is one aligned load or store of a whole unit (1, 2, 4 or 8 bytes), so
//! an element of that size is never torn; and long runs use `rep movsq`, which moves aligned 8-byte words at the speed of
//! `memcpy` (relaxed atomic loops reach 0.6-0.8 of it, measured).
//!
//! That microcode moves whole elements is known for sides that are both aligned to the element; a private side that is
//! not (a `Vec<[u8; 8]>` at an odd address) takes the loop.
//!
//! The compiler cannot look into inline assembly, so for it the shared side is accessed like by a system call.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes in the word that long runs are moved by.
const WORD: usize = 8;
/// Shorter runs are copied in a loop: `rep movsq` takes some 30 cycles to start.
const STRING_COPY_FROM_BYTES: usize = 256;

/// The largest unit, up to 8 bytes, that elements of `size` bytes are made of.
pub(crate) const fn unit_of(size: usize) -> usize {
    let power = size.trailing_zeros();
    if power >= 3 { WORD } else { 1 << power }
}

/// Copies `bytes` bytes from shared to private memory in units of `unit` bytes.
///
/// # Safety
/// - `shared` is readable and `private` writable for `bytes` bytes; they do not overlap.
/// - `unit` is 1, 2, 4 or 8; `shared` and `bytes` are multiples of it.
/// - Nobody else uses `private`; all other accesses to `shared` are atomic or such copies.
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
/// - Nobody writes `private`; all other accesses to `shared` are atomic or such copies.
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

/// Zeroes `bytes` bytes that start at a multiple of 8.
///
/// # Safety
/// - `shared` is writable for `bytes` bytes and a multiple of 8.
/// - All other accesses to it are atomic or copies of this module.
pub(crate) unsafe fn zero(shared: *mut u8, bytes: usize) {
    for at in (0..bytes / WORD).map(|word| word.wrapping_mul(WORD)) {
        // SAFETY: `at` + 8 <= `bytes`, and the address is a multiple of 8.
        let word = unsafe { AtomicU64::from_ptr(shared.wrapping_add(at).cast()) };
        word.store(0, Ordering::Relaxed);
    }
    for at in bytes.saturating_sub(bytes % WORD)..bytes {
        // SAFETY: `at` < `bytes`.
        let byte = unsafe { AtomicU8::from_ptr(shared.wrapping_add(at)) };
        byte.store(0, Ordering::Relaxed);
    }
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
/// As [`load`], and `shared` and `bytes` are multiples of 8.
unsafe fn load_words(private: *mut u8, shared: *const u8, bytes: usize, unit: usize) {
    #[cfg(target_arch = "x86_64")]
    if bytes >= STRING_COPY_FROM_BYTES && private.addr().is_multiple_of(unit) {
        // SAFETY: the caller's ranges are whole words and do not overlap.
        return unsafe { string_copy(private, shared, bytes) };
    }
    // SAFETY: the caller's ranges are whole words.
    unsafe { load_each::<u64>(private, shared.cast_mut().cast(), bytes) };
}

/// # Safety
/// As [`store`], and `shared` and `bytes` are multiples of 8.
unsafe fn store_words(shared: *mut u8, private: *const u8, bytes: usize, unit: usize) {
    #[cfg(target_arch = "x86_64")]
    if bytes >= STRING_COPY_FROM_BYTES && private.addr().is_multiple_of(unit) {
        // SAFETY: the caller's ranges are whole words and do not overlap.
        return unsafe { string_copy(shared, private, bytes) };
    }
    // SAFETY: the caller's ranges are whole words.
    unsafe { store_each::<u64>(shared.cast(), private.cast(), bytes) };
}

/// # Safety
/// - `to` is writable, `from` readable for `bytes` bytes, a multiple of 8; they do not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn string_copy(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the instruction reads and writes exactly the caller's ranges; the ABI keeps the direction flag clear.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") bytes / WORD => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// A unit of up to 8 bytes: the integer and its atomic.
trait Unit: Copy {
    /// # Safety
    /// - `shared` is valid and aligned for the unit, and all other accesses to it are atomic.
    unsafe fn load(shared: *mut Self) -> Self;
    /// # Safety
    /// As [`Unit::load`].
    unsafe fn store(shared: *mut Self, value: Self);
}

macro_rules! unit {
    ($($plain:ty => $atomic:ty),*) => {$(
        impl Unit for $plain {
            unsafe fn load(shared: *mut Self) -> Self {
                // SAFETY: the caller gives a valid, aligned, atomically shared place.
                unsafe { <$atomic>::from_ptr(shared) }.load(Ordering::Relaxed)
            }

            unsafe fn store(shared: *mut Self, value: Self) {
                // SAFETY: the caller gives a valid, aligned, atomically shared place.
                unsafe { <$atomic>::from_ptr(shared) }.store(value, Ordering::Relaxed);
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
        let value = unsafe { U::load(shared.wrapping_add(index)) };
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
        unsafe { U::store(shared.wrapping_add(index), value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of length, shared alignment and private alignment, against a plain copy.
    #[test]
    fn copies_are_exact_at_every_length_and_alignment() {
        let source: Vec<u8> = (0..1200_u32).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect();
        for unit in [1, 2, 4, 8] {
            for shared_at in (0..16).step_by(unit) {
                for bytes in (0..STRING_COPY_FROM_BYTES * 2).step_by(unit) {
                    check_round_trip(&source, shared_at, bytes, unit);
                }
            }
        }
    }

    fn check_round_trip(source: &[u8], shared_at: usize, bytes: usize, unit: usize) {
        let mut words = vec![0_u64; 100];
        let shared = words.as_mut_ptr().cast::<u8>().wrapping_add(shared_at);
        let private_at = (bytes + shared_at) % 7;
        // SAFETY: 800 bytes hold `shared_at` + `bytes` < 16 + 512; `source` holds 7 + 512; the words are only used here.
        unsafe { store(shared, source.as_ptr().wrapping_add(private_at), bytes, unit) };
        let mut back = vec![0_u8; bytes + 7];
        // SAFETY: as above; `back` holds 7 + `bytes`.
        unsafe { load(back.as_mut_ptr().wrapping_add(private_at), shared, bytes, unit) };
        assert_eq!(back[private_at..private_at + bytes], source[private_at..private_at + bytes]);
        assert!(back[..private_at].iter().all(|&byte| byte == 0));
        assert!(back[private_at + bytes..].iter().all(|&byte| byte == 0));
        let plain: &[u8] = bytemuck::cast_slice(&words);
        assert!(plain[..shared_at].iter().all(|&byte| byte == 0));
        assert!(plain[shared_at + bytes..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn units() {
        assert_eq!([1, 2, 3, 4, 6, 8, 12, 16, 24, 40].map(unit_of), [1, 2, 1, 4, 2, 8, 4, 8, 8, 8]);
    }

    #[test]
    fn zeroing_stops_at_the_end() {
        let mut words = [u64::MAX; 4];
        // SAFETY: 32 bytes, used only here.
        unsafe { zero(words.as_mut_ptr().cast(), 19) };
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        assert!(bytes[..19].iter().all(|&byte| byte == 0));
        assert!(bytes[19..].iter().all(|&byte| byte == 0xff));
    }
}
