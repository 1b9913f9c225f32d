//! How a lane is called while it sleeps on its words.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mp_sys::deadline::Deadline;
use mp_sys::futex;

/// The word that lets a lane look at its queues again.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicU32,
    sleeps: AtomicBool,
}

impl Bell {
    /// How often the bell rang.
    pub(super) fn rung(&self) -> u32 {
        self.rung.load(Ordering::SeqCst)
    }

    /// Sleeps until the bell rings, another word changes, or `deadline`. `rung` is what the bell held before the caller
    /// looked at its queues.
    ///
    /// A ringer changes the word and then looks whether the lane sleeps. The lane says that it sleeps, and then the kernel
    /// looks at the word. So one of them sees the other.
    pub(super) fn sleep<'a>(
        &'a self,
        rung: u32,
        words: impl Iterator<Item = (&'a AtomicU32, u32)>,
        deadline: Deadline,
    ) -> futex::Slept {
        self.sleeps.store(true, Ordering::SeqCst);
        let slept = futex::wait_any(std::iter::once((&self.rung, rung)).chain(words), deadline);
        self.sleeps.store(false, Ordering::SeqCst);
        slept
    }

    /// Lets the lane look, if it sleeps.
    pub(super) fn ring(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        if self.sleeps.load(Ordering::SeqCst) {
            futex::wake(&self.rung, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bell_ends_a_sleep_that_has_begun_or_is_about_to_begin() {
        let bell = Bell::default();
        let patience = Deadline::after(Duration::from_secs(30));
        let rung = bell.rung();
        bell.ring();
        assert_eq!(bell.sleep(rung, std::iter::empty(), patience), futex::Slept::Changed);
        let rung = bell.rung();
        std::thread::scope(|scope| {
            let slept = scope.spawn(|| bell.sleep(rung, std::iter::empty(), patience));
            bell.ring();
            assert_ne!(slept.join().unwrap(), futex::Slept::SliceEnded);
        });
    }
}
