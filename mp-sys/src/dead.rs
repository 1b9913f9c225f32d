//! Looking for the dead: for protocols whose holders' deaths nobody tells of, so that who waits has to look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::deadline::now_nanos;
use crate::futex::SLICE;
use crate::identity::Stamp;

/// The pause between two looks. Half a slice: waiters that began together would else leave it to each other, and to the next
/// round.
pub const PAUSE: Duration = Duration::from_millis(20);
const _: () = assert!(PAUSE.as_nanos() * 2 == SLICE.as_nanos());

/// Whether it is the caller's turn to look. `last` is the shared time of the newest look, in nanoseconds since boot: many
/// waiters together do not look more often than one, and not before `pause` has passed.
pub fn is_turn_to_look(last: &AtomicU64, pause: Duration) -> bool {
    let (then, now) = (last.load(Ordering::Relaxed), now_nanos());
    u128::from(now.saturating_sub(then)) >= pause.as_nanos()
        && last.compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// One look: it answers whether the process whose stamp has these bits has died. Many words have few owners, and the kernel
/// is asked once for each.
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
