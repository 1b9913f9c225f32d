//! Words that `loom` watches.
//!
//! | operation | in the model |
//! |---|---|
//! | a sequentially consistent load | a fence, then the load |
//! | every other access | `loom`'s, which treats sequentially consistent as acquire and release |
//! | sleep | under a lock: a fence, a comparison, and a wait on a condition variable, as the kernel does under its bucket lock |
//! | wake | under the same lock: notifies that condition variable |
//! | a sleep with a deadline | ends at once: everything that may happen during the sleep is also tried before it |
//!
//! The fence before a load stands for the single order of all sequentially consistent accesses, which `loom` does not
//! know: "I store here and look there, you store there and look here, so one of us sees the other". A load that is
//! weakened loses its fence, and the model fails. The kernel has a full barrier between the entry of a sleeper and its
//! comparison.
//!
//! Sleepers are woken in the order in which they arrived, as the kernel does for equal priorities.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Condvar, Mutex};

use crate::deadline::Deadline;
use crate::futex::Slept;
use crate::word::{Word32, Word64, Words};

/// The words of models.
#[derive(Debug, Default)]
pub struct Modelled;

impl Words for Modelled {
    type Word32 = ModelledWord32;
    type Word64 = ModelledWord64;
    const SPINS: bool = false;

    fn fence(order: Ordering) {
        fence(order);
    }
}

/// A word of 32 bits that can be slept on.
#[derive(Debug)]
pub struct ModelledWord32 {
    value: AtomicU32,
    /// The kernel's lock over the sleepers, and how many there are.
    sleepers: Mutex<u32>,
    woken: Condvar,
}

impl Default for ModelledWord32 {
    fn default() -> Self {
        Self { value: AtomicU32::new(0), sleepers: Mutex::new(0), woken: Condvar::new() }
    }
}

/// A word of 64 bits.
#[derive(Debug, Default)]
pub struct ModelledWord64(AtomicU64);

/// Marks a place in the single order of sequentially consistent accesses.
fn in_order(order: Ordering) {
    if order == Ordering::SeqCst {
        fence(Ordering::SeqCst);
    }
}

impl Word32 for ModelledWord32 {
    fn load(&self, order: Ordering) -> u32 {
        in_order(order);
        self.value.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.value.store(value, order);
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.value.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.value.fetch_sub(value, order)
    }

    fn swap(&self, value: u32) -> u32 {
        self.value.swap(value, Ordering::SeqCst)
    }

    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32> {
        self.value.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn sleep(&self, expected: u32, _: Duration, deadline: Deadline) -> Slept {
        // The lock of a model is never poisoned: a panic ends the model.
        let Ok(mut sleepers) = self.sleepers.lock() else { return Slept::Changed };
        fence(Ordering::SeqCst);
        if self.value.load(Ordering::Acquire) != expected {
            return Slept::Changed;
        }
        if !deadline.is_never() {
            return Slept::SliceEnded;
        }
        *sleepers = sleepers.saturating_add(1);
        drop(self.woken.wait(sleepers));
        Slept::Woken
    }

    fn wake(&self, count: u32) -> usize {
        let Ok(mut sleepers) = self.sleepers.lock() else { return 0 };
        let woken = count.min(*sleepers);
        *sleepers = sleepers.saturating_sub(woken);
        for _ in 0..woken {
            self.woken.notify_one();
        }
        usize::try_from(woken).unwrap_or(usize::MAX)
    }
}

impl Word64 for ModelledWord64 {
    fn load(&self, order: Ordering) -> u64 {
        in_order(order);
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_max(value, order)
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}
