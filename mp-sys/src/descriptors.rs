//! Makes or moves every descriptor of the libraries above the three standard ones.
//!
//! The kernel assigns the lowest free number. In a process that has closed its stdout, as daemons do, that would be 1:
//! shared memory lands there, and the next print overwrites it; or a socket lands there, and its peer receives the
//! text. So every descriptor that is made here is moved to [`FIRST`] or above. Only these functions make descriptors:
//! `cargo xtask tidy` looks for others.
//!
//! Between making and moving a descriptor, another thread that prints may still hit it. A program with threads that
//! closes one of the three should open `/dev/null` in its place.
//!
//! Source: open(2) and fcntl(2) `F_DUPFD_CLOEXEC`. `std`'s `try_clone` follows the same rule by itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, epoll};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::path::Arg;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use rustix::time::{TimerfdClockId, TimerfdFlags};

/// The first number that is not a standard descriptor.
pub const FIRST: RawFd = 3;

/// Moves a descriptor that was just made or received, if it has one of the first three numbers. A moved descriptor is
/// closed on exec.
///
/// # Errors
/// `EMFILE`: the descriptor is closed.
#[inline]
pub fn above_standard(file: OwnedFd) -> Result<OwnedFd, Errno> {
    if file.as_raw_fd() >= FIRST { Ok(file) } else { duplicate(&file) }
}

/// Moves both descriptors of a pair.
fn both((one, other): (OwnedFd, OwnedFd)) -> Result<(OwnedFd, OwnedFd), Errno> {
    Ok((above_standard(one)?, above_standard(other)?))
}

/// Runs `make` while none of the first three numbers is free, for functions of other libraries that make descriptors
/// and keep them. Placeholders that cannot be read or written, like closed descriptors, take those numbers.
///
/// # Errors
/// `EMFILE` or `ENFILE`, in which case `make` did not run; and the errors of `make`.
pub fn beside_standard<T>(make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut taken = Vec::new();
    loop {
        let place = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if place.as_raw_fd() >= FIRST {
            break;
        }
        taken.push(place);
    }
    let made = make();
    drop(taken);
    made
}

/// Makes another descriptor of the same file.
///
/// # Errors
/// `EMFILE`; `EBADF` for a standard one that is closed.
pub fn duplicate(file: impl AsFd) -> Result<OwnedFd, Errno> {
    // EINVAL: `RLIMIT_NOFILE` does not permit a number that high.
    fcntl_dupfd_cloexec(file, FIRST).map_err(|error| if error == Errno::INVAL { Errno::MFILE } else { error })
}

/// Calls eventfd(2).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn eventfd(value: u32, flags: EventfdFlags) -> Result<OwnedFd, Errno> {
    rustix::event::eventfd(value, flags).and_then(above_standard)
}

/// Calls epoll_create1(2).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn epoll() -> Result<OwnedFd, Errno> {
    epoll::create(epoll::CreateFlags::CLOEXEC).and_then(above_standard)
}

/// Calls timerfd_create(2) for the monotonic clock.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn timerfd() -> Result<OwnedFd, Errno> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).and_then(above_standard)
}

/// Calls memfd_create(2).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EINVAL` for a flag that the kernel does not know.
pub(crate) fn memfd_create(name: &str, flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(name, flags).and_then(above_standard)
}

/// Calls open(2).
///
/// # Errors
/// Those of open(2).
pub fn open(path: impl Arg, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags, mode).and_then(above_standard)
}

/// Calls pidfd_open(2).
///
/// # Errors
/// `ESRCH`; `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pidfd_open(pid: Pid, flags: PidfdFlags) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(pid, flags).and_then(above_standard)
}

/// Calls pipe2(2); returns the end to read from and the end to write to.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(crate) fn pipe(flags: PipeFlags) -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(flags).and_then(both)
}

/// Calls socket(2), for a local stream socket that is closed on exec, and whose calls do not wait.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).and_then(above_standard)
}

/// Calls socket(2), for a TCP socket that is closed on exec, and whose calls do not wait.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EAFNOSUPPORT` if the kernel does not have this version of IP.
pub fn tcp_socket(is_ipv6: bool) -> Result<OwnedFd, Errno> {
    let family = if is_ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).and_then(above_standard)
}

/// Calls socketpair(2), for local packet sockets that are closed on exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn packet_socketpair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .and_then(both)
}
