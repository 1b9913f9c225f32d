//! Descriptors that a forked child never has.
//!
//! The other side of a connection learns of a process's death by the end of the stream, and the kernel reports that when
//! the last copy of the descriptor is closed. A fork copies it. So a child that lives on, and does not even know of the
//! connection, would keep its killed parent alive in the eyes of the other side: what the parent had locked would stay
//! locked. `CLOEXEC` does not help, since nothing is executed.
//!
//! So the numbers of such descriptors stand in a table of a fixed size, and the atfork handler of the child closes
//! whatever stands there: it reads atomics and calls close(2), which is all that a child of a process with threads may do.
//! The owner that the child inherited knows by its [`Epoch`] that it is not of this process. It refuses every use and
//! closes nothing: by then the number may mean another file.
//!
//! # Other threads at the moment of the fork
//! A fork copies twice: first the table of descriptors, a moment later the memory. Other threads run before, between and
//! after. The memory decides who owns a number in the child, and this holds in it, whenever it is copied:
//!
//! **A number stands in the table only while an owner in this memory has it.** It is entered after the descriptor was
//! opened, and taken out before it is closed. So the handler never closes what something else in the child's memory
//! believes to own. (If the descriptor was opened between the two copies, the child has no such descriptor, or still has
//! an older one of that number whose owner is gone from the memory: closing that is right as well.)
//!
//! What is left are descriptors that the child has and its table has not:
//!
//! 1. *Opened before the fork, and entered after it.* The thread that enters it finds out: it takes a [`BeforeOpening`]
//!    first, and looks at it again after the number was entered. A fork that copied the descriptor without its entry began
//!    after the first look, and then it has changed the count of forks (the handler counts before the copy, the entry
//!    comes after it, the second look after that, all of them sequentially consistent); or it was under way at the first
//!    look, which is noted there. In both cases the descriptor is not taken: its connection is ended, and the caller
//!    opens another one.
//! 2. *Taken out before the fork, and closed after it, or after the first copy.* The owner ends the connection by
//!    shutdown(2) before it takes the number out. So the child has a descriptor that nothing uses and that ties nobody
//!    down: a number is lost there, and nothing else.
//!
//! # What is not covered
//! A raw `clone` runs no handlers. Its child keeps the descriptors, and only the refusal works. And a fork that is under
//! way, in another thread, while this process installs the handlers (see [`install_handlers`]) runs none of them: a program
//! that forks beside threads calls that first.
//!
//! Source: fork(2), pthread_atfork(3), signal-safety(7), shutdown(2); `copy_process` in kernel/fork.c for the order.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{Shutdown, shutdown};

use super::{Epoch, WORDS, forks, install_handlers};
use crate::OsError;

/// Descriptors that one process may have here at a time: a connection for each of as many threads.
pub const CLOSED_ON_FORK_MAX: usize = 256;

/// Stands for a free place.
const FREE: i32 = -1;

static NUMBERS: [AtomicI32; CLOSED_ON_FORK_MAX] = [const { AtomicI32::new(FREE) }; CLOSED_ON_FORK_MAX];

/// The object belongs to another process: the one that this process was forked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it belongs to the process that this one was forked from")]
pub struct OtherProcess;

/// Why a descriptor was not taken. It is closed, and its connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// This process has [`CLOSED_ON_FORK_MAX`] of them.
    #[error("this process has {CLOSED_ON_FORK_MAX} connections that a fork closes")]
    TooMany,
    /// This process was forked while the descriptor was opened, and the child may have a copy: open another one.
    #[error("this process was forked while it opened the connection")]
    Forked,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// The moment before a descriptor is opened that [`ClosedOnFork`] is to own.
#[derive(Debug, Clone, Copy)]
pub struct BeforeOpening {
    forks: u64,
    is_quiet: bool,
    epoch: Epoch,
}

