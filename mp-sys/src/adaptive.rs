//! A wait that works well whether or not the peers share a CPU.
//!
//! Waking an idle core takes 25-40 us on a virtual machine; a spinning peer answers in a third of a microsecond. But if
//! both run on one CPU, spinning only keeps the peer from running. So a waiter spins while the peer that it waits for
//! last ran on another CPU, and sleeps at once if the peer last ran on its own. Each side stores the number of its CPU
//! beside the word before it waits.
//!
//! The budget of a spin grows while spinning pays off, up to [`SPIN_MAX`], and falls to zero when it does not (more
//! runnable processes than CPUs). At zero, one wait in [`PROBE_EVERY`] tries again. There is no spinning at all on a
//! machine with one CPU, nor under a cgroup quota below two CPUs, where a spin burns the time that the peer needs.

mod signal;
mod watch;
mod writers;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_utils::Backoff;

pub use self::signal::Signal;
pub use self::watch::{Crowd, REST_MAX, Sleeper, Watch};
use crate::cgroup;
pub use crate::cpu::current_cpu;
use crate::deadline::now_nanos;
use crate::known::Known;

/// The longest single spin.
pub const SPIN_MAX: Duration = Duration::from_micros(50);
/// The spin that a fresh [`Budget`] allows, and that a probe tries.
pub const SPIN_FIRST: Duration = Duration::from_micros(10);
/// Waits without spinning between two probes, after spinning did not pay off.
pub const PROBE_EVERY: u32 = 64;
/// A budget below this counts as zero: it is shorter than the two clock readings that a spin needs.
const SPIN_MIN_NANOS: u32 = 500;
const SPIN_MAX_NANOS: u32 = 50_000;
const SPIN_FIRST_NANOS: u32 = 10_000;

/// How long the next spin may be. There is one per waiting place and process, or per thread; processes never share one.
///
/// Threads that share one may overwrite what another thread learnt. The budget is only a guess in any case.
#[derive(Debug)]
pub struct Budget {
    nanos: AtomicU32,
    /// Waits since the owner gave up spinning.
    idle: AtomicU32,
    /// Looks with the shortest pauses, before the pauses start to grow.
    first_looks: u32,
}

impl Clone for Budget {
    /// Makes a budget for another waiter, which begins with what this one has learnt.
    fn clone(&self) -> Self {
        let nanos = AtomicU32::new(self.nanos.load(Ordering::Relaxed));
        Self { nanos, idle: AtomicU32::new(0), first_looks: self.first_looks }
    }
}

impl Budget {
    /// Makes a budget that starts by trying.
    #[must_use]
    pub const fn new() -> Self {
        Self { nanos: AtomicU32::new(SPIN_FIRST_NANOS), idle: AtomicU32::new(0), first_looks: FIRST_LOOKS }
    }

    /// Makes a budget for a waiter that needs a lock as soon as it goes on. Its pauses grow from the beginning, so that
    /// the process that lets it go on has released that lock by then.
    #[must_use]
    pub const fn before_a_lock() -> Self {
        Self { first_looks: 0, ..Self::new() }
    }

    /// Makes a budget that is used up, for a waiter that already knows that spinning does not help.
    #[must_use]
    pub const fn none() -> Self {
        Self { nanos: AtomicU32::new(0), ..Self::new() }
    }

    /// Spins until `done` returns true or until the budget is used up, and learns from the result. Returns `false` if
    /// the caller should sleep now.
    ///
    /// `done` is not called again after it has returned true.
    ///
    /// `peer_cpu` returns the CPU that the other side last ran on, if that is known; it is called again while spinning.
    pub fn spin(&self, mut done: impl FnMut() -> bool, peer_cpu: impl Fn() -> Option<u32>) -> bool {
        if done() {
            return true;
        }
        let allowed = self.allowed();
        if allowed == 0 || !spinning_helps() || shares_cpu(&peer_cpu) {
            return false;
        }
        let end = now_nanos().saturating_add(u64::from(allowed));
        // A peer that is already working on it answers in a fraction of a microsecond. The pauses grow only after that.
        if (0..self.first_looks).any(|_| {
            std::hint::spin_loop();
            done()
        }) {
            self.learn(true);
            return true;
        }
        let paid = loop {
            let backoff = Backoff::new();
            // `done` is not called again after it has returned true: it may be a read, which takes what it finds.
            let is_done = (0..ROUNDS_PER_LOOK).any(|_| {
                let is_done = done();
                if !is_done {
                    backoff.spin();
                }
                is_done
            });
            if is_done || done() {
                break true;
            }
            if now_nanos() >= end || shares_cpu(&peer_cpu) {
                break false;
            }
        };
        self.learn(paid);
        paid
    }

