//! One end of a pair of sockets that carries whole packets, which can contain descriptors.
//!
//! A packet of a SEQPACKET socket arrives whole or not at all, whichever process is killed. Several processes may send
//! to and receive from one end without ever mixing packets. This module adds the following:
//!
//! - **A packet is never empty**, because the kernel reports the end of the stream as an empty packet. Each begins with
//!   four bytes.
//!
//!   | byte | what |
//!   |---|---|
//!   | 0 | the magic number |
//!   | 1 | the version of the format |
//!   | 2 | the CPU that the sender ran on, plus one; 0 for unknown |
//!   | 3 | the number of descriptors in the packet |
//!
//!   Then come the two numbers of the tier's [`Head`], and the body.
//! - **Waiting is adaptive** (see [`crate::adaptive`]): a receiver spins while the newest packet came from another CPU,
//!   and sleeps in the kernel at once if it came from the receiver's own CPU. It sleeps in slices of [`SLICE`]: if
//!   the one receiver that the kernel wakes is killed before it looks, the others would sleep beside a packet.
//! - **Descriptors that do not arrive are noticed** (`MSG_CTRUNC`, and the count in byte 3).
//!
//! Source: unix(7), recvmsg(2), cmsg(3).

#[cfg(feature = "tokio")]
mod asynchronous;
mod attempt;
mod failure;
mod registry;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketType, sockopt};

use self::attempt::{receive_once, send_once};
pub use self::failure::{ReceiveFailure, SendFailure};
pub use self::registry::Ended;
use crate::OsError;
use crate::adaptive::{Budget, current_cpu};
use crate::deadline::Deadline;
use crate::descriptors::packet_socketpair;
use crate::ready;
use crate::robust::Patience;

/// Bytes before a packet's body: those of this module and those of the tier.
pub const OVERHEAD_BYTES: usize = PROLOGUE_BYTES + size_of::<u32>() + size_of::<u64>();
/// The most descriptors that the kernel accepts in one packet (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = 253;
/// The longest that a sleeper goes without looking by itself.
pub const SLICE: Duration = Duration::from_millis(40);

const PROLOGUE_BYTES: usize = 4;
const MAGIC: u8 = 0xb5;
const VERSION: u8 = 1;

/// The tier's part of the head: two numbers, because arrays would be assembled and taken apart at every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The first four bytes, little-endian.
    pub word: u32,
    /// The other eight bytes.
    pub long: u64,
}

/// A packet that arrived. Its body lies in the caller's buffer, from [`OVERHEAD_BYTES`] on.
#[derive(Debug)]
pub struct Received {
    /// The tier's part of the head.
    pub head: Head,
    /// Bytes of the body, which may be more than the buffer had room for.
    pub body_len: usize,
    /// The descriptors, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Keeps a descriptor of a message that is held and not decoded. If it is a pipe end, a forked child gives it up, as it does
/// the ends of this process, unless it is handed to the child.
#[must_use]
pub fn hold(file: OwnedFd) -> Arc<OwnedFd> {
    let is_end = is_packet_socket(&file);
    let file = Arc::new(file);
    if is_end {
        registry::register(&file);
    }
    file
}

fn is_packet_socket(file: &OwnedFd) -> bool {
    sockopt::socket_domain(file) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(file) == Ok(SocketType::SEQPACKET)
}

/// One end of a pair of packet sockets.
#[derive(Debug)]
pub struct Endpoint {
    file: Arc<OwnedFd>,
    budget: Budget,
    /// The CPU that the newest packet came from, plus one; 0 while unknown.
    peer_cpu: AtomicU32,
    #[cfg(feature = "tokio")]
    watched: crate::asynchronous::BothWays,
}

impl Endpoint {
    /// Makes two connected ends.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn pair() -> Result<(Self, Self), OsError> {
        let (one, other) = packet_socketpair()?;
        Ok((Self::adopt(one)?, Self::adopt(other)?))
    }

