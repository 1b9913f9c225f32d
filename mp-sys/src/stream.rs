//! One end of a connected stream between two processes, such as a client and a server, on one host or on two.
//!
//! The descriptor stays blocking, and each call says whether it may sleep: [`Stream::try_read`] and
//! [`Stream::try_write`] never do; [`Stream::read_slice`] sleeps for at most one [`SLICE`], so that a caller can check
//! its deadline, and anything else that may end its wait. The module adds the following to the system calls:
//!
//! - **A forked child does not have the stream** (see [`ClosedOnFork`]): the other side sees the end of the stream when
//!   the process that made it has died, even if that process has forked children. In the child every use is refused.
//! - **A peer that died in the middle is distinguished** from one that has read everything and closed: the kernel
//!   reports `ECONNRESET` if the peer left bytes from this side unread. It does so once, perhaps to a write, after
//!   which a read would find an ordinary end. This module remembers it: the stream never ends ordinarily after that.
//! - **The caller can ask whether all was read** ([`Stream::unread`]): a peer cannot have carried out a request that it
//!   has not begun to read.
//!
//! The kernel closes descriptors that a peer sends, because nothing here asks for them.
//!
//! Source: recv(2), send(2), socket(7) `SO_RCVTIMEO`, unix(7) `SO_PEERCRED`; `unix_release_sock`, `unix_outq_len` in net/unix/af_unix.c.

mod remote;

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketType, recv, send, sendmsg, sockopt,
};

pub use self::remote::{LOST_AFTER_MAX, LOST_AFTER_MIN, is_of_network, set_up_remote};
use crate::OsError;
use crate::deadline::Deadline;
use crate::fork::ClosedOnFork;
pub use crate::fork::{BeforeOpening, NotTaken, OtherProcess};
use crate::ready;
pub use crate::socket::SLICE;

/// The most slices that one write accepts (`IOV_MAX`); it leaves the others to the next write.
pub const WRITE_SLICES_MAX: usize = 1024;

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFailure {
    /// There is nothing now, or nothing arrived for a slice.
    Empty,
    /// The peer is gone, and has not read all that was written here. What it had sent has been read.
    Reset,
    /// The stream belongs to the process that this one was forked from.
    OtherProcess,
    /// The kernel returned another error; `EINVAL` for a buffer without room.
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
    /// The kernel returned another error.
    System(OsError),
}

/// Why the state of a stream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskFailure {
    /// The stream belongs to the process that this one was forked from.
    OtherProcess,
    /// The kernel returned an error.
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

/// What can be done without waiting. An end or an error counts as "read" and "written", because those calls report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// A read returns something.
    pub read: bool,
    /// A write accepts something.
    pub write: bool,
}

/// One end of a connected stream.
///
/// | property | |
/// |---|---|
/// | shared between threads | yes; a caller that needs several calls for one message needs its own lock |
/// | in a forked child | closed, and every use is refused, unless it was taken by [`Stream::inherited`] |
/// | drop | ends the stream for both sides; what was sent can still be read |
#[derive(Debug)]
pub struct Stream {
    file: Owner,
    /// Whether the kernel has reported that the peer died with bytes of this side unread.
    was_reset: AtomicBool,
}

/// Which processes have the descriptor.
#[derive(Debug)]
enum Owner {
    /// This process alone.
    ClosedOnFork(ClosedOnFork),
    /// Forked children have it too.
    Inherited(OwnedFd),
}

impl Stream {
    /// Takes a local or TCP stream that this process connected after `before`, and of which it has no copy.
    ///
    /// # Errors
    /// [`NotTaken`], and the descriptor is closed. After [`NotTaken::Forked`] the caller connects again. `EPROTOTYPE`
    /// if it is another kind of socket.
    pub fn of(file: OwnedFd, before: BeforeOpening) -> Result<Self, NotTaken> {
        let file = ClosedOnFork::of(file, before)?;
        set_up(file.file().map_err(|_| NotTaken::Forked)?)?;
        Ok(Self { file: Owner::ClosedOnFork(file), was_reset: AtomicBool::new(false) })
    }

    /// Takes a local or TCP stream that forked children inherit. It is for a server, which has more streams than a process can
    /// have closed on fork, and which has no children.
    ///
    /// # Errors
    /// Fails as [`of`](Self::of) does, but never with [`NotTaken::Forked`].
    pub fn inherited(file: OwnedFd) -> Result<Self, OsError> {
        set_up(file.as_fd())?;
        Ok(Self { file: Owner::Inherited(file), was_reset: AtomicBool::new(false) })
    }

    /// The descriptor, for a call that ends before the process forks again.
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

    /// Reads what is there, at most as much as fits into `into`; 0 means the end.
    ///
    /// # Errors
    /// [`ReadFailure`].
    #[inline]
    pub fn try_read(&self, into: &mut [u8]) -> Result<usize, ReadFailure> {
        self.read(into, RecvFlags::DONTWAIT)
    }

