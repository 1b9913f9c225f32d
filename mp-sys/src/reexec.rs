//! Starts a process by executing the own program again, to run one function of it.
//!
//! A forked child of a process with threads can run very little. A child that is executed afresh can run everything,
//! and inherits no lock, buffer or memory. It shares the program with its parent, so the place of a function in the
//! program can name it: its offset in the program's image. That needs no registry, no macro and no line in `main`, and
//! an instance of a generic function works like any other.
//!
//! | step | who | what |
//! |---|---|---|
//! | 1 | parent | sends an order through a pair of packet sockets: which image, which function; and its own pidfd |
//! | 2 | parent | executes `/proc/self/exe` with the other end as stdin, and `mp: PROGRAM LABEL` as `argv[0]` |
//! | 3 | child | an entry of `.init_array`, before `main`, sees that mark, and checks whether stdin holds an order |
//! | 4 | child | compares the images, checks that the function lies in the program's code, calls it, and ends by `_exit` |
//!
//! # Why the call is sound
//! The parent made the offset from a real function of the type [`Entry`], and checked that it lies in the code of the
//! main program. The child runs the same image: `/proc/self/exe` is the running file itself, whatever its name refers
//! to by now, and the build ids are compared as well. So the same function is at that offset. The child checks again
//! that the address lies in the main program's code. Both sides run one image, so they agree on the layout of
//! [`Handed`] and of the order.
//!
//! The process that executes the program is trusted: if it passes that mark *and* a packet socket with an order that
//! names the right build, it can make the program call any address of its code. It runs as the same user, and could run
//! any code without this crate. If that is not so (set-user-id, file capabilities: `AT_SECURE`), nothing is run.
//!
//! # Which descriptors the child has
//! 0 is /dev/null, as in Python's spawned children; 1 and 2 are the parent's, or /dev/null if they were closed. The
//! socket travels as stdin, because the kernel sets that place up between fork and exec. So no descriptor of the parent
//! is ever without `CLOEXEC`, and none leaks into what other threads start meanwhile. Descriptors that *other* code
//! left open across the exec are closed before the function runs. They are recognised by their missing `CLOEXEC`, which
//! nothing that came through an exec has. `close_range` would also close what earlier constructors opened (a preloaded
//! profiler's log), and put this crate's socket in its place. So a descriptor that such a constructor opened without
//! `CLOEXEC` is closed as well.
//!
//! # What the child is like
//! - The function runs on the main thread, with what an exec keeps: environment, working folder, `argv[1..]`, limits,
//!   ignored signals. SIGPIPE is ignored, as in every Rust program. No signal is blocked, whatever its parent has
//!   blocked: a child that is asked to end can end.
//! - `std::env::args()` returns `PROGRAM: mp LABEL`, and then the parent's arguments; `ps` shows the same, and the name
//!   of the process is the program's.
//! - It ends as a forked child does (see [`crate::child`]): with the function's result, or
//!   [`PANIC_EXIT_CODE`](crate::child::PANIC_EXIT_CODE). stdout is flushed, and no exit handlers run. `main` never
//!   runs.
//! - All constructors have run, of libraries and of the program. Those that follow this crate's constructor in the
//!   program run when everything above is done.
//! - `std`'s runtime for `main` has not run: a stack overflow is a plain SIGSEGV, and panic messages show the thread as
//!   unnamed.
//!
//! The entry is linked into a program that uses [`Command`], which refers to it. In a process that no `Command`
//! started, it only compares four bytes.
//!
//! Source: execve(2), proc(5), the ELF specification on `DT_INIT_ARRAY`, glibc `elf/dl-init.c` (which passes the
//! arguments of `main` to constructors), getauxval(3).

mod call;
mod constructors;
mod hello;
mod image;
mod order;
mod start;
mod takeover;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) use self::call::{Arrived, NoCall, Packet, refusal_in};
pub use self::call::{CALL_BYTES_MAX, CALL_DESCRIPTORS_MAX, Call, Given, Line, Run};
pub use self::hello::{ENDING_MAX, HelloError, Refusal, first_packet};
pub use self::start::{Command, StartError};
pub use self::takeover::REFUSED_EXIT_CODE;
use crate::OsError;
use crate::child::poll_readable;
use crate::deadline::Deadline;
use crate::socket::{Endpoint, Received};

/// The most bytes of a [`Command`]'s label.
pub const LABEL_BYTES_MAX: usize = 64;

/// A function that a process can be started for. It must lie in the program, not in a shared library.
pub type Entry = fn(Handed) -> i32;

/// What the started function receives.
#[derive(Debug)]
pub struct Handed {
    endpoint: Endpoint,
    parent: Parent,
}

impl Handed {
    /// The end of the pair whose other end the parent has.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The process that started this one.
    #[must_use]
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// Returns both, for the caller to keep.
    #[must_use]
    pub fn into_parts(self) -> (Endpoint, Parent) {
        (self.endpoint, self.parent)
    }

    /// Receives one packet (see [`Endpoint::receive`]), unless the parent ends first.
    ///
    /// # Errors
    /// [`HelloError::Ended`] with [`Unknown`](crate::child::Ended::Unknown) if the parent has ended and left no packet,
    /// or [`HelloError::Closed`], whichever is seen first; the other errors as described there.
    pub fn receive(&self, packet: &mut [u8], deadline: Deadline) -> Result<Received, HelloError> {
        hello::receive_or_end(&self.endpoint, self.parent.as_fd(), packet, deadline)
    }
}

/// The process that started this one, whatever its id refers to by now.
///
/// `PR_SET_PDEATHSIG` would fire when the starting *thread* ends. This is a pidfd that the parent opened for itself, so
/// it can never refer to another process.
#[derive(Debug)]
pub struct Parent {
    pub(crate) pidfd: OwnedFd,
}

impl Parent {
    /// Takes a descriptor that is readable once the parent has ended.
    pub(crate) fn of_descriptor(pidfd: OwnedFd) -> Self {
        Self { pidfd }
    }

    /// Whether the parent has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        crate::identity::has_ended(self.as_fd())
    }

    /// Waits until the parent has ended; returns `false` at the deadline.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn wait(&self, deadline: Deadline) -> Result<bool, OsError> {
        Ok(poll_readable(self.as_fd(), deadline)?)
    }
}

impl AsFd for Parent {
    /// The parent's pidfd: readable once the parent has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests;
