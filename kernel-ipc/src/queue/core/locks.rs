//! Taking the two locks of a queue.
//!
//! The code that takes a free lock is inlined into the caller, and everything else is in a separate function. With a call
//! in between, the guard would go through memory, and an item between two CPUs would take half as long again (145 ns
//! instead of 97).

use mp_sys::deadline::Deadline;
use mp_sys::futex::SLICE;
use mp_sys::robust::{AcquireError, Patience};

use crate::queue::consumer::Consumer;
use crate::queue::core::Core;
use crate::queue::producer::Producer;

/// How often a task tries to take a lock in a row while the holder may be running.
const BRIEF_TRIES: u32 = 8;
/// How often it then lets other threads of this CPU run.
const YIELDING_TRIES: u32 = 4;
/// Spin-loop turns between two of them.
const TURNS_BETWEEN: u32 = 16;

impl Core {
    /// Takes the producers' lock. A holder keeps it for one copy, so even a caller that does not want to wait waits for
    /// that copy, but for at most one slice, in case the holder is stopped.
    #[inline(always)]
    pub(in crate::queue) fn produce(&self, patience: Patience) -> Result<Producer<'_>, AcquireError> {
        match Producer::lock(&self.ring, patience) {
            Ok(producer) => Ok(producer),
            Err(error) => self.produce_again(error, patience),
        }
    }

    #[cold]
    fn produce_again(&self, error: AcquireError, patience: Patience) -> Result<Producer<'_>, AcquireError> {
        match error {
            AcquireError::WouldBlock if patience == Patience::TryOnce => {
                try_briefly(|| Producer::lock(&self.ring, Patience::None))
            }
            AcquireError::WouldBlock => {
                Producer::lock(&self.ring, Patience::Until(Deadline::after(SLICE))).map_err(would_block)
            }
            other => Err(other),
        }
    }

    /// Takes the consumers' lock, in the same way as [`produce`](Self::produce).
    #[inline(always)]
    pub(in crate::queue) fn consume(&self, patience: Patience) -> Result<Consumer<'_>, AcquireError> {
        match Consumer::lock(&self.ring, patience) {
            Ok(consumer) => Ok(consumer),
            Err(error) => self.consume_again(error, patience),
        }
    }

    #[cold]
    fn consume_again(&self, error: AcquireError, patience: Patience) -> Result<Consumer<'_>, AcquireError> {
        match error {
            AcquireError::WouldBlock if patience == Patience::TryOnce => {
                try_briefly(|| Consumer::lock(&self.ring, Patience::None))
            }
            AcquireError::WouldBlock => {
                Consumer::lock(&self.ring, Patience::Until(Deadline::after(SLICE))).map_err(would_block)
            }
            other => Err(other),
        }
    }
}

/// Tries for about the time of one copy of a small item: a holder that runs is done by then. After that, it lets the holder run
/// if it waits for this CPU. A holder that is still not done may be stopped, and a task must not wait for it.
fn try_briefly<T>(mut lock: impl FnMut() -> Result<T, AcquireError>) -> Result<T, AcquireError> {
    for attempt in 0..BRIEF_TRIES + YIELDING_TRIES {
        if attempt < BRIEF_TRIES {
            (0..TURNS_BETWEEN).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::yield_now();
        }
        match lock() {
            Err(AcquireError::WouldBlock) => {}
            outcome => return outcome,
        }
    }
    Err(AcquireError::WouldBlock)
}

/// Turns a timeout back into `WouldBlock`, since the caller did not want to wait.
fn would_block(error: AcquireError) -> AcquireError {
    if error == AcquireError::TimedOut { AcquireError::WouldBlock } else { error }
}