    fn allowed(&self) -> u32 {
        let nanos = self.nanos.load(Ordering::Relaxed);
        if nanos > 0 {
            return nanos;
        }
        let idle = self.idle.load(Ordering::Relaxed).wrapping_add(1);
        if idle < PROBE_EVERY {
            self.idle.store(idle, Ordering::Relaxed);
            return 0;
        }
        self.idle.store(0, Ordering::Relaxed);
        SPIN_FIRST_NANOS
    }

    fn learn(&self, paid: bool) {
        let nanos = self.nanos.load(Ordering::Relaxed);
        let next =
            if paid { nanos.saturating_mul(2).clamp(SPIN_FIRST_NANOS, SPIN_MAX_NANOS) } else { nanos / 4 };
        self.nanos.store(if next < SPIN_MIN_NANOS { 0 } else { next }, Ordering::Relaxed);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Looks at the word between two readings of the clock and the CPUs: 191 pauses, 1.8 us where a pause takes 9 ns.
const ROUNDS_PER_LOOK: u32 = 8;
/// Looks at the word before the first pause that is longer than one step.
const FIRST_LOOKS: u32 = 16;

fn shares_cpu(peer_cpu: &impl Fn() -> Option<u32>) -> bool {
    peer_cpu().is_some_and(|cpu| cpu == current_cpu())
}

static SPINNING_HELPS: Known = Known::new();

/// Whether this machine and this process's quota allow two processes to run at the same time.
pub(crate) fn spinning_helps() -> bool {
    SPINNING_HELPS.or_find_out(|| {
        let quota_allows = cgroup::cpu_quota().is_none_or(|cpus| cpus >= 2.0);
        quota_allows && online_cpus() > 1
    })
}

/// Whether [`spinning_helps`] no longer needs to read files.
pub(crate) fn spinning_is_known() -> bool {
    SPINNING_HELPS.get().is_some()
}

/// CPUs of the machine. The affinity of this process does not count: a process pinned to one CPU has peers on the
/// others.
fn online_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    count_cpus(&text).unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Counts the entries of a list in the kernel's format: "0-3,8".
fn count_cpus(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0_usize, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_budget_falls_to_zero_and_probes_again() {
        let budget = Budget::new();
        assert_eq!(budget.allowed(), SPIN_FIRST_NANOS);
        while budget.nanos.load(Ordering::Relaxed) > 0 {
            budget.learn(false);
        }
        let waits = (1..=PROBE_EVERY).position(|_| budget.allowed() > 0);
        assert_eq!(waits, Some(63), "one wait in {PROBE_EVERY} spins");
        budget.learn(true);
        assert_eq!(budget.allowed(), SPIN_FIRST_NANOS);
        for _ in 0..10 {
            budget.learn(true);
        }
        assert_eq!(budget.allowed(), SPIN_MAX_NANOS);
        assert_eq!(u128::from(SPIN_MAX_NANOS), SPIN_MAX.as_nanos());
        assert_eq!(u128::from(SPIN_FIRST_NANOS), SPIN_FIRST.as_nanos());
    }

    #[test]
    fn no_spin_beside_a_peer_on_the_same_cpu() {
        let budget = Budget::new();
        let looks = Cell::new(0_u32);
        let look = || {
            looks.set(looks.get() + 1);
            false
        };
        // The kernel may move the test between CPUs, so the peer follows it.
        assert!(!budget.spin(look, || Some(current_cpu())));
        assert!(looks.get() <= ROUNDS_PER_LOOK + 2, "{} looks", looks.get());
    }

    #[test]
    fn done_is_not_called_again_after_it_returned_true() {
        for last in 1..300_u32 {
            let looks = Cell::new(0_u32);
            let look = || {
                looks.set(looks.get() + 1);
                looks.get() == last
            };
            let spun = Budget::new().spin(look, || None);
            assert!(looks.get() <= last, "{} of {last} looks", looks.get());
            // It may give up earlier if the test does not get the CPU.
            assert_eq!(spun, looks.get() == last, "{} of {last} looks", looks.get());
        }
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count_cpus("0-1\n"), Some(2));
        assert_eq!(count_cpus("0,2-3,8"), Some(4));
        assert_eq!(count_cpus("none"), None);
    }
}
