//! Lengths, indices and times as the protocol has them: 64 bits, and what does not fit is the most.

use std::time::Duration;

/// A length or an index as it is told.
pub(crate) fn count_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A length or an index as this machine has it; one that does not fit is beyond any length.
pub(crate) fn index_of(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A time in nanoseconds.
pub(crate) fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
