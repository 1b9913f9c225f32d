//! The words that protocols between processes consist of, so that a protocol can be written once and checked by a
//! model.
//!
//! A protocol is generic over a family of words. In programs the family is [`Shared`]: `std`'s atomics, the kernel's
//! futexes, sleeps in slices. Under `cfg(mp_loom)` there is also `Modelled`, for which `loom` tries every order of
//! accesses that the memory model allows. Nothing sleeps in slices there, so a lost wake-up is a deadlock, which `loom`
//! reports. `docs/design/models.md` describes what the models show, and what they cannot show.
//!
//! Every default is `Shared`, and all its calls are inlined: a program pays nothing for the second family.

#[cfg(mp_loom)]
mod modelled;

use std::fmt::Debug;
use std::sync::atomic::{self, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

#[cfg(mp_loom)]
pub use self::modelled::{Modelled, ModelledWord32, ModelledWord64};
use crate::deadline::Deadline;
use crate::futex::{self, Slept};

/// A family of words.
pub trait Words: Debug + Default + 'static {
    /// A word of 32 bits that can be slept on.
    type Word32: Word32;
    /// A word of 64 bits.
    type Word64: Word64;
    /// Whether waiters may spin, say where they run, and sleep in slices. A model has neither clocks nor CPUs.
    const SPINS: bool;

    /// Does what `std`'s does.
    fn fence(order: Ordering);
}

/// A word of 32 bits that can be slept on.
pub trait Word32: Debug + Default {
    /// Does what `std`'s does.
    fn load(&self, order: Ordering) -> u32;
    /// Does what `std`'s does.
    fn store(&self, value: u32, order: Ordering);
    /// Does what `std`'s does.
    fn fetch_add(&self, value: u32, order: Ordering) -> u32;
    /// Does what `std`'s does.
    fn fetch_sub(&self, value: u32, order: Ordering) -> u32;
    /// Does what `std`'s does, sequentially consistent.
    fn swap(&self, value: u32) -> u32;
    /// Does what `std`'s does, sequentially consistent.
    ///
    /// # Errors
    /// Returns what the word holds, if that is not `from`.
    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32>;

    /// Replaces the value by what `change` returns for it, sequentially consistent.
    ///
    /// # Errors
    /// Returns what the word holds, if `change` returned `None` for it.
    #[inline]
    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        let mut found = self.load(Ordering::SeqCst);
        while let Some(next) = change(found) {
            match self.exchange(found, next) {
                Ok(previous) => return Ok(previous),
                Err(other) => found = other,
            }
        }
        Err(found)
    }

    /// Sleeps while the word holds `expected`, for `slice` at most: see [`futex::wait_slice`].
    fn sleep(&self, expected: u32, slice: Duration, deadline: Deadline) -> Slept;
    /// Wakes at most `count` sleepers; returns how many there were.
    fn wake(&self, count: u32) -> usize;
}

/// A word of 64 bits.
pub trait Word64: Debug + Default {
    /// Does what `std`'s does.
    fn load(&self, order: Ordering) -> u64;
    /// Does what `std`'s does.
    fn store(&self, value: u64, order: Ordering);
    /// Does what `std`'s does.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// Does what `std`'s does.
    fn fetch_max(&self, value: u64, order: Ordering) -> u64;
    /// Does what `std`'s does, sequentially consistent; returns `false` if the word does not hold `from`.
    fn exchange(&self, from: u64, to: u64) -> bool;

    /// Makes one step in the life of a word, if the word holds what the caller expects.
    #[inline]
    fn step(&self, from: u64, to: u64) -> bool {
        // It looks first: a failed exchange takes the cache line from others just as a successful one does.
        self.load(Ordering::Relaxed) == from && self.exchange(from, to)
    }
}

/// The words of programs.
#[derive(Debug, Default)]
pub struct Shared;

impl Words for Shared {
    type Word32 = AtomicU32;
    type Word64 = AtomicU64;
    const SPINS: bool = true;

    #[inline]
    fn fence(order: Ordering) {
        atomic::fence(order);
    }
}

impl Word32 for AtomicU32 {
    #[inline]
    fn load(&self, order: Ordering) -> u32 {
        Self::load(self, order)
    }

    #[inline]
    fn store(&self, value: u32, order: Ordering) {
        Self::store(self, value, order);
    }

    #[inline]
    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        Self::fetch_add(self, value, order)
    }

    #[inline]
    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        Self::fetch_sub(self, value, order)
    }

    #[inline]
    fn swap(&self, value: u32) -> u32 {
        Self::swap(self, value, Ordering::SeqCst)
    }

    #[inline]
    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32> {
        self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }

    #[inline]
    fn sleep(&self, expected: u32, slice: Duration, deadline: Deadline) -> Slept {
        futex::wait_for(self, expected, slice, deadline)
    }

    #[inline]
    fn wake(&self, count: u32) -> usize {
        futex::wake(self, count)
    }
}

impl Word64 for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        Self::load(self, order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        Self::store(self, value, order);
    }

    #[inline]
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        Self::fetch_add(self, value, order)
    }

    #[inline]
    fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        Self::fetch_max(self, value, order)
    }

    #[inline]
    fn exchange(&self, from: u64, to: u64) -> bool {
        self.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}
