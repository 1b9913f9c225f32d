//! Every descriptor that the libraries make or receive, above the three that have a meaning.
//!
//! The kernel gives out the lowest free number. In a process that has closed its stdout, as daemons do, that would be 1:
//! shared memory lands there, and whatever prints next overwrites it; or a socket does, and its peer receives the text. So
//! what is made here is moved to [`FIRST`] or above. Only these functions make descriptors: `cargo xtask tidy` looks for
//! others.
//!
//! Between making and moving, another thread that prints may still hit it. A program that closes one of the three and
//! has threads opens `/dev/null` in its place.
//!
//! Source: open(2) and fcntl(2) `F_DUPFD_CLOEXEC`; the same rule in `std`'s `try_clone`, which needs no help.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::EventfdFlags;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::path::Arg;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};

/// The first number without a meaning of its own.
pub const FIRST: RawFd = 3;

/// Moves a descriptor that was just made or received, if it has one of the first three numbers. It is closed on exec then.
///
/// # Errors
/// `EMFILE`: the descriptor is closed.
#[inline]
pub fn above_standard(file: OwnedFd) -> Result<OwnedFd, Errno> {
    if file.as_raw_fd() >= FIRST { Ok(file) } else { duplicate(&file) }
}

/// Both of a pair.
fn both((one, other): (OwnedFd, OwnedFd)) -> Result<(OwnedFd, OwnedFd), Errno> {
    Ok((above_standard(one)?, above_standard(other)?))
}

/// Runs `make` while none of the first three numbers is free: for other libraries' functions that make descriptors and keep
/// them. What takes the places cannot be read or written, as if they were closed.
///
/// # Errors
/// `EMFILE`, `ENFILE`, when `make` did not run; and its own.
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

/// A further descriptor of the same file.
///
/// # Errors
/// `EMFILE`; `EBADF` for a standard one that is closed.
pub fn duplicate(file: impl AsFd) -> Result<OwnedFd, Errno> {
    // EINVAL: `RLIMIT_NOFILE` permits none so high.
    fcntl_dupfd_cloexec(file, FIRST).map_err(|error| if error == Errno::INVAL { Errno::MFILE } else { error })
}

/// As eventfd(2).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn eventfd(value: u32, flags: EventfdFlags) -> Result<OwnedFd, Errno> {
    rustix::event::eventfd(value, flags).and_then(above_standard)
}

/// As memfd_create(2).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EINVAL` for a flag that the kernel does not know.
pub(crate) fn memfd_create(name: &str, flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create(name, flags).and_then(above_standard)
}

/// As open(2).
///
/// # Errors
/// As the kernel has it.
pub fn open(path: impl Arg, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, flags, mode).and_then(above_standard)
}

/// As pidfd_open(2).
///
/// # Errors
/// `ESRCH`; `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pidfd_open(pid: Pid, flags: PidfdFlags) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(pid, flags).and_then(above_standard)
}

/// As pipe2(2): the end to read from, and the end to write to.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(crate) fn pipe(flags: PipeFlags) -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(flags).and_then(both)
}

/// As socketpair(2), of local packet sockets that are closed on exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub(crate) fn packet_socketpair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .and_then(both)
}
