//! One end of a connected stream between two processes, as a client and a server use it.
//!
//! The descriptor stays blocking, and each call says whether it may sleep: [`Stream::try_read`] and
//! [`Stream::try_write`] never do, [`Stream::read_slice`] sleeps for one [`SLICE`] at most, so that a caller can look at
//! its deadline, and at whatever else may end its wait. What is added to the system calls:
//!
//! - **A forked child does not have it** (see [`ClosedOnFork`]): the other side sees the end of the stream when the process
//!   that made it has died, whoever was forked from that. In the child every use is refused.
//! - **A peer that died in the middle is told apart** from one that has read all and closed: the kernel says `ECONNRESET`
//!   if the peer had bytes of ours that it did not read. It says so once, perhaps to a write, after which a read would find
//!   an ordinary end. Here it is remembered: the stream never ends ordinarily after that.
//! - **Whether all was read** can be asked ([`Stream::unread`]): a request that the peer has not begun to read was not
//!   carried out.
//!
//! Descriptors that a peer sends along are closed by the kernel, since nobody asks for them.
//!
//! Source: recv(2), send(2), socket(7) `SO_RCVTIMEO`, unix(7) `SO_PEERCRED`; `unix_release_sock`, `unix_outq_len` in net/unix/af_unix.c.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketType, recv, send, sendmsg, sockopt,
};

use crate::OsError;
use crate::deadline::Deadline;
use crate::fork::ClosedOnFork;
pub use crate::fork::{BeforeOpening, NotTaken, OtherProcess};
use crate::ready;
pub use crate::socket::SLICE;

/// Slices that one write takes (`IOV_MAX`); it leaves further ones for the next.
pub const WRITE_SLICES_MAX: usize = 1024;

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFailure {
    /// There is nothing now, or there was nothing for a slice.
    Empty,
    /// The peer is gone, and has not read all that was written here. What it had sent was read before.
    Reset,
    /// The stream belongs to the process that this one was forked from.
    OtherProcess,
    /// The kernel refused for another reason; `EINVAL` for a buffer without room.
    System(OsError),
}

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteFailure {
    /// There is no room now.
    Full,
    /// The peer is gone. What it had sent before can still be read.
    Closed,
    /// The stream belongs to the process that this one was forked from.
    OtherProcess,
    /// The kernel refused for another reason.
    System(OsError),
}

/// Why a stream cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskFailure {
    /// The stream belongs to the process that this one was forked from.
    OtherProcess,
    /// The kernel refused.
    System(OsError),
}

impl From<OtherProcess> for ReadFailure {
    fn from(_: OtherProcess) -> Self {
        Self::OtherProcess
    }
}

impl From<OtherProcess> for WriteFailure {
    fn from(_: OtherProcess) -> Self {
        Self::OtherProcess
    }
}

impl From<OtherProcess> for AskFailure {
    fn from(_: OtherProcess) -> Self {
        Self::OtherProcess
    }
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, or the end.
    Read,
    /// Room, or that there will never be any.
    Write,
    /// Either.
    ReadOrWrite,
}

/// What can be done without waiting; an end or an error can be "read" and "written", which tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// A read gives something.
    pub read: bool,
    /// A write takes something.
    pub write: bool,
}

/// One end of a connected stream.
///
/// | property | |
/// |---|---|
/// | shared between threads | yes; whoever writes or reads more than one call's worth needs a lock of its own |
/// | in a forked child | closed, and every use is refused, unless it was taken by [`Stream::inherited`] |
/// | drop | ends the stream for both sides; what was sent can still be read |
#[derive(Debug)]
pub struct Stream {
    file: Owner,
    /// The peer died with bytes of ours unread: the kernel has said so.
    was_reset: AtomicBool,
}

/// Who has the descriptor.
#[derive(Debug)]
enum Owner {
    /// This process alone.
    ClosedOnFork(ClosedOnFork),
    /// Forked children too.
    Inherited(OwnedFd),
}

impl Stream {
    /// Takes a local stream that this process connected after `before`, and that it has no copy of.
    ///
    /// # Errors
    /// [`NotTaken`], and the descriptor is closed: after [`NotTaken::Forked`] the caller connects again.
    /// `EPROTOTYPE` if it is no local stream.
    pub fn of(file: OwnedFd, before: BeforeOpening) -> Result<Self, NotTaken> {
        let file = ClosedOnFork::of(file, before)?;
        set_up(file.file().map_err(|_| NotTaken::Forked)?)?;
        Ok(Self { file: Owner::ClosedOnFork(file), was_reset: AtomicBool::new(false) })
    }

    /// Takes a local stream that forked children inherit: for a server, whose streams are more than a process can have
    /// closed on fork, and which has no children.
    ///
    /// # Errors
    /// As [`of`](Self::of), but never [`NotTaken::Forked`].
    pub fn inherited(file: OwnedFd) -> Result<Self, OsError> {
        set_up(file.as_fd())?;
        Ok(Self { file: Owner::Inherited(file), was_reset: AtomicBool::new(false) })
    }

