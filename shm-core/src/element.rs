//! The types that can be in shared memory, and the counterparts of Python's types.
//!
//! Python's `Value` and `Array` take a ctypes type or a one-letter code. Here you use Rust's own types:
//!
//! | ctypes (code) | here | |
//! |---|---|---|
//! | `c_bool` | `bool` | |
//! | `c_char` (`c`) | `u8` | an array of it has `to_c_bytes` and `set_c_bytes`, Python's `.value` |
//! | `c_wchar` (`u`) | `char` | |
//! | `c_byte` (`b`), `c_ubyte` (`B`) | `i8`, `u8` | |
//! | `c_short` (`h`), `c_ushort` (`H`) | `i16`, `u16` | |
//! | `c_int` (`i`), `c_uint` (`I`) | `i32`, `u32` | |
//! | `c_long` (`l`), `c_ulong` (`L`) | `i64`, `u64` | or `std::ffi::c_long`, which is one of them |
//! | `c_longlong` (`q`), `c_ulonglong` (`Q`) | `i64`, `u64` | |
//! | `c_int8` … `c_int64`, `c_uint8` … `c_uint64` | `i8` … `i64`, `u8` … `u64` | |
//! | `c_size_t`, `c_ssize_t` | `usize`, `isize` | |
//! | `c_float` (`f`), `c_double` (`d`) | `f32`, `f64` | |
//! | `c_longdouble` | none | Rust has no such type |
//! | `Structure` | a struct with `#[derive(Clone, Copy, Pod, Zeroable)] #[repr(C)]` | from the crate `bytemuck` |
//! | an array of ctypes | `[T; N]` | of integers, floats and structs; not of `bool` or `char` |
//! | `Union` | none | use `[u8; N]`, and read the bytes with bytemuck |
//! | `BigEndianStructure`, `LittleEndianStructure` | a struct of `[u8; N]` fields | with `from_be_bytes` |
//! | `c_char_p`, `c_wchar_p`, `c_void_p`, `POINTER`, `CFUNCTYPE`, `py_object`, `HRESULT` | none | an address means nothing in another process |
//!
//! The compiler checks the types, so an integer is never truncated silently. With ctypes, 300 stored in a `c_byte` reads back
//! as 44.
//!
//! A type can be in shared memory if each of its bit patterns is valid or can be checked, it has no padding, and zero is
//! valid. Pointers, references, `String` and `Vec` cannot: their contents are in private memory.
//!
//! ```compile_fail
//! # extern crate shm_core as mp;
//! mp::Value::new(String::from("no"));
//! ```

use std::sync::atomic::Ordering::SeqCst;

use bytemuck::cast;
#[doc(hidden)]
pub use mp_sys::cells::AtomicRepr;
pub use mp_sys::cells::Element;

/// A number with atomic operations: an integer of 1 to 8 bytes, `f32` or `f64`.
///
/// Integers wrap around at their limits, like Rust's atomics. Operations on floats are loops of compare-and-exchange; bitwise
/// operations work on the bits of the float.
pub trait Number: AtomicRepr {
    /// Stores a value, and returns the previous value.
    fn swap(atomic: &Self::Atomic, value: Self) -> Self;
    /// Stores `new` if the value is `current` (the same bits), and returns the previous value either way.
    #[expect(clippy::missing_errors_doc, reason = "the error is the value that was found instead")]
    fn compare_exchange(atomic: &Self::Atomic, current: Self, new: Self) -> Result<Self, Self>;
    /// Adds, and returns the previous value.
    fn fetch_add(atomic: &Self::Atomic, value: Self) -> Self;
    /// Subtracts, and returns the previous value.
    fn fetch_sub(atomic: &Self::Atomic, value: Self) -> Self;
    /// Applies bitwise and, and returns the previous value.
    fn fetch_and(atomic: &Self::Atomic, value: Self) -> Self;
    /// Applies bitwise or, and returns the previous value.
    fn fetch_or(atomic: &Self::Atomic, value: Self) -> Self;
    /// Stores the greater of the two values, and returns the previous value.
    fn fetch_max(atomic: &Self::Atomic, value: Self) -> Self;
    /// Stores the smaller of the two values, and returns the previous value.
    fn fetch_min(atomic: &Self::Atomic, value: Self) -> Self;
}

macro_rules! forward {
    ($($operation:ident)*) => {$(
        #[inline]
        fn $operation(atomic: &Self::Atomic, value: Self) -> Self {
            atomic.$operation(value, SeqCst)
        }
    )*};
}

macro_rules! integer {
    ($($number:ty)*) => {$(
        impl Number for $number {
            forward! { swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }

            #[inline]
            fn compare_exchange(atomic: &Self::Atomic, current: Self, new: Self) -> Result<Self, Self> {
                atomic.compare_exchange(current, new, SeqCst, SeqCst)
            }
        }
    )*};
}

integer! { i8 i16 i32 i64 isize u8 u16 u32 u64 usize }

macro_rules! change {
    ($($operation:ident: $change:expr),* $(,)?) => {$(
        #[inline]
        fn $operation(atomic: &Self::Atomic, value: Self) -> Self {
            let change: fn(Self, Self) -> Self = $change;
            let mut bits = atomic.load(SeqCst);
            loop {
                let new = change(Self::from_bits(bits), value).to_bits();
                match atomic.compare_exchange_weak(bits, new, SeqCst, SeqCst) {
                    Ok(previous) => return Self::from_bits(previous),
                    Err(found) => bits = found,
                }
            }
        }
    )*};
}

macro_rules! float {
    ($($number:ty)*) => {$(
        impl Number for $number {
            change! {
                fetch_add: |old, value| old + value,
                fetch_sub: |old, value| old - value,
                fetch_max: Self::max,
                fetch_min: Self::min,
            }

            #[inline]
            fn swap(atomic: &Self::Atomic, value: Self) -> Self {
                Self::from_bits(atomic.swap(value.to_bits(), SeqCst))
            }

            #[inline]
            fn compare_exchange(atomic: &Self::Atomic, current: Self, new: Self) -> Result<Self, Self> {
                let outcome = atomic.compare_exchange(current.to_bits(), new.to_bits(), SeqCst, SeqCst);
                outcome.map(Self::from_bits).map_err(Self::from_bits)
            }

            #[inline]
            fn fetch_and(atomic: &Self::Atomic, value: Self) -> Self {
                cast(atomic.fetch_and(value.to_bits(), SeqCst))
            }

            #[inline]
            fn fetch_or(atomic: &Self::Atomic, value: Self) -> Self {
                cast(atomic.fetch_or(value.to_bits(), SeqCst))
            }
        }
    )*};
}

float! { f32 f64 }