    /// Reads as [`try_read`](Self::try_read) does, and appends what there is to a vector, at most `max` bytes. The vector does
    /// not grow: it must have room.
    ///
    /// # Errors
    /// [`ReadFailure`].
    #[inline]
    pub fn try_read_more(&self, into: &mut Vec<u8>, max: usize) -> Result<usize, ReadFailure> {
        let len = into.len();
        let spare = into.spare_capacity_mut();
        let max = max.min(spare.len());
        let place = spare.get_mut(..max).unwrap_or_default();
        if place.is_empty() {
            return Err(ReadFailure::System(Errno::INVAL.into()));
        }
        let count = self.outcome(recv(self.file()?, place, RecvFlags::DONTWAIT).map(|(_, count)| count))?;
        // SAFETY: the vector has room for `count` bytes more, which the kernel has just written there.
        unsafe { into.set_len(len.saturating_add(count.min(max))) };
        Ok(count)
    }

    /// Reads as [`try_read`](Self::try_read) does, but waits up to a [`SLICE`] for something. A signal may end the wait
    /// early.
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
        // The kernel would return 0, which means the end.
        if into.is_empty() {
            return Err(ReadFailure::System(Errno::INVAL.into()));
        }
        self.outcome(recv(file, into, flags).map(|(_, count)| count))
    }

    #[inline]
    fn outcome(&self, received: Result<usize, Errno>) -> Result<usize, ReadFailure> {
        match received {
            Ok(0) if self.was_reset.load(Ordering::Relaxed) => Err(ReadFailure::Reset),
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Err(ReadFailure::Empty),
            Err(Errno::CONNRESET) => {
                self.was_reset.store(true, Ordering::Relaxed);
                Err(ReadFailure::Reset)
            }
            Err(other) => {
                self.note_error(other);
                Err(ReadFailure::System(other.into()))
            }
        }
    }

    /// Remembers an error that ended the stream: the kernel reports it once, and then an ordinary end.
    #[cold]
    fn note_error(&self, error: Errno) {
        if is_of_network(error) {
            self.was_reset.store(true, Ordering::Relaxed);
        }
    }

    /// Writes as much of `bytes` as there is room for.
    ///
    /// # Errors
    /// [`WriteFailure`]; nothing was written.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> Result<usize, WriteFailure> {
        let outcome = send(self.file()?, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        outcome.map_err(|errno| self.write_failure(errno))
    }

    /// Writes as [`try_write`](Self::try_write) does, for bytes in several places; it uses at most [`WRITE_SLICES_MAX`]
    /// of them.
    ///
    /// # Errors
    /// [`WriteFailure`]; nothing was written.
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
            // A call that does not sleep was interrupted before it began. The caller's loop tries again anyway.
            Errno::AGAIN | Errno::INTR => WriteFailure::Full,
            Errno::CONNRESET => {
                self.was_reset.store(true, Ordering::Relaxed);
                WriteFailure::Closed
            }
            Errno::PIPE | Errno::NOTCONN => WriteFailure::Closed,
            other => {
                self.note_error(other);
                WriteFailure::System(other.into())
            }
        }
    }

    /// Waits up to a [`SLICE`], and not beyond `deadline`; returns what can be done.
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

    /// How much of what was written here the peer has not read: 0 once it has read everything. The unit is the kernel's
    /// memory for it, which is more than the bytes, and is freed one write at a time. What a dead peer left unread
    /// counts as 0 as well: [`ReadFailure::Reset`] reports that.
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
    let domain = sockopt::socket_domain(file)?;
    let is_known = [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6].contains(&domain);
    if !is_known || sockopt::socket_type(file)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE.into());
    }
    // Each call itself says whether it may sleep.
    ioctl_fionbio(file, false)?;
    Ok(sockopt::set_socket_timeout(file, sockopt::Timeout::Recv, Some(SLICE))?)
}

/// The process at the other side of a local socket when it connected or listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerProcess {
    /// The user that it ran as.
    pub user: u32,
    /// Its number, or `None` if it is in a PID namespace that is not visible here.
    pub pid: Option<u32>,
}

/// The process at the other side when it connected or listened.
///
/// `rustix` has no place for a number that is 0, as that of a process which is not visible here.
///
/// # Errors
/// Those of getsockopt(2), for a descriptor that is not a connected local socket.
pub fn peer_process(stream: impl AsFd) -> Result<PeerProcess, OsError> {
    let mut found = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(|_| Errno::INVAL)?;
    let number = stream.as_fd().as_raw_fd();
    let into = (&raw mut found).cast();
    // SAFETY: the kernel writes at most `len` bytes, the size of `found`, of which every bit pattern is valid, and `len` itself;
    // the descriptor is borrowed from its owner.
    let failed = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_PEERCRED, into, &raw mut len) };
    if failed != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(PeerProcess { user: found.uid, pid: u32::try_from(found.pid).ok().filter(|pid| *pid != 0) })
}

/// The user of the process at the other side when it connected or listened.
///
/// # Errors
/// As for [`peer_process`].
pub fn peer_user(stream: impl AsFd) -> Result<u32, OsError> {
    peer_process(stream).map(|peer| peer.user)
}

/// The number of this process. A forked child has another one.
#[must_use]
pub fn own_process() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

/// The user that this process runs as.
#[must_use]
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests;
