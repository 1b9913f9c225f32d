//! Waiting for the other side's packet, or for its death, whichever comes first.
//!
//! The end of the stream alone does not tell a death: a process that the other one forked may hold the socket open. So
//! the pidfd is watched as well. A packet that was sent before the death counts.

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

/// The head of the packet by which a child says that it runs nothing. An entry does not begin with this word.
const REFUSED: u32 = u32::from_be_bytes(*b"mpno");

/// How long a child that closed its end of the socket may take to end, before that counts as closing alone.
pub const ENDING_MAX: Duration = Duration::from_secs(1);

/// Why a child that was started did not run its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is of another build.
    #[error("the child is of another build of the program")]
    OtherImage,
    /// There is no code of the program at the function's place.
    #[error("the program has no function at this place")]
    NoCode,
    /// It has rights that its user has not.
    #[error("the child has more rights than its user")]
    Privileged,
    /// It has no memory or no free descriptor for what its function is given.
    #[error("the child has no memory or no free descriptor for what its function is given")]
    NoRoom,
    /// What came is no call of this version.
    #[error("what came to the child is no call")]
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

/// Tells the parent. If it is gone, nobody has to know.
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
    /// The other process ended, and no packet of it is left. A child that could not even say why it runs nothing ended
    /// with [`REFUSED_EXIT_CODE`](super::REFUSED_EXIT_CODE).
    #[error("the other process ended: {0:?}")]
    Ended(Ended),
    /// The other process closed its end of the socket; and a child still ran after [`ENDING_MAX`], or at the deadline.
    #[error("the other process closed its end of the socket")]
    Closed,
    /// There was no packet until the deadline.
    #[error("no packet came in time")]
    TimedOut,
    /// A packet came that is not of the right form; it is gone.
    #[error("a malformed packet came: {0}")]
    Malformed(&'static str),
    /// A packet came whose descriptors this process has no room for; it is gone.
    #[error("no free file descriptor for those in the packet")]
    OutOfDescriptors,
    /// The child cannot be waited for.
    #[error(transparent)]
    Child(ChildError),
    /// The kernel refused for another reason.
    #[error("the kernel refuses: {0}")]
    System(#[source] OsError),
}

/// Receives the first packet of a child that [`Command::start`](super::Command::start) gave, with its endpoint; unless
/// the child ends before it sends one. `packet` is as for [`Endpoint::receive`].
///
/// # Errors
/// [`HelloError`]. After `Refused`, `Ended` and `Closed` no packet will come; a child that ended is reaped.
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
        // The descriptors of a process are closed a moment before it has ended: most likely that is what happens.
        Err(closed @ (HelloError::Closed | HelloError::Ended(_))) => {
            let ended = child.wait(deadline.min(Deadline::after(ENDING_MAX))).map_err(HelloError::Child)?;
            Err(ended.map_or(closed, HelloError::Ended))
        }
        Err(other) => Err(other),
    }
}

/// Receives a packet, unless the process behind `pidfd` ends first: then `Ended(Unknown)`.
pub(super) fn receive_or_end(
    endpoint: &Endpoint,
    pidfd: BorrowedFd<'_>,
    packet: &mut [u8],
    deadline: Deadline,
) -> Result<Received, HelloError> {
    let budget = Budget::new();
    loop {
        // Looked at first: what a process sent before its end is there once it has ended.
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

/// Receives the packet that is there, if one is.
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
