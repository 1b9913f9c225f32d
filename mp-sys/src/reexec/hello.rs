//! Waits for the other side's packet, or for its death, whichever comes first.
//!
//! The end of the stream alone does not show a death, because a process that the other one forked may hold the socket
//! open. So the pidfd is watched as well. A packet that was sent before the death counts.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::OsError;
use crate::adaptive::Budget;
use crate::child::{ChildError, ChildProcess, Ended};
use crate::deadline::Deadline;
use crate::identity::has_ended;
use crate::ready::readable;
use crate::robust::Patience;
use crate::socket::{Endpoint, Head, OVERHEAD_BYTES, ReceiveFailure, Received};

/// The head of the packet in which a child reports that it runs nothing. No entry begins with this word.
const REFUSED: u32 = u32::from_be_bytes(*b"mpno");

/// How long a child that closed its end of the socket may take to end before the close counts on its own.
pub const ENDING_MAX: Duration = Duration::from_secs(1);

/// Why a child did not run its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It runs another build.
    #[error("the child is of another build of the program")]
    OtherImage,
    /// There is no code of the program at the place of the function.
    #[error("the program has no function at this place")]
    NoCode,
    /// It has rights that its user does not have.
    #[error("the child has more rights than its user")]
    Privileged,
    /// It has no memory or no free descriptor for the argument of its function.
    #[error("the child has no memory or no free descriptor for the argument of its function")]
    NoRoom,
    /// What arrived is not a call of this version.
    #[error("what arrived at the child is not a call")]
    Malformed,
}

impl Refusal {
    fn to_bits(self) -> u64 {
        match self {
            Self::OtherImage => 1,
            Self::NoCode => 2,
            Self::Privileged => 3,
            Self::NoRoom => 4,
            Self::Malformed => 5,
        }
    }

    pub(super) fn of(head: Head) -> Option<Self> {
        let all = [Self::OtherImage, Self::NoCode, Self::Privileged, Self::NoRoom, Self::Malformed];
        all.into_iter().find(|refusal| head == Head { word: REFUSED, long: refusal.to_bits() })
    }
}

/// Reports the refusal to the parent. If the parent is gone, nobody needs it.
pub(super) fn refuse(endpoint: &Endpoint, refusal: Refusal) {
    let head = Head { word: REFUSED, long: refusal.to_bits() };
    let told = endpoint.send(head, &mut [0; OVERHEAD_BYTES], &[], &[], Patience::None);
    tracing::debug!(%refusal, ?told, "the function is not run");
}

/// Why there is no packet from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The child did not run its function, and ends.
    #[error("the child did not run: {0}")]
    Refused(#[source] Refusal),
    /// The other process ended, and no packet of it is left. A child that could not even report why it runs nothing
    /// ended with [`REFUSED_EXIT_CODE`](super::REFUSED_EXIT_CODE).
    #[error("the other process ended: {0:?}")]
    Ended(Ended),
    /// The other process closed its end of the socket, and, if it is a child, still ran after [`ENDING_MAX`] or at the
    /// deadline.
    #[error("the other process closed its end of the socket")]
    Closed,
    /// No packet arrived before the deadline.
    #[error("no packet arrived in time")]
    TimedOut,
    /// A packet arrived that does not have the right format. It is lost.
    #[error("a malformed packet arrived: {0}")]
    Malformed(&'static str),
    /// A packet arrived with descriptors that this process has no room for. It is lost.
    #[error("no free file descriptor for those in the packet")]
    OutOfDescriptors,
    /// The child could not be waited for.
    #[error(transparent)]
    Child(ChildError),
    /// The kernel returned another error.
    #[error("the kernel refused: {0}")]
    System(#[source] OsError),
}

/// Receives the first packet of a child from the endpoint that [`Command::start`](super::Command::start) returned with
/// it, unless the child ends before it sends one. `packet` is as for [`Endpoint::receive`].
///
/// # Errors
/// [`HelloError`]. After `Refused`, `Ended` and `Closed` no packet will come; a child that has ended is reaped.
pub fn first_packet(
    child: &ChildProcess,
    endpoint: &Endpoint,
    packet: &mut [u8],
    deadline: Deadline,
) -> Result<Received, HelloError> {
    match receive_or_end(endpoint, child.as_fd(), packet, deadline) {
        Ok(received) => match Refusal::of(received.head) {
            Some(refusal) => Err(HelloError::Refused(refusal)),
            None => Ok(received),
        },
        // The descriptors of a process are closed a moment before it has ended: that is the most likely reason.
        Err(closed @ (HelloError::Closed | HelloError::Ended(_))) => {
            let ended = child.wait(deadline.min(Deadline::after(ENDING_MAX))).map_err(HelloError::Child)?;
            Err(ended.map_or(closed, HelloError::Ended))
        }
        Err(other) => Err(other),
    }
}

/// Receives a packet, unless the process behind `pidfd` ends first: then the error is `Ended(Unknown)`.
pub(super) fn receive_or_end(
    endpoint: &Endpoint,
    pidfd: BorrowedFd<'_>,
    packet: &mut [u8],
    deadline: Deadline,
) -> Result<Received, HelloError> {
    let budget = Budget::new();
    loop {
        // Checked first: what a process sent before its end is there once it has ended.
        let ended = has_ended(pidfd);
        match take(endpoint, packet) {
            Ok(None) | Err(HelloError::Closed) if ended => return Err(HelloError::Ended(Ended::Unknown)),
            Ok(None) => {}
            Ok(Some(received)) => return Ok(received),
            Err(other) => return Err(other),
        }
        if deadline.has_passed() {
            return Err(HelloError::TimedOut);
        }
        readable(&[endpoint.as_fd(), pidfd], &budget, deadline).map_err(HelloError::System)?;
    }
}

/// Receives the packet that is there, if there is one.
pub(super) fn take(endpoint: &Endpoint, packet: &mut [u8]) -> Result<Option<Received>, HelloError> {
    match endpoint.receive(packet, Patience::None) {
        Ok(received) => Ok(Some(received)),
        Err(ReceiveFailure::Empty) => Ok(None),
        Err(ReceiveFailure::Closed) => Err(HelloError::Closed),
        Err(ReceiveFailure::Malformed(why)) => Err(HelloError::Malformed(why)),
        Err(ReceiveFailure::OutOfDescriptors) => Err(HelloError::OutOfDescriptors),
        Err(ReceiveFailure::System(error)) => Err(HelloError::System(error)),
    }
}
