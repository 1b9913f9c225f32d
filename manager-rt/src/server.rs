//! The server of a manager: the state machine behind a socket, in one thread.

mod crowd;
mod descriptors;
pub(crate) mod dispatch;
mod event_loop;
mod peer;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use mio::Waker;
use mp_sys::OsError;
use mp_sys::descriptors::beside_standard;
use mp_sys::key::Key;
use mp_sys::line::Count;

use self::descriptors::Room;
use self::event_loop::{EventLoop, SetUp};
use crate::address::{Address, AddressError};
use crate::state::{Limits, State};
use crate::transport::local::{Acceptor, ListenError};
use crate::wire::frame;
#[cfg(test)]
use crate::wire::frame::FrameKind;

/// Why a server cannot listen at an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The path cannot be that of a socket.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A server already listens at this path.
    #[error("a server already listens at this path")]
    Exists,
    /// The path is that of a file which is not a socket, and which stays as it is.
    #[error("there is a file at this path that is not a socket")]
    NotASocket,
    /// The process may not have enough descriptors for the number of clients that was set (`RLIMIT_NOFILE`). The server
    /// raises the soft limit, but not the hard one.
    #[error(
        "there are descriptors for {possible} clients, and {wanted} were asked for: raise the hard limit (RLIMIT_NOFILE)"
    )]
    Descriptors {
        /// The number of clients that was set.
        wanted: usize,
        /// How many clients the server could have.
        possible: usize,
    },
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] OsError),
}

/// The settings of a server.
#[derive(Default)]
pub struct ServerBuilder {
    key: Key,
    limits: Limits,
    /// The most clients, if their number was set.
    clients: Option<usize>,
    ends: Vec<OwnedFd>,
    random: Random,
    #[cfg(test)]
    is_of_version_3: bool,
}

impl ServerBuilder {
    /// Sets the key that clients must prove to know. Without a key, every process of the same user may connect.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets how many bytes everything that the server keeps may take together: values, objects, clients, waiting calls, frames
    /// and answers.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.memory_bytes = bytes;
        self
    }

    /// Sets how many clients may be connected at the same time.
    ///
    /// Each needs a descriptor, and a second one for what its forked children inherit. [`bind`](Self::bind) raises this
    /// process's soft limit of descriptors as far as needed, and fails if the hard limit is too low for the clients.
    /// If it is too low for the second ones, some children are refused what they inherit. Without this setting, a server has room for
    /// [`CLIENTS_MAX_DEFAULT`](crate::limits::CLIENTS_MAX_DEFAULT) clients, or as many as the hard limit permits: see
    /// [`Server::clients_max`].
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Ends the server once this descriptor is readable or at its end.
    #[must_use]
    pub(crate) fn ends_with(mut self, file: OwnedFd) -> Self {
        self.ends.push(file);
        self
    }

    /// Uses these bytes for its epoch, and as the nonce of each handshake, so that a test can repeat one.
    #[cfg(test)]
    pub(crate) const fn not_random(mut self, bytes: [u8; 32]) -> Self {
        self.random = Random(Some(bytes));
        self
    }

    /// Speaks version 3 of the protocol as the builds did that knew no other, and panics at anything newer.
    #[cfg(test)]
    pub(crate) const fn of_version_3(mut self) -> Self {
        self.is_of_version_3 = true;
        self
    }

    /// Listens at a path in the file system.
    ///
    /// A socket that a killed server left there is replaced. Only processes of the same user may connect. As long as the
    /// server lives, it holds a lock on a file beside the socket, whose name is that of the socket with `.lock` at the
    /// end. So of several servers that start at the same path, one listens, and the others fail with
    /// [`BindError::Exists`].
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(self, path: impl AsRef<Path>) -> Result<Server, BindError> {
        let address = Address::local(path.as_ref())?;
        let wanted = self.clients.unwrap_or(self.limits.clients);
        let room = Room::make(wanted);
        if self.clients.is_some() && room.clients < wanted {
            return Err(BindError::Descriptors { wanted, possible: room.clients });
        }
        let acceptor = Acceptor::bind(address.path())?;
        let epoch = self.random.bytes()?;
        let epoch = epoch.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        let poll = beside_standard(mio::Poll::new)?;
        let waker = Arc::new(beside_standard(|| event_loop::waker(&poll))?);
        let terms = Terms {
            key: self.key,
            epoch,
            random: self.random,
            #[cfg(test)]
            is_of_version_3: self.is_of_version_3,
        };
        let limits = Limits { clients: room.clients, bequests: room.bequests, ..self.limits };
        let set_up = SetUp { state: State::new(limits), acceptor, terms, handshakes_max: room.handshakes };
        let work = EventLoop::new(poll, set_up, &self.ends)?;
        Ok(Server { work, waker, address, clients_max: room.clients, _ends: self.ends })
    }
}

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
    /// If the system can no longer report events.
    #[doc(alias = "serve_forever")]
    pub fn serve(mut self) -> Result<(), OsError> {
        self.work.run()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({:?})", self.address)
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_none() { "without a key" } else { "with a key" };
        write!(f, "ServerBuilder({key}, at most {})", Count(self.limits.memory_bytes, "byte"))
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
    key: Key,
    epoch: u128,
    random: Random,
    #[cfg(test)]
    is_of_version_3: bool,
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
    fn lent(&self) -> mp_sys::handshake::Terms<'_> {
        #[cfg(test)]
        if self.is_of_version_3 {
            return mp_sys::handshake::Terms { offer: None, ..frame::terms(self.key.as_bytes()) };
        }
        frame::terms(self.key.as_bytes())
    }
}

#[cfg(test)]
impl Terms {
    /// Panics at a frame that the server's version of the protocol does not know.
    fn check(&self, kind: FrameKind, body: &[u8]) {
        use crate::proto::{Call, Raw, Step, Travels};
        use crate::wire::decode::whole;

        let since = match kind {
            FrameKind::Transaction => whole::<Vec<Step<Raw<'_>>>>(body).map(|steps| steps.since()),
            _ => whole::<Call<Raw<'_>>>(body).map(|call| call.since()),
        };
        assert!(!self.is_of_version_3 || since.is_none_or(|since| since == 3), "{kind:?} is newer");
    }
}

impl From<ListenError> for BindError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Exists => Self::Exists,
            ListenError::NotASocket => Self::NotASocket,
            ListenError::System(error) => Self::System(error),
        }
    }
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

#[cfg(test)]
mod tests;
