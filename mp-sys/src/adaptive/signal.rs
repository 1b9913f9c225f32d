//! A word that several processes wait on.
//!
//! # Why no wake-up is lost
//! The poster stores the word and then looks for sleepers. The sleeper announces itself and then looks at the word (the
//! kernel does, atomically with going to sleep). All four accesses are sequentially consistent, so at least one side
//! sees the other. A sleeper that is killed leaves its announcement for ever. That costs later posts a needless system
//! call, but never a wake-up.

#[cfg(all(mp_loom, test))]
mod models;
mod observed;

use std::sync::atomic::Ordering;

use crate::adaptive::Budget;
use crate::adaptive::watch::{Crowd, Sleeper, Watch};
use crate::adaptive::writers::Writers;
use crate::deadline::Deadline;
use crate::futex::{self, Slept};
use crate::word::{Shared, Word32, Words};

/// A shared word, together with what its waiters need to know: who sleeps on it, and where its writers last ran.
///
/// | word | meaning |
/// |---|---|
/// | `value` | what waiters wait for |
/// | `sleepers` | processes that sleep or are about to; a hint that may stay too high for ever |
/// | `writers` | where the processes that are expected to store `value` last ran |
/// | `watch` | which of its sleepers wake up often |
///
/// All zeros are a valid start.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Signal<W: Words = Shared> {
    value: W::Word32,
    sleepers: W::Word32,
    /// These are hints, and not part of the protocol: they are the same for all words.
    writers: Writers,
    watch: Watch<W>,
}

/// All sleepers.
const ALL: u32 = i32::MAX.unsigned_abs();

impl<W: Words> Signal<W> {
    /// The word's value.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    /// Announces that the caller, on its current CPU, will store the next value.
    pub fn announce_writer(&self) {
        if W::SPINS {
            self.writers.announce();
        }
    }

    /// Stores a value and wakes every sleeper, if there are any.
    pub fn post(&self, value: u32) {
        self.announce_writer();
        self.value.store(value, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            self.value.wake(ALL);
        }
    }

    /// Replaces the value by what `change` returns for it, atomically, and wakes at most `wake` sleepers; leaves it if
    /// `change` returns `None`. Returns the value that was there. With `wake` 0, nobody waits for this value, and the
    /// call does not record where the next value will come from.
    pub fn update(&self, wake: u32, change: impl Fn(u32) -> Option<u32>) -> u32 {
        match self.value.update(change) {
            Ok(previous) => {
                if wake > 0 {
                    self.announce_writer();
                    if self.sleepers.load(Ordering::SeqCst) != 0 {
                        self.value.wake(wake);
                    }
                }
                previous
            }
            Err(found) => found,
        }
    }

    /// Adds one to the value, atomically, and wakes at most `wake` sleepers.
    #[inline]
    pub fn advance(&self, wake: u32) {
        self.value.fetch_add(1, Ordering::SeqCst);
        self.announce_writer();
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            self.value.wake(wake);
        }
    }

    /// Stores a value that nobody waits for, without recording where the next value will come from.
    pub fn reset(&self, value: u32) {
        self.value.store(value, Ordering::SeqCst);
    }

    /// Replaces `from` by `to`, for a waiter that gives up; returns `false` if the word held something else.
    pub fn give_up(&self, from: u32, to: u32) -> bool {
        self.value.exchange(from, to).is_ok()
    }

    /// Which of the sleepers wake up often, and when a process last looked for the dead.
    #[inline]
    pub fn watch(&self) -> &Watch<W> {
        &self.watch
    }

    /// Returns a sleeper that begins to wait for this word, in slices.
    #[inline]
    pub fn sleeper(&self) -> Sleeper<'_, &Self, W> {
        Sleeper::new(&self.watch, self)
    }

    /// Waits while the word holds `value`. Returns what it holds then, or `None` once `deadline` has passed.
    pub fn wait_while(&self, value: u32, budget: &Budget, deadline: Deadline) -> Option<u32> {
        let mut sleeper = self.sleeper();
        loop {
            let changed = self.wait_slice(value, budget, deadline, &mut sleeper);
            if changed.is_some() || deadline.has_passed() {
                return changed;
            }
        }
    }

    /// Waits as [`wait_while`](Self::wait_while) does, but also returns `None` when the sleeper's slice has ended (a
    /// signal ends it early). For callers that look after others at that time.
    pub fn wait_slice(
        &self,
        value: u32,
        budget: &Budget,
        deadline: Deadline,
        sleeper: &mut Sleeper<'_, impl Crowd, W>,
    ) -> Option<u32> {
        self.look_and_wait_slice(value, budget, deadline, sleeper, || ())
    }

    /// Waits as [`wait_slice`](Self::wait_slice) does, and calls `look` before the first sleep, if spinning did not pay
    /// off. What `look` finds may change the word, and then nobody sleeps.
    pub fn look_and_wait_slice(
        &self,
        value: u32,
        budget: &Budget,
        deadline: Deadline,
        sleeper: &mut Sleeper<'_, impl Crowd, W>,
        look: impl FnOnce(),
    ) -> Option<u32> {
        // A waiter that has slept for a slice waits for something that takes longer than any spin.
        let spins = W::SPINS && sleeper.is_fresh();
        if spins && budget.spin(|| self.get() != value, || self.writers.peer_cpu()) {
            return Some(self.get());
        }
        if sleeper.is_to_look() {
            look();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let outcome = self.sleep_slice(value, deadline, sleeper);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    fn sleep_slice(
        &self,
        value: u32,
        deadline: Deadline,
        sleeper: &mut Sleeper<'_, impl Crowd, W>,
    ) -> Option<u32> {
        loop {
            let now = self.value.load(Ordering::SeqCst);
            if now != value {
                return Some(now);
            }
            let slept = self.value.sleep(value, sleeper.next_slice(), deadline);
            if !slept.is_over() {
                // The waiter was woken, or called to watch: it looks, and sleeps on.
                continue;
            }
            sleeper.slept_through();
            let now = self.get();
            if now == value {
                return None;
            }
            if slept == Slept::Interrupted {
                return Some(now);
            }
            futex::count_late_wait();
            // The process that stored the value died before it woke anybody, or the woken process died. The others may
            // be at rest.
            if self.sleepers.load(Ordering::SeqCst) > 1 {
                self.value.wake(ALL);
            }
            return Some(now);
        }
    }

    /// Wakes one sleeper, so that it checks whether it has to watch.
    pub fn nudge(&self) {
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.value.wake(1);
        }
    }
}

/// The processes that sleep on the same word.
impl<W: Words> Crowd for &Signal<W> {
    fn count(&self) -> u32 {
        self.sleepers.load(Ordering::Relaxed)
    }

    fn call(&self) {
        self.nudge();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_waiter_looks_once_before_it_sleeps() {
        let signal: Signal = Signal::default();
        let (budget, mut sleeper) = (Budget::none(), signal.sleeper());
        let mut looks = 0;
        let mut wait = |value| {
            let deadline = Deadline::after(Duration::from_millis(1));
            signal.look_and_wait_slice(value, &budget, deadline, &mut sleeper, || looks += 1)
        };
        assert_eq!(wait(1), Some(0), "it spun, and had nothing to wait for");
        assert_eq!([wait(0), wait(0)], [None, None]);
        assert_eq!(looks, 1);
        let seen = signal.look_and_wait_slice(0, &budget, Deadline::NEVER, &mut signal.sleeper(), || {
            signal.post(3);
        });
        assert_eq!(seen, Some(3), "what the look changed is seen");
    }

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
