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

/// Returns how many bytes an entry of a B-tree takes at most. Its nodes have room for 11 entries, and hold at least 5.
#[cfg(feature = "server")]
pub(crate) const fn in_tree<T>() -> usize {
    const ROOM: usize = 11;
    const LEAST: usize = 5;
    const NODE_BYTES: usize = 64;
    size_of::<T>().saturating_mul(ROOM).saturating_add(NODE_BYTES) / LEAST
}
