//! The sockets at which a server accepts connections.

use std::io;
use std::os::fd::RawFd;
#[cfg(feature = "tcp")]
use std::sync::Arc;

use super::Channel;
use super::local::Acceptor;
#[cfg(feature = "tcp")]
use super::remote::{SharedKey, tcp::TcpAcceptor};

/// One socket of a server.
#[derive(Debug)]
pub(crate) enum Listening {
    /// A socket in the file system.
    Local(Acceptor),
    /// A port at which other hosts connect.
    #[cfg(feature = "tcp")]
    Remote(TcpAcceptor),
}

impl Listening {
    fn number(&self) -> RawFd {
        match self {
            Self::Local(acceptor) => acceptor.number(),
            #[cfg(feature = "tcp")]
            Self::Remote(acceptor) => acceptor.number(),
        }
    }

    /// Returns `true` for a socket that a service manager has made. It stays when the server ends.
    const fn is_given(&self) -> bool {
        match self {
            Self::Local(acceptor) => acceptor.is_given(),
            #[cfg(feature = "tcp")]
            Self::Remote(acceptor) => acceptor.is_given(),
        }
    }

    fn accept(&self) -> io::Result<Option<Channel>> {
        match self {
            Self::Local(acceptor) => acceptor.accept(),
            #[cfg(feature = "tcp")]
            Self::Remote(acceptor) => acceptor.accept(),
        }
    }
}

/// All sockets of a server.
#[derive(Debug)]
pub(crate) struct Acceptors {
    all: Vec<Listening>,
    /// The socket whose turn it is.
    next: usize,
    /// Whether connections at sockets that stay are left for the next server.
    leaves_given: bool,
}

impl Acceptors {
    pub(crate) const fn new(all: Vec<Listening>) -> Self {
        Self { all, next: 0, leaves_given: false }
    }

    /// Leaves new connections at sockets that a service manager has made for the next server, or no longer does.
    pub(crate) const fn leave_given(&mut self, leaves: bool) {
        self.leaves_given = leaves;
    }

    /// Returns the numbers of the descriptors, for an event loop.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.all.iter().map(Listening::number).collect()
    }

    /// Returns `true` if other hosts reach one of the sockets.
    #[cfg(feature = "tcp")]
    pub(crate) fn are_remote(&self) -> bool {
        self.all.iter().any(|socket| matches!(socket, Listening::Remote(_)))
    }

    /// Lets other hosts connect with these keys from now on.
    #[cfg(feature = "tcp")]
    pub(crate) fn accept_keys(&mut self, keys: &Arc<[SharedKey]>) {
        for socket in &mut self.all {
            if let Listening::Remote(acceptor) = socket {
                acceptor.accept_keys(Arc::clone(keys));
            }
        }
    }

    /// Returns the next connection, or `None` if there is none now. The sockets take turns, so that a flood at one of them does
    /// not keep away the connections of another.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) fn accept(&mut self) -> io::Result<Option<Channel>> {
        for _ in 0..self.all.len() {
            let turn = self.next;
            self.next = turn.saturating_add(1).checked_rem(self.all.len()).unwrap_or(0);
            let socket = self.all.get(turn).filter(|socket| !(self.leaves_given && socket.is_given()));
            let accepted = socket.map_or(Ok(None), Listening::accept)?;
            if accepted.is_some() {
                return Ok(accepted);
            }
        }
        Ok(None)
    }
}