    /// The descriptor, for a call that ends before the process is forked again.
    ///
    /// # Errors
    /// [`OtherProcess`] in a forked child, if it is closed there.
    #[inline]
    pub fn file(&self) -> Result<BorrowedFd<'_>, OtherProcess> {
        match &self.file {
            Owner::ClosedOnFork(file) => file.file(),
            Owner::Inherited(file) => Ok(file.as_fd()),
        }
    }

    /// Reads what is there, at most as much as `into` has room for; 0 is the end.
    ///
    /// # Errors
    /// [`ReadFailure`].
    #[inline]
    pub fn try_read(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        self.read(into, RecvFlags::DONTWAIT)
    }

    /// As [`try_read`](Self::try_read), but waits for something for a [`SLICE`]. A signal may end that early.
    ///
    /// # Errors
    /// [`ReadFailure`].
    #[inline]
    pub fn read_slice(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        self.read(into, RecvFlags::empty())
    }

    #[inline]
    fn read(&self, into: &mut [u8], flags: RecvFlags) -> Result<usize, ReadFailure> {
        let file = self.file()?;
        // The kernel would answer with 0, the sign of the end.
        if into.is_empty() {
            return Err(ReadFailure::System(Errno::INVAL.into()));
        }
        match recv(file, into, flags) {
            Ok((_, 0)) if self.was_reset.load(Ordering::Relaxed) => Err(ReadFailure::Reset),
            Ok((_, count)) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Err(ReadFailure::Empty),
            Err(Errno::CONNRESET) => {
                self.was_reset.store(true, Ordering::Relaxed);
                Err(ReadFailure::Reset)
            }
            Err(other) => Err(ReadFailure::System(other.into())),
        }
    }

    /// Writes as much of `bytes` as there is room for.
    ///
    /// # Errors
    /// [`WriteFailure`]: nothing was written.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize, WriteFailure> {
        let outcome = send(self.file()?, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        outcome.map_err(|errno| self.write_failure(errno))
    }

    /// As [`try_write`](Self::try_write), for bytes that lie in several places; of those at most [`WRITE_SLICES_MAX`].
    ///
    /// # Errors
    /// [`WriteFailure`]: nothing was written.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> Result<usize, WriteFailure> {
        let slices = slices.get(..WRITE_SLICES_MAX).unwrap_or(slices);
        let mut nothing = SendAncillaryBuffer::new(&mut []);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let outcome = sendmsg(self.file()?, slices, &mut nothing, flags);
        outcome.map_err(|errno| self.write_failure(errno))
    }

    #[cold]
    fn write_failure(&self, errno: Errno) -> WriteFailure {
        match errno {
            // A call that does not sleep is interrupted before it began: to try again is the caller's loop anyway.
            Errno::AGAIN | Errno::INTR => WriteFailure::Full,
            Errno::CONNRESET => {
                self.was_reset.store(true, Ordering::Relaxed);
                WriteFailure::Closed
            }
            Errno::PIPE | Errno::NOTCONN => WriteFailure::Closed,
            other => WriteFailure::System(other.into()),
        }
    }

    /// Waits for a [`SLICE`], and not beyond `deadline`, and says what can be done.
    ///
    /// # Errors
    /// [`AskFailure`].
    pub fn ready(&self, interest: Interest, deadline: Deadline) -> Result<Ready, AskFailure> {
        let flags = match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
            Interest::ReadOrWrite => PollFlags::IN | PollFlags::OUT,
        };
        let slice = deadline.min(Deadline::after(SLICE));
        let mut polled = [PollFd::from_borrowed_fd(self.file()?, flags)];
        ready::sleep(&mut polled, slice).map_err(|error| AskFailure::System(error.into()))?;
        let seen = polled.first().map_or(PollFlags::empty(), PollFd::revents);
        let is_over = seen.intersects(PollFlags::HUP | PollFlags::ERR);
        let may = |flag: PollFlags| flags.contains(flag) && (is_over || seen.contains(flag));
        Ok(Ready { read: may(PollFlags::IN), write: may(PollFlags::OUT) })
    }

    /// How much of what was written here the peer has not read: 0 once it has read all. The unit is the kernel's memory for
    /// it, which is more than the bytes, and is given back one write at a time. What a dead peer left unread is 0 as well:
    /// that is told by [`ReadFailure::Reset`].
    ///
    /// # Errors
    /// [`AskFailure`].
    pub fn unread(&self) -> Result<usize, AskFailure> {
        let file = self.file()?;
        let mut count: libc::c_int = 0;
        // SAFETY: the descriptor is open while it is borrowed, and TIOCOUTQ (SIOCOUTQ for a socket) writes one int.
        let outcome = unsafe { libc::ioctl(file.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if outcome < 0 {
            return Err(AskFailure::System(std::io::Error::last_os_error().into()));
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }
}

fn set_up(file: BorrowedFd<'_>) -> Result<(), OsError> {
    let is_local = sockopt::socket_domain(file)? == AddressFamily::UNIX;
    if !is_local || sockopt::socket_type(file)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE.into());
    }
    // Each call says whether it may sleep.
    ioctl_fionbio(file, false)?;
    Ok(sockopt::set_socket_timeout(file, sockopt::Timeout::Recv, Some(SLICE))?)
}

/// The user that the process at the other side had when it connected or listened.
///
/// # Errors
/// As the kernel has it, for a descriptor that is no connected local socket.
pub fn peer_user(stream: impl AsFd) -> Result<u32, OsError> {
    Ok(sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// The user that this process runs as.
#[must_use]
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests;
