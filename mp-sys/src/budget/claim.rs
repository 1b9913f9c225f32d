//! Bytes that are taken from the configured limit, and bytes that will soon be taken from the machine.
//!
//! Every process has its own two counts; a fork copies them, and what is inherited stays counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::limit;
use crate::memory::MemoryError;

/// Bytes that this process has or is about to have.
static CLAIMED: AtomicU64 = AtomicU64::new(0);
/// The part of them that is about to be reserved: the machine still counts it as available.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);

/// Bytes of the configured limit that belong to the holder of this value, and return to the limit when it is dropped.
#[derive(Debug, Default)]
#[must_use = "the bytes of a dropped claim no longer count"]
pub struct Claim {
    bytes: u64,
}

impl Claim {
    /// Takes `bytes` bytes from the configured limit, in one step with the look at what is left.
    ///
    /// # Errors
    /// [`MemoryError::NoSpace`]; nothing is taken then.
    pub(crate) fn of(bytes: u64) -> Result<Self, MemoryError> {
        let limit = limit().unwrap_or(u64::MAX);
        // More may be claimed already than a limit that was set later allows. Then nothing more is taken, but 0 bytes
        // are.
        let claim = |claimed: u64| claimed.checked_add(bytes).filter(|after| bytes == 0 || *after <= limit);
        match CLAIMED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim) {
            Ok(_) => Ok(Self { bytes }),
            Err(claimed) => {
                Err(MemoryError::NoSpace { wanted: bytes, available: limit.saturating_sub(claimed) })
            }
        }
    }

    /// Passes to the caller the duty to [`give_up`] the bytes.
    pub(crate) fn into_bytes(mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        give_up(self.bytes);
    }
}

/// The number of claimed bytes.
pub(super) fn claimed() -> u64 {
    CLAIMED.load(Ordering::Relaxed)
}

/// Returns bytes of a claim to the limit.
pub(crate) fn give_up(bytes: u64) {
    if bytes > 0 {
        CLAIMED.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Replaces `before` bytes of a claim by `after`, whatever the limit.
pub(crate) fn count_anyway(before: u64, after: u64) {
    // In one step, so that no thread counts both or neither.
    CLAIMED.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
}

/// Bytes that this thread is about to reserve.
#[derive(Debug)]
pub(crate) struct UnderWay {
    bytes: u64,
    /// What others were about to reserve when this thread arrived: the first to arrive has precedence.
    before: u64,
}

impl UnderWay {
    pub(crate) fn begin(bytes: u64) -> Self {
        Self { bytes, before: UNDER_WAY.fetch_add(bytes, Ordering::Relaxed) }
    }

    /// The most bytes that others, who arrived first, are still about to reserve.
    pub(crate) fn by_others(&self) -> u64 {
        UNDER_WAY.load(Ordering::Relaxed).saturating_sub(self.bytes).min(self.before)
    }

    /// Records that some bytes are reserved: the machine counts them now.
    pub(crate) fn done(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        UNDER_WAY.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.done(self.bytes);
    }
}

/// Clears, in a forked child, the bytes that other threads were about to reserve: the child does not have those
/// threads.
pub(crate) fn forget_other_threads() {
    // The page is copied only if there is something to clear.
    if UNDER_WAY.load(Ordering::Relaxed) > 0 {
        give_up(UNDER_WAY.swap(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thread_to_ask_has_precedence() {
        let mut first = UnderWay::begin(1 << 40);
        let second = UnderWay::begin(1 << 30);
        assert!(first.by_others() < 1 << 30);
        assert!(second.by_others() >= 1 << 40);
        first.done(1 << 39);
        assert!((1 << 39..1 << 40).contains(&second.by_others()), "{first:?}");
        drop(first);
        assert!(second.by_others() < 1 << 39);
    }
}
