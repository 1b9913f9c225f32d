//! Looks for dead processes, for protocols in which nothing reports the death of a holder, so that waiters have to
//! look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::deadline::SharedTime;
use crate::futex::SLICE;
use crate::identity::Stamp;

/// The pause between two looks. It is half a slice: otherwise, waiters that began together would each leave the look to
/// the others, and then to the next round.
pub const PAUSE: Duration = Duration::from_millis(20);
const _: () = assert!(PAUSE.as_nanos() * 2 == SLICE.as_nanos());

/// Whether it is the caller's turn to look. `last` holds the [`SharedTime`] of the newest look: many waiters together
/// do not look more often than one, and not before `pause` has passed.
pub fn is_turn_to_look(last: &AtomicU64, pause: Duration) -> bool {
    let then = last.load(Ordering::Relaxed);
    // A process that waits for a moment comes by again and again.
    if SharedTime::from_bits(then).is_surely_younger_than(pause) {
        return false;
    }
    is_turn_at(last, then, SharedTime::now(), pause)
}

fn is_turn_at(last: &AtomicU64, then: u64, now: SharedTime, pause: Duration) -> bool {
    SharedTime::from_bits(then).age_at(now) >= pause
        && last.compare_exchange(then, now.to_bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Starts one look. The closure returns whether the process whose stamp has these bits has died. Many words have few
/// owners, and the kernel is asked once for each owner.
pub fn look() -> impl FnMut(u64) -> bool {
    let mut known: Vec<(u64, bool)> = Vec::new();
    move |bits| {
        if let Some((_, is_dead)) = known.iter().find(|(stamp, _)| *stamp == bits) {
            return *is_dead;
        }
        let is_dead = Stamp::from_bits(bits).is_some_and(|stamp| !stamp.is_alive());
        known.push((bits, is_dead));
        is_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_waiters_looks_and_only_after_the_pause() {
        let (last, now) = (AtomicU64::new(0), SharedTime::from_bits(50_000_000));
        assert!(is_turn_at(&last, 0, now, PAUSE), "nobody has looked");
        assert!(!is_turn_at(&last, 0, now, PAUSE), "somebody else was first");
        let look = |nanos| {
            let then = last.load(Ordering::Relaxed);
            is_turn_at(&last, then, SharedTime::from_bits(nanos), PAUSE)
        };
        assert!(!look(69_999_999));
        assert!(look(70_000_000));
    }

    #[test]
    fn a_look_by_a_clock_that_is_ahead_keeps_nobody_from_looking() {
        let last = AtomicU64::new(SharedTime::now().to_bits() + 100_000_000_000_000);
        assert!(is_turn_to_look(&last, PAUSE));
        assert!(!is_turn_to_look(&last, Duration::MAX), "the stored time is by this clock again");
    }
}
