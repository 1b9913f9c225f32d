//! A bell that wakes a reader from a long sleep.
//!
//! A connection belongs to one process, so no other process takes what arrives on it, and its reader could sleep until
//! something arrives. But the reader also has to write what another thread could not, because the socket was full. A
//! thread that leaves such a rest while the reader sleeps therefore rings, and the reader then also waits for room. The
//! bell is made when a reader has waited in vain for a first slice, so short waits save that system call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use mp_sys::descriptors::eventfd;
use rustix::event::EventfdFlags;
use rustix::io::{read, write};

/// Wakes the reader of one connection.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Contains `None` if no descriptor was free.
    bell: OnceLock<Option<OwnedFd>>,
}

impl Alarm {
    /// Returns the descriptor to wait for, or `None` if no descriptor was free, now and later.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        let made = self.bell.get_or_init(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok());
        made.as_ref().map(AsFd::as_fd)
    }

    /// Makes the bell readable.
    pub(super) fn ring(&self) {
        if let Some(Some(bell)) = self.bell.get() {
            // This fails only after 2^64 rings.
            let _rung = write(bell, &1_u64.to_ne_bytes());
        }
    }

    /// Resets the bell, so that it can ring again.
    pub(super) fn silence(&self) {
        if let Some(Some(bell)) = self.bell.get() {
            // The bell had not rung.
            let _silenced = read(bell, &mut [0; 8]);
        }
    }
}