impl BeforeOpening {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        install_handlers();
        let epoch = Epoch::current();
        // In this order: a fork counts itself as under way first. One that is seen in the count and not as under way has
        // made its copies already.
        let forks = forks();
        Self { forks, is_quiet: WORDS.under_way.load(Ordering::SeqCst) == 0, epoch }
    }

    /// Whether no fork can have copied a descriptor that was opened since.
    fn holds(self) -> bool {
        self.is_quiet && self.forks == forks() && self.epoch.is_current()
    }
}

/// A descriptor that is closed in every forked child, and that refuses every use there.
///
/// | property | |
/// |---|---|
/// | drop | ends the connection for everybody (shutdown(2)), then closes; in a forked child nothing |
/// | limit | [`CLOSED_ON_FORK_MAX`] in a process |
#[derive(Debug)]
pub struct ClosedOnFork {
    /// Open in the process of `epoch`; in any other it is a number that may mean anything, and is not looked at.
    file: ManuallyDrop<OwnedFd>,
    place: &'static AtomicI32,
    epoch: Epoch,
}

impl ClosedOnFork {
    /// Takes a descriptor that this process opened after `before`, and that it has no copy of.
    ///
    /// # Errors
    /// [`NotTaken`]: the descriptor is closed.
    pub fn of(file: OwnedFd, before: BeforeOpening) -> Result<Self, NotTaken> {
        fcntl_setfd(&file, FdFlags::CLOEXEC).map_err(OsError::from)?;
        let number = file.as_raw_fd();
        let enter = |place: &&AtomicI32| {
            place.compare_exchange(FREE, number, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        let Some(place) = NUMBERS.iter().find(enter) else {
            // A fork may have copied it: a close alone would not end the connection.
            let _ended = shutdown(&file, Shutdown::Both);
            return Err(NotTaken::TooMany);
        };
        let taken = Self { file: ManuallyDrop::new(file), place, epoch: before.epoch };
        // Its drop ends the connection, of which a child may have a copy.
        if before.holds() { Ok(taken) } else { Err(NotTaken::Forked) }
    }

    /// The descriptor, for a call that ends before the process is forked again.
    ///
    /// # Errors
    /// [`OtherProcess`] in a forked child.
    #[inline]
    pub fn file(&self) -> Result<BorrowedFd<'_>, OtherProcess> {
        if self.epoch.is_current() { Ok(std::os::fd::AsFd::as_fd(&*self.file)) } else { Err(OtherProcess) }
    }
}

impl Drop for ClosedOnFork {
    fn drop(&mut self) {
        if !self.epoch.is_current() {
            return;
        }
        // Not a socket, or not connected any more: then there is no connection to end.
        let _ended = shutdown(&*self.file, Shutdown::Both);
        self.place.store(FREE, Ordering::SeqCst);
        // SAFETY: this process opened the descriptor, as its epoch says, and nobody else closes it; a drop happens once.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}

/// Before a fork, and before that fork is counted.
pub(super) fn fork_begins() {
    WORDS.under_way.fetch_add(1, Ordering::SeqCst);
}

/// In the parent, after the fork, and after it was counted again.
pub(super) fn fork_ended() {
    WORDS.under_way.fetch_sub(1, Ordering::SeqCst);
}

/// In the child: closes what it must not have.
pub(super) fn close_in_child() {
    // Other threads that were forking are not here.
    WORDS.under_way.store(0, Ordering::SeqCst);
    for place in &NUMBERS {
        // Looked at first: the child has one thread, and where nothing is written, no page has to be copied.
        let number = place.load(Ordering::SeqCst);
        if number != FREE {
            place.store(FREE, Ordering::SeqCst);
            // SAFETY: a number in the table is owned by a `ClosedOnFork` of the parent and by nothing else in this
            // memory, and that owner never looks at it in this process.
            // EBADF if it was opened between the two copies; rustix would take that for a bug of its caller.
            unsafe { libc::close(number) };
        }
    }
}
