//! The server of a manager: the state machine behind a socket, in one thread.

mod bind_error;
mod builder;
mod crowd;
mod descriptors;
pub(crate) mod dispatch;
mod event_loop;
mod keys;
mod peer;
mod save;
mod sockets;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use mio::Waker;
use mp_sys::OsError;

pub use self::bind_error::BindError;
pub use self::builder::ServerBuilder;
use self::event_loop::EventLoop;
use self::keys::Keys;
pub use self::save::RestoreError;
pub(crate) use self::save::outcome_of;
use crate::address::Address;
use crate::wire::frame;
#[cfg(test)]
use crate::wire::frame::FrameKind;

/// The objects of a manager, and the socket at which clients reach them.
///
/// `Manager::start` runs a server in a separate process. Use this type to run it yourself, in a process or a thread.
///
/// | property | |
/// |---|---|
/// | thread | one: the caller of [`serve`](Self::serve) |
/// | who may connect | processes of the same user; with a key, only those that know it |
/// | feature | `server`, which is enabled by default |
/// | drop | the objects end, and calls of clients return [`CallError::ServerGone`](crate::CallError::ServerGone) |
///
/// # Fork safety
/// A forked child inherits copies of the server's connections. It should exec or end soon, since clients notice the
/// server's end only when the last copy is closed.
///
/// # Crash
/// The objects end with the process, and every client gets an error.
///
/// # Source
/// Python's `BaseManager.get_server().serve_forever()`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Server;
///
/// let folder = tempfile::tempdir()?;
/// let server = Server::bind(folder.path().join("manager.sock"))?;
/// let stopper = server.stopper();
/// std::thread::scope(|scope| {
///     scope.spawn(|| server.serve());
///     stopper.stop();
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "get_server")]
pub struct Server {
    work: EventLoop,
    waker: Arc<Waker>,
    address: Address,
    #[cfg(feature = "tcp")]
    tcp_addresses: Vec<Address>,
    clients_max: usize,
    /// The event loop watches it, so it is kept open.
    _ends: Vec<OwnedFd>,
}

impl Server {
    /// Listens at a path in the file system, without a key and with the default limits.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, BindError> {
        Self::builder().bind(path)
    }

    /// Returns a builder for a server with other settings.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Returns the address at which the server listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the addresses at which other hosts reach the server.
    #[cfg(feature = "tcp")]
    #[must_use]
    pub fn tcp_addresses(&self) -> &[Address] {
        &self.tcp_addresses
    }

    /// Returns how many clients can be connected at the same time: as many as were set, or, by default, fewer than
    /// [`CLIENTS_MAX_DEFAULT`](crate::limits::CLIENTS_MAX_DEFAULT) if the process may not have a descriptor for each
    /// (`RLIMIT_NOFILE`). The next one is refused with [`Fault::TooMany`](crate::Fault::TooMany).
    #[must_use]
    pub const fn clients_max(&self) -> usize {
        self.clients_max
    }

    /// Returns a handle that ends the server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { waker: Arc::clone(&self.waker) }
    }

    /// Serves until the server is ended.
    ///
    /// # Errors
    /// If the system can no longer report events, or the objects cannot be saved as [`ServerBuilder::keep`] asks.
    #[doc(alias = "serve_forever")]
    pub fn serve(self) -> Result<(), OsError> {
        self.serve_with(|| {})
    }

    /// Serves like [`serve`](Self::serve), and calls `ending` when the server begins to end, before it saves its objects. That may take
    /// a while, and a supervisor should know of it. An idle server saves first, and goes on if that is not possible.
    ///
    /// # Errors
    /// As for [`serve`](Self::serve).
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Server;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let server = Server::bind(folder.path().join("manager.sock"))?;
    /// server.stopper().stop();
    /// server.serve_with(|| println!("STOPPING=1"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve_with(mut self, ending: impl FnOnce()) -> Result<(), OsError> {
        self.work.run(ending)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({:?})", self.address)
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

/// A handle that ends a server.
#[derive(Clone)]
pub struct Stopper {
    waker: Arc<Waker>,
}

impl Stopper {
    /// Ends the server after its current operation.
    pub fn stop(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the server cannot be asked to end");
        }
    }
}

/// The terms on which a server and its clients agree.
#[derive(Debug)]
struct Terms {
    keys: Keys,
    epoch: u128,
    random: Random,
    #[cfg(test)]
    version: Option<u16>,
}

/// The source of bytes that cannot be guessed; fixed bytes in tests.
#[derive(Debug, Clone, Copy, Default)]
struct Random(Option<[u8; 32]>);

impl Random {
    fn bytes(self) -> Result<[u8; 32], OsError> {
        self.0.map_or_else(mp_sys::handoff::nonce, Ok)
    }
}

impl Terms {
    /// Returns the terms for a peer with this one of the keys that were accepted when it connected.
    fn lent(&self, generation: u32, key: usize) -> mp_sys::handshake::Terms<'_> {
        let key = self.keys.of(generation, key);
        #[cfg(test)]
        if let Some(version) = self.version {
            return frame::terms_of(version, key);
        }
        frame::terms(key)
    }
}

#[cfg(test)]
impl Terms {
    /// Panics at a frame that the server's version of the protocol does not know.
    fn check(&self, kind: FrameKind, body: &[u8]) {
        use crate::proto::version::CALLS_TOGETHER_SINCE;
        use crate::proto::{Call, Raw, Step, Travels};
        use crate::wire::decode::whole;

        let newest = self.version.unwrap_or(u16::MAX);
        let are_together = matches!(kind, FrameKind::Calls(_));
        assert!(!are_together || newest >= CALLS_TOGETHER_SINCE, "several calls in one frame are newer");
        let since = match kind {
            FrameKind::Transaction => whole::<Vec<Step<Raw<'_>>>>(body).map(|steps| steps.since()),
            _ => whole::<Call<Raw<'_>>>(body).map(|call| call.since()),
        };
        assert!(since.is_none_or(|since| since <= newest), "{kind:?} is newer");
    }
}

#[cfg(test)]
mod tests;
