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

impl Core {
    /// Takes the producers' lock. A holder keeps it for one copy, so even a caller that does not want to wait waits for
    /// that copy, but for at most one slice, in case the holder is stopped.
    #[inline(always)]
    pub(in crate::queue) fn produce(&self, patience: Patience) -> Result<Producer<'_>, AcquireError> {
        match Producer::lock(&self.ring, patience) {
            Ok(producer) => Ok(producer),
            Err(error) => self.produce_again(error),
        }
    }

    #[cold]
    fn produce_again(&self, error: AcquireError) -> Result<Producer<'_>, AcquireError> {
        match error {
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
            Err(error) => self.consume_again(error),
        }
    }

    #[cold]
    fn consume_again(&self, error: AcquireError) -> Result<Consumer<'_>, AcquireError> {
        match error {
            AcquireError::WouldBlock => {
                Consumer::lock(&self.ring, Patience::Until(Deadline::after(SLICE))).map_err(would_block)
            }
            other => Err(other),
        }
    }
}

/// Turns a timeout back into `WouldBlock`, since the caller did not want to wait.
fn would_block(error: AcquireError) -> AcquireError {
    if error == AcquireError::TimedOut { AcquireError::WouldBlock } else { error }
}
