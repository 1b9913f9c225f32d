//! Retries for a moment before a locker sleeps.
//!
//! The holder of a short section on another CPU has left before a sleeper would be asleep, so a locker tries again,
//! with growing pauses. The number of tries follows their success: twice as many after they paid off, a quarter as many
//! after they did not, and soon none at all (a long section, more processes than CPUs, a holder on the same CPU), with
//! a probe now and then.
//!
//! Tries are counted, not timed: reading the clock costs as much as a lock. `docs/design/waiting.md` describes what was
//! tried and measured.

use std::cell::Cell;

use crossbeam_utils::Backoff;

use crate::adaptive::{PROBE_EVERY, spinning_helps};

/// Tries of a fresh thread, and of a probe: 447 pauses, which take 4 us where a pause takes 9 ns (measured), and 20 us on
/// processors where it takes 140 cycles.
const TRIES_FIRST: u32 = 12;
/// The most tries: 959 pauses, 9 us and at most 50 us, which is [`SPIN_MAX`](crate::adaptive::SPIN_MAX).
const TRIES_MAX: u32 = 20;
/// A smaller number counts as none.
const TRIES_MIN: u32 = 3;

/// How often a thread tries again.
#[derive(Debug)]
pub(super) struct Tries {
    allowed: Cell<u32>,
    /// Waits since the thread gave up trying.
    idle: Cell<u32>,
}

impl Tries {
    pub(super) const fn new() -> Self {
        Self { allowed: Cell::new(TRIES_FIRST), idle: Cell::new(0) }
    }

    /// Tries until `is_free` returns true, or as often as is allowed, and learns from the result.
    #[inline]
    pub(super) fn until(&self, is_free: impl Fn() -> bool) {
        let allowed = self.now_allowed();
        if allowed == 0 || !spinning_helps() {
            return;
        }
        let backoff = Backoff::new();
        let paid = (0..allowed).any(|_| {
            backoff.spin();
            is_free()
        });
        self.learn(paid);
    }

    fn now_allowed(&self) -> u32 {
        if self.allowed.get() > 0 {
            return self.allowed.get();
        }
        let idle = self.idle.get().wrapping_add(1);
        let probes = idle >= PROBE_EVERY;
        self.idle.set(if probes { 0 } else { idle });
        if probes { TRIES_FIRST } else { 0 }
    }

    fn learn(&self, paid: bool) {
        let allowed = self.allowed.get();
        let next = if paid { allowed.saturating_mul(2).clamp(TRIES_FIRST, TRIES_MAX) } else { allowed / 4 };
        self.allowed.set(if next < TRIES_MIN { 0 } else { next });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries_of(tries: &Tries) -> u32 {
        let count = Cell::new(0_u32);
        tries.until(|| {
            count.set(count.get() + 1);
            false
        });
        count.get()
    }

    #[test]
    fn tries_end_when_they_do_not_pay_off_and_are_probed_again() {
        if !spinning_helps() {
            return;
        }
        let tries = Tries::new();
        tries.until(|| true);
        assert_eq!(tries_of(&tries), TRIES_MAX);
        assert_eq!(tries_of(&tries), TRIES_MAX / 4);
        let until_probe = (1..=PROBE_EVERY).position(|_| tries_of(&tries) > 0);
        assert_eq!(until_probe, Some(63), "one wait in {PROBE_EVERY} tries again");
    }
}
