//! The sockets at which a server accepts connections.

use std::io;
use std::os::fd::RawFd;

use super::Channel;
use super::local::Acceptor;

/// A socket in the file system, and the ports at which other hosts connect.
#[derive(Debug)]
pub(crate) struct Acceptors {
    local: Acceptor,
    /// The socket whose turn it is.
    next: usize,
}

impl Acceptors {
    pub(crate) fn new(local: Acceptor) -> Self {
        Self { local, next: 0 }
    }

    /// Returns the numbers of the descriptors, for an event loop.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        let remote = std::iter::empty();
        std::iter::once(self.local.number()).chain(remote).collect()
    }

    /// Returns the next connection, or `None` if there is none now. The sockets take turns, so that a flood at one of them does
    /// not keep away the connections of another.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) fn accept(&mut self) -> io::Result<Option<Channel>> {
        for _ in 0..self.len() {
            let turn = self.next;
            self.next = turn.saturating_add(1).checked_rem(self.len()).unwrap_or(0);
            let accepted = match turn.checked_sub(1) {
                None => self.local.accept(),
                Some(_) => Ok(None),
            }?;
            if accepted.is_some() {
                return Ok(accepted);
            }
        }
        Ok(None)
    }

    const fn len(&self) -> usize {
        1
    }
}
