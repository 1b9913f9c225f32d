//! The settings of a server, and how it comes to listen.

mod keys;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::OsError;
use mp_sys::deadline::Deadline;
use mp_sys::descriptors::beside_standard;
use mp_sys::key::Key;
use mp_sys::line::Count;
use rustix::io::Errno;

use super::descriptors::Room;
use super::event_loop::{self, EventLoop, Kept, SetUp};
use super::keys::{Keys, Renewal};
use super::save::{self, Claim, RestoreError};
use super::sockets::Sockets;
use super::{BindError, Random, Server, Terms};
use crate::address::Address;
#[cfg(feature = "tcp")]
use crate::address::{AddressError, HostPort};
use crate::limits::END_TIME_MAX;
#[cfg(doc)]
use crate::limits::REMOTE_KEY_BYTES_MIN;
use crate::state::{Limits, SnapshotFault};
use crate::transport::local::Acceptor;
use crate::transport::{Acceptors, Listening};

/// The settings of a server.
#[derive(Default)]
pub struct ServerBuilder {
    key: Key,
    limits: Limits,
    /// The most clients, if their number was set.
    clients: Option<usize>,
    ends: Vec<OwnedFd>,
    idle_end: Option<Duration>,
    restore: Option<PathBuf>,
    keep: Option<PathBuf>,
    keep_every: Option<Duration>,
    save_time: Option<Duration>,
    given: Vec<OwnedFd>,
    random: Random,
    #[cfg(test)]
    version: Option<u16>,
    /// Keys besides the first one.
    other_keys: Vec<Key>,
    renewal: Option<Renewal>,
    #[cfg(feature = "tcp")]
    tcp: Vec<HostPort>,
}

impl ServerBuilder {
    /// Listens for other hosts at `HOST:PORT`, too, with everything encrypted, and returns an error if that is not such an
    /// address. The name or the address of the host says at which of this machine's addresses; with port 0, the system
    /// chooses the port: see [`Server::tcp_addresses`]. A server that other hosts reach needs a key of at least
    /// [`REMOTE_KEY_BYTES_MIN`] bytes.
    ///
    /// A host that has been silent for 10 s counts as lost. `HOST:PORT?lost_after=5s` sets another time.
    ///
    /// # Errors
    /// [`AddressError`].
    #[cfg(feature = "tcp")]
    pub fn tcp(mut self, address: &str) -> Result<Self, AddressError> {
        self.tcp.push(HostPort::parse(address.strip_prefix("mp+tcp://").unwrap_or(address))?);
        Ok(self)
    }