    /// Takes a descriptor that was made elsewhere.
    ///
    /// # Errors
    /// Returns the descriptor if it is not a local packet socket.
    pub fn of(file: OwnedFd) -> Result<Self, OwnedFd> {
        if !is_packet_socket(&file) {
            return Err(file);
        }
        match set_slices(&file) {
            Ok(()) => Ok(Self::registered(file)),
            Err(_) => Err(file),
        }
    }

    /// Takes a descriptor that [`pair`](Self::pair) made in another process. It is known to be a packet socket, and its
    /// settings belong to the socket.
    pub(crate) fn of_pair(file: OwnedFd) -> Self {
        Self::registered(file)
    }

    /// Makes another descriptor of the same end, independent of this one.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn duplicate(&self) -> Result<Self, OsError> {
        let file = self.file.try_clone().map_err(OsError::from)?;
        let copy = Self::registered(file);
        copy.expect_peer_of(self);
        Ok(copy)
    }

    /// Makes another owner of the same descriptor.
    #[must_use]
    pub fn share(&self) -> Self {
        let copy = Self::over(Arc::clone(&self.file), self.budget.clone());
        copy.expect_peer_of(self);
        copy
    }

    fn adopt(file: OwnedFd) -> Result<Self, OsError> {
        set_slices(&file)?;
        Ok(Self::registered(file))
    }

    fn registered(file: OwnedFd) -> Self {
        let file = Arc::new(file);
        registry::register(&file);
        Self::over(file, Budget::new())
    }

    fn over(file: Arc<OwnedFd>, budget: Budget) -> Self {
        Self {
            file,
            budget,
            peer_cpu: AtomicU32::new(0),
            #[cfg(feature = "tokio")]
            watched: crate::asynchronous::BothWays::new(),
        }
    }

    /// The descriptor, for a message that carries it.
    #[must_use]
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Sends one packet, whole or not at all. `packet` begins with [`OVERHEAD_BYTES`] bytes, which are written here.
    /// The body follows, or its beginning, if the rest of it is in `rest`.
    ///
    /// # Errors
    /// [`SendFailure`]; nothing was sent.
    #[inline]
    pub fn send(
        &self,
        head: Head,
        packet: &mut [u8],
        rest: &[u8],
        descriptors: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), SendFailure> {
        if let Some((_, places)) = packet.split_first_chunk_mut::<PROLOGUE_BYTES>()
            && let Some((word, places)) = places.split_first_chunk_mut()
            && let Some(long) = places.first_chunk_mut()
        {
            *word = head.word.to_le_bytes();
            *long = head.long.to_ne_bytes();
        }
        let Patience::Until(deadline) = patience else {
            return self.try_send(packet, rest, descriptors);
        };
        if deadline.is_never() || deadline.remaining() >= SLICE {
            match send_once(&self.file, packet, rest, descriptors, attempt::Mode::Sleep) {
                Err(SendFailure::Full) => {}
                outcome => return outcome,
            }
        }
        self.send_later(packet, rest, descriptors, deadline)
    }

    /// Sends when there is room. The first slice has ended, or a signal ended it, or another process made the
    /// descriptor non-blocking. So the blocking call is not used again.
    #[cold]
    fn send_later(
        &self,
        packet: &mut [u8],
        rest: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendFailure> {
        loop {
            match self.try_send(packet, rest, descriptors) {
                Err(SendFailure::Full) if !deadline.has_passed() => {
                    self.ready(PollFlags::OUT, deadline).map_err(SendFailure::System)?;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_send(
        &self,
        packet: &mut [u8],
        rest: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), SendFailure> {
        send_once(&self.file, packet, rest, descriptors, attempt::Mode::Try)
    }

    /// Receives one packet into `packet`, as far as it fits: [`OVERHEAD_BYTES`] bytes, for which there must be room,
    /// and then the body.
    ///
    /// # Errors
    /// [`ReceiveFailure`].
    #[inline]
    pub fn receive(&self, packet: &mut [u8], patience: Patience) -> Result<Received, ReceiveFailure> {
        let Patience::Until(deadline) = patience else {
            return self.try_receive(packet);
        };
        // If the peer shares this CPU, even one look is wasted: the peer could not have run.
        if !self.peer_shares_cpu()
            && let Some(outcome) = self.spin(packet)
        {
            return outcome;
        }
        if deadline.is_never() || deadline.remaining() >= SLICE {
            let outcome = self.note(receive_once(&self.file, packet, attempt::Mode::Sleep));
            if !is_empty(&outcome) {
                return outcome;
            }
        }
        self.receive_later(packet, deadline)
    }

    /// Looks repeatedly while that may pay off.
    #[inline(never)]
    fn spin(&self, packet: &mut [u8]) -> Option<Result<Received, ReceiveFailure>> {
        let mut seen = None;
        let look = || {
            if seen.is_none() {
                seen = Some(self.try_receive(packet)).filter(|seen| !is_empty(seen));
            }
            seen.is_some()
        };
        self.budget.spin(look, || self.peer_cpu());
        seen
    }

    /// Receives when there is something. The first slice has ended, or a signal ended it, or another process made the
    /// descriptor non-blocking. So the blocking call is not used again.
    #[cold]
    fn receive_later(&self, packet: &mut [u8], deadline: Deadline) -> Result<Received, ReceiveFailure> {
        loop {
            let outcome = self.try_receive(packet);
            if !is_empty(&outcome) || deadline.has_passed() {
                return outcome;
            }
            self.ready(PollFlags::IN, deadline).map_err(ReceiveFailure::System)?;
        }
    }

    fn try_receive(&self, packet: &mut [u8]) -> Result<Received, ReceiveFailure> {
        self.note(receive_once(&self.file, packet, attempt::Mode::Try))
    }

    /// Records where a packet came from.
    #[inline]
    fn note(&self, outcome: Result<(Received, u8), ReceiveFailure>) -> Result<Received, ReceiveFailure> {
        let (received, cpu) = outcome?;
        self.peer_cpu.store(u32::from(cpu), Ordering::Relaxed);
        Ok(received)
    }

    #[inline]
    fn peer_cpu(&self) -> Option<u32> {
        self.peer_cpu.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Copies from another end what is known about the peer's CPU.
    pub(crate) fn expect_peer_of(&self, other: &Self) {
        self.peer_cpu.store(other.peer_cpu.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the newest packet came from the caller's CPU.
    #[inline]
    pub(crate) fn peer_shares_cpu(&self) -> bool {
        self.peer_cpu().is_some_and(|cpu| cpu == current_cpu())
    }

    /// Waits until there is something to receive: a packet, or the end. Returns `false` once `patience` has ended.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait_readable(&self, patience: Patience) -> Result<bool, OsError> {
        let deadline = match patience {
            Patience::None | Patience::TryOnce => Deadline::after(Duration::ZERO),
            Patience::Until(deadline) => deadline,
        };
        loop {
            if self.ready(PollFlags::IN, deadline)? {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
        }
    }

    /// Waits for at most one slice.
    fn ready(&self, flags: PollFlags, deadline: Deadline) -> Result<bool, OsError> {
        let slice = deadline.min(Deadline::after(SLICE));
        Ok(ready::sleep(&mut [PollFd::new(&*self.file, flags)], slice)? > 0)
    }

    /// Ends the stream in both directions, for every process that has either end. What was sent can still be received.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn shut_down(&self) -> Result<(), OsError> {
        match rustix::net::shutdown(&*self.file, Shutdown::Both) {
            // The other end is gone, so there is nothing left to end.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_empty(outcome: &Result<Received, ReceiveFailure>) -> bool {
    matches!(outcome, Err(ReceiveFailure::Empty))
}

/// Makes blocking calls return after a slice. The setting belongs to the socket, so it applies to all descriptors of
/// this end.
fn set_slices(file: &OwnedFd) -> Result<(), OsError> {
    sockopt::set_socket_timeout(file, sockopt::Timeout::Recv, Some(SLICE))?;
    sockopt::set_socket_timeout(file, sockopt::Timeout::Send, Some(SLICE))?;
    Ok(())
}

#[cfg(test)]
mod tests;
