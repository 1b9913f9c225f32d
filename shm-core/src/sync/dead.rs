//! Looking for the dead: what semaphores, conditions and barriers have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mp_sys::deadline::now_nanos;
use mp_sys::futex::SLICE;
use mp_sys::identity::Stamp;
use mp_sys::word::{Shared, Words};

/// The pause between two looks. Half a slice: waiters that began together would else leave it to each other, and to the next
/// round.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// The same where a look asks about every party. More than half a slice: of the two who watch, one asks.
pub(super) const PAUSE_OF_MANY: Duration = Duration::from_millis(30);
const _: () =
    assert!(PAUSE.as_nanos() * 2 == SLICE.as_nanos() && PAUSE_OF_MANY.as_nanos() < SLICE.as_nanos());

/// What a protocol asks about the processes around it. In a model, the model says who died.
pub(super) trait Witness<W: Words> {
    /// Whether it is the caller's turn to look for the dead. `last` is the shared time of the newest look: many waiters
    /// together do not look more often than one, and not before `pause` has passed.
    fn is_turn_to_look(&self, last: &W::Word64, pause: Duration) -> bool;

    /// One look: it answers whether the process whose stamp has these bits has died.
    fn look(&self) -> impl FnMut(u64) -> bool;
}

/// The witness of programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

impl Witness<Shared> for Kernel {
    /// `last` is in nanoseconds since boot.
    fn is_turn_to_look(&self, last: &AtomicU64, pause: Duration) -> bool {
        let (then, now) = (last.load(Ordering::Relaxed), now_nanos());
        u128::from(now.saturating_sub(then)) >= pause.as_nanos()
            && last.compare_exchange(then, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Many words have few owners, and the kernel is asked once for each.
    fn look(&self) -> impl FnMut(u64) -> bool {
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
}

/// The witness of models.
#[cfg(all(loom, test))]
pub(super) mod modelled {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use mp_sys::crash;
    use mp_sys::word::{Modelled, ModelledWord64, Word64};

    use super::Witness;

    /// Knows one process that may die; it is always somebody's turn to look.
    #[derive(Debug, Default)]
    pub(in crate::sync) struct Mortal {
        dead: ModelledWord64,
    }

    impl Mortal {
        /// The process with this stamp dies: it does nothing more.
        pub(in crate::sync) fn die(&self, stamp: u64) {
            self.dead.store(stamp, Ordering::Release);
        }
    }

    /// Runs `model` with a process that dies at its first crash point, then with one that dies at the second, … until it
    /// survives in every order.
    pub(in crate::sync) fn at_every_point(model: fn(u64, &Arc<AtomicBool>)) {
        for n in 1.. {
            let died = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&died);
            loom::model(move || model(n, &told));
            if !died.load(Ordering::Relaxed) {
                assert!(n > 1, "there is a point");
                return;
            }
        }
    }

    impl Mortal {
        /// Does what the process with this stamp does, which dies at the `n`-th point; `None` if it died.
        pub(in crate::sync) fn until<R>(
            &self,
            (n, died): (u64, &AtomicBool),
            stamp: u64,
            process: impl FnOnce() -> R,
        ) -> Option<R> {
            let outcome = crash::until(n, process);
            if outcome.is_none() {
                died.store(true, Ordering::Relaxed);
                self.die(stamp);
            }
            outcome
        }
    }

    impl Witness<Modelled> for Mortal {
        fn is_turn_to_look(&self, _: &ModelledWord64, _: Duration) -> bool {
            true
        }

        fn look(&self) -> impl FnMut(u64) -> bool {
            |bits| bits != 0 && self.dead.load(Ordering::Acquire) == bits
        }
    }
}
