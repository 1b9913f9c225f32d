//! Descriptors that no forked child has.
//!
//! The other side of a connection learns of a process's death by the end of the stream. The kernel reports that end
//! when the last copy of the descriptor is closed, and a fork copies the descriptor. So a child that lives on, and does
//! not even know of the connection, would keep its killed parent alive in the eyes of the other side: what the parent
//! had locked would stay locked. `CLOEXEC` does not help, because nothing is executed.
//!
//! So a table of fixed size holds the numbers of such descriptors, and the child's atfork handler closes every
//! descriptor in it. The handler only reads atomics and calls close(2), which is all that a child of a process with
//! threads may do. The inherited owner sees from its [`Epoch`] that it belongs to another process. It refuses every use
//! and closes nothing, because the number may refer to another file by then.
//!
//! # Other threads at the moment of the fork
//! A fork makes two copies: first of the table of descriptors, a moment later of the memory. Other threads run before,
//! between and after them. The memory decides who owns a number in the child, and the following holds in the memory at
//! whatever moment it is copied:
//!
//! **A number is in the table only while an owner in this memory has it.** It is entered after the descriptor was
//! opened, and removed before it is closed. So the handler never closes a descriptor that something else in the child's
//! memory owns. (If the descriptor was opened between the two copies, the child either has no such descriptor, or still
//! has an older one with that number, whose owner is gone from the memory. Closing that one is right as well.)
//!
//! That leaves descriptors that the child has but its table lacks:
//!
//! 1. *Opened before the fork, and entered after it.* The thread that enters it finds out: it takes a [`BeforeOpening`]
//!    first, and checks it again after the number was entered. Consider a fork that copied the descriptor without its
//!    entry. Either it began after the first check, and then it has changed the count of forks: the handler counts
//!    before the copy, the entry comes after the copy, the second check after the entry, and all of them are
//!    sequentially consistent. Or it was under way at the first check, which records that. In both cases the descriptor
//!    is not taken: its connection is ended, and the caller opens another one.
//! 2. *Removed before the fork, and closed after it, or after the first copy.* The owner ends the connection by
//!    shutdown(2) before it removes the number. So the child has a descriptor that nothing uses and that keeps no peer
//!    waiting. All that is lost is a number in the child.
//!
//! # What is not covered
//! A raw `clone` runs no handlers. Its child keeps the descriptors, and only the refusal works. A fork in another
//! thread that is under way while this process installs the handlers (see [`install_handlers`]) runs none of them
//! either. So a program that forks beside other threads calls that function first.
//!
//! Source: fork(2), pthread_atfork(3), signal-safety(7), shutdown(2); `copy_process` in kernel/fork.c for the order.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{Shutdown, shutdown};

use super::{Epoch, WORDS, forks, install_handlers};
use crate::OsError;

/// The most descriptors of this kind that one process may have at a time: one connection for each of as many threads.
pub const CLOSED_ON_FORK_MAX: usize = 256;

/// Marks a free place.
const FREE: i32 = -1;

static NUMBERS: [AtomicI32; CLOSED_ON_FORK_MAX] = [const { AtomicI32::new(FREE) }; CLOSED_ON_FORK_MAX];

/// The object belongs to another process: the one that this process was forked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it belongs to the process that this one was forked from")]
pub struct OtherProcess;

/// Why a descriptor was not taken. It is closed, and its connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// This process already has [`CLOSED_ON_FORK_MAX`] of them.
    #[error(
        "this process already has {CLOSED_ON_FORK_MAX} connections that a fork closes, the most that it may have"
    )]
    TooMany,
    /// This process was forked while the descriptor was being opened, and the child may have a copy: open another one.
    #[error("this process was forked while it opened the connection")]
    Forked,
    /// The kernel returned an error.
    #[error(transparent)]
    System(#[from] OsError),
}

/// The moment before the opening of a descriptor that [`ClosedOnFork`] will own.
#[derive(Debug, Clone, Copy)]
pub struct BeforeOpening {
    forks: u64,
    is_quiet: bool,
    epoch: Epoch,
}

impl BeforeOpening {
    /// Takes the present moment.
    #[must_use]
    pub fn now() -> Self {
        install_handlers();
        let epoch = Epoch::current();
        // In this order, because a fork first counts itself as under way. A fork that is already counted, and is no
        // longer under way, has made its copies.
        let forks = forks();
        Self { forks, is_quiet: WORDS.under_way.load(Ordering::SeqCst) == 0, epoch }
    }

    /// Whether no fork can have copied a descriptor that was opened since this moment.
    fn holds(self) -> bool {
        self.is_quiet && self.forks == forks() && self.epoch.is_current()
    }
}

/// A descriptor that is closed in every forked child, and refuses every use there.
///
/// | property | |
/// |---|---|
/// | drop | ends the connection for all processes (shutdown(2)), then closes the descriptor; does nothing in a forked child |
/// | limit | [`CLOSED_ON_FORK_MAX`] in a process |
#[derive(Debug)]
pub struct ClosedOnFork {
    /// Open in the process of `epoch`. In any other process it is a number that may mean anything, and is not used.
    file: ManuallyDrop<OwnedFd>,
    place: &'static AtomicI32,
    epoch: Epoch,
}

impl ClosedOnFork {
    /// Takes a descriptor that this process opened after `before`, and of which it has no copy.
    ///
    /// # Errors
    /// [`NotTaken`]; the descriptor is closed.
    pub fn of(file: OwnedFd, before: BeforeOpening) -> Result<Self, NotTaken> {
        fcntl_setfd(&file, FdFlags::CLOEXEC).map_err(OsError::from)?;
        let number = file.as_raw_fd();
        let enter = |place: &&AtomicI32| {
            place.compare_exchange(FREE, number, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        let Some(place) = NUMBERS.iter().find(enter) else {
            // A fork may have copied it: closing it would not end the connection.
            let _ended = shutdown(&file, Shutdown::Both);
            return Err(NotTaken::TooMany);
        };
        let taken = Self { file: ManuallyDrop::new(file), place, epoch: before.epoch };
        // Dropping `taken` ends the connection, of which a child may have a copy.
        if before.holds() { Ok(taken) } else { Err(NotTaken::Forked) }
    }

    /// The descriptor, for a call that ends before the process forks again.
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
        // If it is not a socket, or no longer connected, there is no connection to end.
        let _ended = shutdown(&*self.file, Shutdown::Both);
        self.place.store(FREE, Ordering::SeqCst);
        // SAFETY: this process opened the descriptor, as its epoch says, and nobody else closes it; a drop happens once.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}

/// Runs before a fork, and before that fork is counted.
pub(super) fn fork_begins() {
    WORDS.under_way.fetch_add(1, Ordering::SeqCst);
}

/// Runs in the parent after the fork, and after the fork was counted again.
pub(super) fn fork_ended() {
    WORDS.under_way.fetch_sub(1, Ordering::SeqCst);
}

/// Closes, in the child, the descriptors that it must not have.
pub(super) fn close_in_child() {
    // The child does not have the other threads that were forking.
    WORDS.under_way.store(0, Ordering::SeqCst);
    for place in &NUMBERS {
        // Read first: the child has one thread, and if nothing is written, no page has to be copied.
        let number = place.load(Ordering::SeqCst);
        if number != FREE {
            place.store(FREE, Ordering::SeqCst);
            // SAFETY: a number in the table is owned by a `ClosedOnFork` of the parent and by nothing else in this
            // memory, and that owner never looks at it in this process.
            // It is EBADF if the descriptor was opened between the two copies. rustix would treat that as a bug of its
            // caller.
            unsafe { libc::close(number) };
        }
    }
}
