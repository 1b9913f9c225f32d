//! Why a packet was not sent or received.

use crate::OsError;

/// Why a packet was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendFailure {
    /// No process can receive it.
    Closed,
    /// There was no room for as long as the caller was willing to wait.
    Full,
    /// The packet is too long for this socket, however much room there is.
    TooLong,
    /// The packet has more than [`DESCRIPTORS_MAX`](super::DESCRIPTORS_MAX) descriptors.
    TooManyDescriptors,
    /// This user has too many descriptors in transit in sockets.
    DescriptorsInFlight,
    /// The kernel returned another error.
    System(OsError),
}

/// Why there is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveFailure {
    /// No process can send any more, and all that was sent has been received.
    Closed,
    /// There was none for as long as the caller was willing to wait.
    Empty,
    /// A packet arrived that does not have this format. It is lost.
    Malformed(&'static str),
    /// A packet arrived with descriptors that this process has no room for. It is lost.
    OutOfDescriptors,
    /// The kernel returned another error.
    System(OsError),
}
