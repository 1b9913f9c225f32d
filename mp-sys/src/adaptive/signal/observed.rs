//! A word that a thread watches among others, on behalf of tasks ([`futex::wait_any`](crate::futex::wait_any)).
//!
//! To a process that stores the word, such an observer is a sleeper like any other: it is counted, and one wake-up
//! reaches it or another sleeper. So an observer that needs a wake-up for nobody passes it on ([`Signal::nudge`]).

use std::sync::atomic::{AtomicU32, Ordering};

use super::{ALL, Signal};

impl Signal {
    /// The word, to sleep on.
    #[must_use]
    pub fn word(&self) -> &AtomicU32 {
        &self.value
    }

    /// Counts an observer among the sleepers. It looks at the word afterwards: a change before that may wake nobody.
    pub fn begin_observing(&self) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends what [`begin_observing`](Self::begin_observing) began.
    pub fn end_observing(&self) {
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes all sleepers, for an observer that found a change for which nobody woke it: the process that stored the
    /// word died before it woke anybody, or the process that was woken died.
    pub fn wake_late(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 1 {
            crate::futex::wake(&self.value, ALL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deadline::Deadline;
    use crate::futex::{Slept, wait_any};

    #[test]
    fn a_post_wakes_an_observer() {
        let signal: Signal = Signal::default();
        signal.begin_observing();
        std::thread::scope(|scope| {
            let slept = scope.spawn(|| {
                let patience = Deadline::after(Duration::from_secs(30));
                wait_any([(signal.word(), 0)].into_iter(), patience)
            });
            signal.post(3);
            assert!(matches!(slept.join().unwrap(), Slept::Woken | Slept::Changed));
        });
        signal.end_observing();
        assert_eq!(signal.sleepers.load(Ordering::Relaxed), 0);
    }
}
