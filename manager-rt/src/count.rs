//! Conversions of lengths, indices and times to and from the 64 bits of the protocol. Numbers that do not fit become
//! the maximum.

use std::time::Duration;

/// Converts a length or an index for the protocol.
pub(crate) fn count_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Converts a length or an index from the protocol. One that does not fit is beyond any length.
pub(crate) fn index_of(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Converts a time to nanoseconds.
pub(crate) fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