    /// Sets how many bytes everything that the server keeps may take together: values, objects, clients, waiting calls, frames
    /// and answers.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.memory_bytes = bytes;
        self
    }

    /// Sets how many bytes the server may keep for one client: items that it has taken and not confirmed, unread answers,
    /// unfinished frames, waiting calls, references, and what it holds. What a client stores belongs to the objects, and does
    /// not count.
    ///
    /// A client that asks for more gets [`Fault::NoRoom`](crate::Fault::NoRoom) with
    /// [`Room::Client`](crate::proto::Room::Client), and the others do not notice. By default, it is half of
    /// [`memory_bytes_max`](Self::memory_bytes_max), and always at least
    /// [`CLIENT_SHARE_BYTES_MIN`](crate::limits::CLIENT_SHARE_BYTES_MIN).
    #[must_use]
    pub fn client_memory_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.client_memory_bytes = Some(bytes);
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

    /// Ends the server when no client has been connected for this time. By default, it does not end for that reason.
    ///
    /// What the server holds ends with it, named objects as well, unless it [keeps](Self::keep) them. The first client has at least
    /// [`CONNECT_TIME_DEFAULT`](crate::limits::CONNECT_TIME_DEFAULT), however short the time is. A connection counts from
    /// the moment at which it is accepted, and until it is closed. Only one whose client has done nothing but ask for reports
    /// ([`Manager::report`](crate::Manager::report), `mp-manager top`) does not count, as long as that has no proxies and waits for
    /// nothing.
    #[must_use]
    pub fn idle_end(mut self, after: Duration) -> Self {
        self.idle_end = Some(after);
        self
    }

    /// Begins with the objects in a file that [`Manager::snapshot`](crate::Manager::snapshot) has written. Objects have the
    /// same names and contents. What clients held when it was written is free, and tasks that were in work are first in their
    /// queues.
    ///
    /// A file that is damaged, incomplete, or beyond the limits of this server is [`BindError::Restore`], and nothing of it is
    /// restored. If a [signal](Self::end_on_signals) asks the server to end meanwhile, its cause is `ECANCELED`.
    #[must_use]
    pub fn restore(mut self, path: impl Into<PathBuf>) -> Self {
        self.restore = Some(path.into());
        self
    }

    /// Keeps the objects in a file: begins with those in it, if it exists, and saves them there when the server ends by itself,
    /// by [`Manager::shutdown`](crate::Manager::shutdown), by [`Stopper::stop`](super::Stopper::stop), by being
    /// [idle](Self::idle_end) or by a [signal](Self::end_on_signals).
    ///
    /// Nobody else can replace the file meanwhile: another server with the same file is
    /// [`SnapshotFault::KeptByAnother`].
    ///
    /// If the folder is missing, it may be made later, but a file that is there by then was not read, and is not replaced (`EEXIST`).
    /// Anything else that prevents the server from keeping its objects is [`BindError::Restore`].
    ///
    /// If they cannot be saved, the file is as it was before. Then an idle server goes on, and otherwise
    /// [`Server::serve`] returns the error. What is saved is described at
    /// [`Manager::snapshot`](crate::Manager::snapshot).
    #[must_use]
    pub fn keep(mut self, path: impl Into<PathBuf>) -> Self {
        self.keep = Some(path.into());
        self
    }

    /// Saves the objects to the file of [`keep`](Self::keep) at these intervals, too, so that a server that is killed has lost
    /// only what changed since the last time. Nothing is saved as long as nothing has changed since then. If the file
    /// cannot be replaced, it stays as it is, and the server goes on. A server that is killed while it saves leaves the previous file.
    #[must_use]
    pub fn keep_every(mut self, interval: Duration) -> Self {
        self.keep_every = Some(interval);
        self
    }

    /// Sets how long a snapshot may take, from the moment at which the server hears of it. Then it fails with
    /// [`Fault::NotSaved`](crate::Fault::NotSaved) and `ETIMEDOUT`, and the file is as it was before. By default, it is
    /// [`SAVE_TIME_MAX`](crate::limits::SAVE_TIME_MAX).
    #[must_use]
    pub fn save_time_max(mut self, time: Duration) -> Self {
        self.save_time = Some(time);
        self
    }

    /// Listens at a socket that somebody else has made, and that already listens at a path or a port. It stays when the
    /// server ends. For a port, the server needs a key of at least [`REMOTE_KEY_BYTES_MIN`] bytes.
    ///
    /// With [`bind`](Self::bind), the server listens at its own path as well, and with [`serve_given`](Self::serve_given) only
    /// at such sockets.
    #[must_use]
    pub fn listening(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.given.push(socket.into());
        self
    }

    /// Listens at the sockets that a service manager has passed to this process (systemd's socket activation), whatever
    /// their names are. Without any, this changes nothing. Only the first call in a process finds them: see
    /// [`serve_given`](Self::serve_given).
    ///
    /// # Errors
    /// [`BindError::Activation`].
    ///
    /// # Source
    /// sd_listen_fds(3).
    pub fn activated(mut self) -> Result<Self, BindError> {
        self.given.extend(mp_sys::activation::take()?.into_iter().map(|given| given.file));
        Ok(self)
    }

    /// Returns `true` if the server has a socket that somebody else made.
    #[must_use]
    pub const fn has_sockets(&self) -> bool {
        !self.given.is_empty()
    }

    /// Ends the server by SIGTERM or SIGINT as by [`Stopper::stop`](super::Stopper::stop). For a process that only serves and has
    /// one thread: the signals are blocked for the calling thread, and for what it starts or executes later. SIGHUP is
    /// ignored, unless it is blocked, as it is by [`keys_on_hangup`](Self::keys_on_hangup).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn end_on_signals(self) -> Result<Self, OsError> {
        Ok(self.ends_with(mp_sys::signals::end_requests()?))
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

    /// Speaks an older version of the protocol as the builds did whose newest version it was, and panics at anything newer.
    #[cfg(test)]
    pub(crate) const fn of_version(mut self, version: u16) -> Self {
        self.version = Some(version);
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
        self.build(Some(path.as_ref()))
    }

    /// Listens only at the sockets that were [given](Self::listening), or [passed by a service manager](Self::activated).
    ///
    /// # Errors
    /// [`BindError::NoSocket`] if there are none, and the others.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Server;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("manager.sock");
    /// let builder = Server::builder().activated()?;
    /// let server = if builder.has_sockets() { builder.serve_given()? } else { builder.bind(path)? };
    /// # drop(server);
    /// # Ok::<(), manager_rt::BindError>(())
    /// ```
    pub fn serve_given(self) -> Result<Server, BindError> {
        self.build(None)
    }

    fn build(mut self, path: Option<&Path>) -> Result<Server, BindError> {
        let own = path.map(Address::local).transpose()?;
        let wanted = self.clients.unwrap_or(self.limits.clients);
        let room = Room::make(wanted);
        if self.clients.is_some() && room.clients < wanted {
            return Err(BindError::Descriptors { wanted, possible: room.clients });
        }
        let keys = self.take_keys()?;
        let mut sockets = Sockets::new(&keys);
        if let Some(path) = path {
            sockets.all.push(Listening::Local(Acceptor::bind(path)?));
        }
        for file in std::mem::take(&mut self.given) {
            sockets.take(file)?;
        }
        #[cfg(feature = "tcp")]
        for at in &self.tcp {
            sockets.listen_at(at)?;
        }
        let address = own.or_else(|| sockets.first()).ok_or(BindError::NoSocket)?;
        #[cfg(feature = "tcp")]
        let tcp_addresses = std::mem::take(&mut sockets.tcp_addresses);
        let acceptors = Acceptors::new(sockets.all);
        let epoch = self.random.bytes()?;
        let epoch = epoch.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
        let poll = beside_standard(mio::Poll::new)?;
        let waker = Arc::new(beside_standard(|| event_loop::waker(&poll))?);
        let terms = Terms {
            keys: Keys::new(keys),
            epoch,
            random: self.random,
            #[cfg(test)]
            version: self.version,
        };
        let limits = Limits { clients: room.clients, bequests: room.bequests, ..self.limits };
        let kept = self.keep.take().map(kept).transpose()?;
        let state = save::initial(
            limits,
            self.restore.as_deref(),
            kept.as_ref().map(|kept| &*kept.path),
            &self.ends,
        )?;
        let set_up = SetUp { state, acceptors, terms, handshakes_max: room.handshakes };
        let mut work = EventLoop::new(poll, set_up, &self.ends)?;
        if let Some(renewal) = self.renewal.take() {
            work.renew_keys_by(renewal)?;
        }
        if let Some(after) = self.idle_end {
            work.end_when_idle(after);
        }
        if let Some(time) = self.save_time {
            work.limit_snapshots(time);
        }
        if let Some(kept) = kept {
            work.keep_in(kept);
            if let Some(interval) = self.keep_every {
                work.keep_every(interval);
            }
        }
        Ok(Server {
            work,
            waker,
            address,
            #[cfg(feature = "tcp")]
            tcp_addresses,
            clients_max: room.clients,
            _ends: self.ends,
        })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_none() { "without a key" } else { "with a key" };
        write!(f, "ServerBuilder({key}, at most {})", Count(self.limits.memory_bytes, "byte"))
    }
}

/// Takes the right to keep objects in a file, from before it is read. A server may be about to end, or have left a process that writes a
/// snapshot to it, so this waits for a while.
fn kept(path: PathBuf) -> Result<Kept, RestoreError> {
    match Claim::take_within(&path, Deadline::after(END_TIME_MAX)) {
        Ok(claim) => Ok(Kept { path, claim: Some(claim) }),
        Err(error) if error == Errno::BUSY.into() => {
            Err(RestoreError { path, fault: SnapshotFault::KeptByAnother })
        }
        Err(error) if error == Errno::NOENT.into() => {
            // The folder may be made later.
            tracing::debug!(path = %path.display(), "the folder in which objects are kept is missing");
            Ok(Kept { path, claim: None })
        }
        Err(error) => Err(RestoreError { path, fault: SnapshotFault::System(error) }),
    }
}
