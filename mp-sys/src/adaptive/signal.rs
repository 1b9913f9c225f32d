//! A word that several processes wait on.
//!
//! # Why no wake-up is lost
//! The poster stores the word, then looks for sleepers; the sleeper announces itself, then looks at the word (the kernel
//! does, atomically with going to sleep). All four are sequentially consistent, so at least one sees the other. A sleeper
//! that is killed leaves its announcement for ever: that costs later posts a needless system call, never a wake-up.

#[cfg(all(loom, test))]
mod models;

use std::sync::atomic::{AtomicU32, Ordering};

use crate::adaptive::{Budget, current_cpu};
use crate::deadline::Deadline;
use crate::futex::{self, Slept};
use crate::word::{Shared, Word32, Words};

/// A shared word with what its waiters need to know: who sleeps on it, and where its writer last ran.
///
/// | word | meaning |
/// |---|---|
/// | `value` | what is waited for |
/// | `sleepers` | processes in the kernel, or about to be; a hint that may be too high for ever |
/// | `writer_cpu` | CPU of the process that is expected to store `value`, plus one; 0 while unknown |
///
/// All zero is a valid start.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Signal<W: Words = Shared> {
    value: W::Word32,
    sleepers: W::Word32,
    /// A hint, and no part of the protocol: the same for all words.
    writer_cpu: AtomicU32,
}

impl<W: Words> Signal<W> {
    /// The word's value.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    /// Says that the caller, who runs here, is the one who will store the next value.
    pub fn announce_writer(&self) {
        if W::SPINS {
            self.writer_cpu.store(current_cpu().wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Stores a value and wakes every sleeper, if there are any.
    pub fn post(&self, value: u32) {
        self.announce_writer();
        self.value.store(value, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            self.value.wake(i32::MAX.unsigned_abs());
        }
    }

    /// Replaces the value by `change` of it, atomically, and wakes at most `wake` sleepers; leaves it if `change` gives
    /// `None`. Gives the value that was there.
    pub fn update(&self, wake: u32, change: impl Fn(u32) -> Option<u32>) -> u32 {
        match self.value.update(change) {
            Ok(previous) => {
                self.announce_writer();
                if wake > 0 && self.sleepers.load(Ordering::SeqCst) != 0 {
                    self.value.wake(wake);
                }
                previous
            }
            Err(found) => found,
        }
    }

    /// Stores a value that nobody waits for, and that says nothing of where the next one will come from.
    pub fn reset(&self, value: u32) {
        self.value.store(value, Ordering::SeqCst);
    }

    /// Replaces `from` by `to`, for a waiter that gives up; `false` if the word held something else.
    pub fn give_up(&self, from: u32, to: u32) -> bool {
        self.value.exchange(from, to).is_ok()
    }

    /// Waits while the word holds `value`. Returns what it holds then, `None` once `deadline` has passed.
    pub fn wait_while(&self, value: u32, budget: &Budget, deadline: Deadline) -> Option<u32> {
        let writer_cpu = || self.writer_cpu.load(Ordering::Relaxed).checked_sub(1);
        if W::SPINS && budget.spin(|| self.get() != value, writer_cpu) {
            return Some(self.get());
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let outcome = loop {
            let now = self.value.load(Ordering::SeqCst);
            if now != value {
                break Some(now);
            }
            if self.value.sleep(value, deadline) == Slept::SliceEnded {
                let changed = (self.get() != value).then(|| self.get());
                if changed.is_some() {
                    futex::count_late_wait();
                }
                if changed.is_some() || deadline.has_passed() {
                    break changed;
                }
            }
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_ends_with_its_deadline() {
        let signal: Signal = Signal::default();
        let budget = Budget::new();
        assert_eq!(signal.wait_while(0, &budget, Deadline::after(Duration::from_millis(1))), None);
        signal.post(3);
        assert_eq!(signal.wait_while(0, &budget, Deadline::NEVER), Some(3));
        assert_eq!(signal.sleepers.load(Ordering::Relaxed), 0);
    }
}
