//! What wakes a reader that sleeps for long.
//!
//! A connection belongs to one process, so nobody else takes what arrives at it, and its reader could sleep until something
//! does. But there is a second thing that it looks after: what another thread could not write, because the socket was full.
//! So who leaves such a rest while the reader sleeps rings, and the reader then waits for room as well. The bell is made when
//! a reader has waited in vain for a first slice: short waits do without it, and use one system call less.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use mp_sys::descriptors::eventfd;
use rustix::event::EventfdFlags;
use rustix::io::{read, write};

/// Wakes the reader of one connection.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// `None` inside if there was no free descriptor.
    bell: OnceLock<Option<OwnedFd>>,
}

impl Alarm {
    /// What to wait for; `None` if there is no free descriptor, now and later.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        let made = self.bell.get_or_init(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok());
        made.as_ref().map(AsFd::as_fd)
    }

    /// Makes the bell readable.
    pub(super) fn ring(&self) {
        if let Some(Some(bell)) = self.bell.get() {
            // It fails only if it was rung 2^64 times.
            let _rung = write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Makes the bell wait for the next ring.
    pub(super) fn silence(&self) {
        if let Some(Some(bell)) = self.bell.get() {
            // Nobody rang.
            let _silenced = read(bell, &mut [0; 8]);
        }
    }
}
