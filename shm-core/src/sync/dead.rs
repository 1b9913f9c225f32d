//! The search for dead processes that semaphores, conditions and barriers share.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mp_sys::dead;
pub(super) use mp_sys::dead::PAUSE;
use mp_sys::futex::SLICE;
use mp_sys::word::{Shared, Words};

/// The pause between two looks of which each asks about every party. It is more than half a slice, so that one of the two
/// watchers asks.
pub(super) const PAUSE_OF_MANY: Duration = Duration::from_millis(30);
const _: () = assert!(PAUSE_OF_MANY.as_nanos() < SLICE.as_nanos());

/// How much each word adds to the pause before a look that precedes a first sleep. Even short waits pass that point, so such
/// looks go on for as long as an object is used, and each process that a look asks about takes 2 us. With this pause, the
/// looks take a tenth of one waiter's time at most, and mostly a thousandth.
const PAUSE_EACH: Duration = Duration::from_micros(20);

/// Returns the pause between the newest look and one that precedes a first sleep and looks at so many words.
pub(super) fn pause_before_sleep(pause: Duration, words: usize) -> Duration {
    pause.saturating_add(PAUSE_EACH.saturating_mul(u32::try_from(words).unwrap_or(u32::MAX)))
}

/// The source of a protocol's knowledge about dead processes. In a model, the model says which processes died.
pub(super) trait Witness<W: Words> {
    /// Returns whether it is the caller's turn to look for the dead. `last` holds the `SharedTime` of the newest look, so
    /// many waiters together do not look more often than one, nor before `pause` has passed.
    fn is_turn_to_look(&self, last: &W::Word64, pause: Duration) -> bool;

    /// Begins a look, which answers whether the process whose stamp has these bits has died.
    fn look(&self) -> impl FnMut(u64) -> bool;
}

/// The witness of programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

impl Witness<Shared> for Kernel {
    fn is_turn_to_look(&self, last: &AtomicU64, pause: Duration) -> bool {
        dead::is_turn_to_look(last, pause)
    }

    fn look(&self) -> impl FnMut(u64) -> bool {
        dead::look()
    }
}

/// The witness of models.
#[cfg(all(mp_loom, test))]
pub(super) mod modelled {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use mp_sys::crash;
    use mp_sys::word::{Modelled, ModelledWord64, Word64};

    use super::Witness;

    /// A witness of one process that may die. It is always the caller's turn to look.
    #[derive(Debug, Default)]
    pub(in crate::sync) struct Mortal {
        dead: ModelledWord64,
    }

    impl Mortal {
        /// Lets the process with this stamp die: it does nothing more.
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
        /// Runs the process with this stamp, which dies at the `n`-th point. Returns `None` if it died.
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
