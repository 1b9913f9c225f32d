//! Reading and writing the data of a held lock.

use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use crate::cells::{self, Element};
use crate::locked::{Held, Locked};

impl Held<'_> {
    /// Loads a word of 8 bytes of the data.
    ///
    /// # Panics
    /// If `at` is not a multiple of 8 inside the data.
    #[inline]
    #[must_use]
    pub fn load_word(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    /// Stores a word of 8 bytes of the data with one store: a process that dies has stored all of it or none.
    ///
    /// The store is ordered after all earlier ones and before all later ones.
    ///
    /// # Panics
    /// If `at` is not a multiple of 8 inside the data.
    /// If `at` is not a multiple of 8 inside the data.
    #[inline]
    pub fn store_word(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Release);
        // A later store must not move up either: a kill falls between two instructions, so only their order matters.
        compiler_fence(Ordering::SeqCst);
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8), "a word lies at a multiple of 8");
        let place = self.locked.place(at, size_of::<u64>());
        // SAFETY: checked to lie in the data, which starts at a multiple of 8 (`CONTROL_BYTES` is asserted below);
        // while the lock is held nobody accesses the data except through this `Held`, whose references end with it.
        unsafe { AtomicU64::from_ptr(place.cast().as_ptr()) }
    }

    /// Reads a value.
    ///
    /// # Panics
    /// If it does not lie in the data.
    #[inline]
    #[must_use]
    pub fn read<T: Element>(&self, at: usize) -> T {
        let place = self.locked.place(at, size_of::<T>());
        // SAFETY: checked to lie in the data; `Bits` takes any pattern; the lock is held, so nobody writes.
        cells::checked(unsafe { place.cast::<T::Bits>().read_unaligned() })
    }

    /// Writes a value of 1, 2, 4 or 8 bytes with one store: a process that dies has stored all of it or nothing.
    ///
    /// # Panics
    /// If it does not lie in the data at a multiple of its size, or has another size.
    #[inline]
    pub fn write_whole<T: Element>(&mut self, at: usize, value: T) {
        let place = self.locked.place(at, size_of::<T>());
        assert!(
            cells::is_whole::<T>() && place.addr().get().is_multiple_of(size_of::<T>()),
            "one aligned store"
        );
        // SAFETY: checked to lie in the data, aligned to its size; the lock is held and `self` is exclusive.
        unsafe { cells::store_element(place.as_ptr(), value) };
    }

    /// Writes a value. A process that dies here may have written a part of it.
    ///
    /// # Panics
    /// If it does not lie in the data.
    #[inline]
    pub fn write<T: Element>(&mut self, at: usize, value: T) {
        let place = self.locked.place(at, size_of::<T>());
        // SAFETY: checked to lie in the data; the lock is held and `self` is exclusive, so nobody else uses it.
        unsafe { place.cast::<T>().write_unaligned(value) };
    }

    /// Reads `into.len()` values that lie side by side.
    ///
    /// # Panics
    /// If they do not lie in the data.
    pub fn read_slice<T: Element>(&self, at: usize, into: &mut [T]) {
        let place = self.locked.place(at, size_of_val(into));
        // SAFETY: checked to lie in the data; `into` is private memory; the lock is held, so nobody writes.
        unsafe { into.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(place.as_ptr(), size_of_val(into)) };
        // SAFETY: `into` was just filled and is exclusively borrowed.
        unsafe { cells::repair(into.as_mut_ptr(), into.len()) };
    }

    /// Writes the values of `from` side by side. A process that dies here may have written some of them.
    ///
    /// # Panics
    /// If it does not lie in the data.
    pub fn write_slice<T: Element>(&mut self, at: usize, from: &[T]) {
        let place = self.locked.place(at, size_of_val(from));
        // SAFETY: checked to lie in the data; `from` is private memory; the lock is held and `self` is exclusive.
        unsafe { place.as_ptr().copy_from_nonoverlapping(from.as_ptr().cast(), size_of_val(from)) };
    }

    /// Copies `bytes` bytes of data from one place to another that does not overlap it.
    ///
    /// # Panics
    /// If either does not lie in the data, or if they overlap.
    pub fn copy_within(&mut self, from: usize, to: usize, bytes: usize) {
        assert!(from.abs_diff(to) >= bytes, "the places do not overlap");
        let (from, to) = (self.locked.place(from, bytes), self.locked.place(to, bytes));
        // SAFETY: both lie in the data and do not overlap; the lock is held and `self` is exclusive.
        unsafe { to.copy_from_nonoverlapping(from, bytes) };
    }
}

impl Clone for Locked {
    /// Makes another handle of the same lock: what a guard of the one holds is locked for the other.
    fn clone(&self) -> Self {
        Self { control: self.control, data_len: self.data_len, span: self.span.twin() }
    }
}
