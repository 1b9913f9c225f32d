//! Looking for the dead: what semaphores and conditions have in common.

use std::sync::atomic::{AtomicU64, Ordering};

use mp_sys::deadline::now_nanos;
use mp_sys::futex::SLICE;
use mp_sys::identity::Stamp;

/// Whether it is the caller's turn to look for the dead. `last` is the shared time of the newest look, in nanoseconds since
/// boot: many waiters together do not look more often than one.
pub(super) fn is_turn_to_look(last: &AtomicU64) -> bool {
    let (then, now) = (last.load(Ordering::Relaxed), now_nanos());
    // Half a slice: waiters that began together would else leave it to each other, and to the next round.
    let half_slice = u64::try_from(SLICE.as_nanos() / 2).unwrap_or(u64::MAX);
    now.saturating_sub(then) >= half_slice
        && last.compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// The answers of one look: many words have few owners, and the kernel is asked once for each.
#[derive(Debug, Default)]
pub(super) struct Look {
    known: Vec<(u64, bool)>,
}

impl Look {
    /// Whether the process whose stamp has these bits has died.
    pub(super) fn is_dead(&mut self, bits: u64) -> bool {
        if let Some((_, is_dead)) = self.known.iter().find(|(stamp, _)| *stamp == bits) {
            return *is_dead;
        }
        let is_dead = Stamp::from_bits(bits).is_some_and(|stamp| !stamp.is_alive());
        self.known.push((bits, is_dead));
        is_dead
    }
}
