//! An answer that a process finds out once, without making any thread wait for it.

use std::sync::atomic::{AtomicU8, Ordering};

/// Yes, no, or not known yet.
///
/// This is not a `OnceLock`: a child that was forked while another thread was finding out would wait for that thread
/// for ever. Here two threads may both find out, and find the same answer.
#[derive(Debug)]
pub(crate) struct Known(AtomicU8);

const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

impl Known {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(UNKNOWN))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => None,
            answer => Some(answer == YES),
        }
    }

    #[inline]
    pub(crate) fn or_find_out(&self, find_out: impl FnOnce() -> bool) -> bool {
        self.get().unwrap_or_else(|| {
            let answer = find_out();
            self.0.store(if answer { YES } else { NO }, Ordering::Relaxed);
            answer
        })
    }
}
