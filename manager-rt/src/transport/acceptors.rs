//! The sockets at which a server accepts connections.

use std::io;
use std::os::fd::RawFd;

use super::Channel;
use super::local::Acceptor;
#[cfg(feature = "tcp")]
use super::remote::tcp::TcpAcceptor;

/// A socket in the file system, and the ports at which other hosts connect.
#[derive(Debug)]
pub(crate) struct Acceptors {
    local: Acceptor,
    #[cfg(feature = "tcp")]
    remote: Vec<TcpAcceptor>,
    /// The socket whose turn it is.
    next: usize,
}

impl Acceptors {
    pub(crate) fn new(local: Acceptor) -> Self {
        Self {
            local,
            #[cfg(feature = "tcp")]
            remote: Vec::new(),
            next: 0,
        }
    }

    /// Accepts connections of other hosts, too.
    #[cfg(feature = "tcp")]
    pub(crate) fn and_remote(mut self, remote: Vec<TcpAcceptor>) -> Self {
        self.remote = remote;
        self
    }

    /// Returns the numbers of the descriptors, for an event loop.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        #[cfg(feature = "tcp")]
        let remote = self.remote.iter().map(TcpAcceptor::number);
        #[cfg(not(feature = "tcp"))]
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
                #[cfg(feature = "tcp")]
                Some(turn) => self.remote.get(turn).map_or(Ok(None), TcpAcceptor::accept),
                #[cfg(not(feature = "tcp"))]
                Some(_) => Ok(None),
            }?;
            if accepted.is_some() {
                return Ok(accepted);
            }
        }
        Ok(None)
    }

    const fn len(&self) -> usize {
        #[cfg(feature = "tcp")]
        return self.remote.len().saturating_add(1);
        #[cfg(not(feature = "tcp"))]
        1
    }
}
