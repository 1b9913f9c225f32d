//! Managers whose objects this process makes room for: in a server process that it starts, or in its own memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;

use crate::address::Address;
use crate::backend::CallError;
use crate::client::ConnectError;
use crate::engine::InProcess;
use crate::limits::MEMORY_BYTES_DEFAULT;
use crate::manager::{Manager, ManagerBuilder};
use crate::process::{Begun, Order, ServerProcess, StartError, begin};
use crate::proto::Fault;
use crate::registry;
use crate::state::Limits;

/// The settings of a server that is started.
#[derive(Clone, Default)]
pub(super) struct ServerSettings {
    pub(super) path: Option<PathBuf>,
    memory_bytes: Option<usize>,
    client_memory_bytes: Option<usize>,
    clients: Option<usize>,
    other_keys: Vec<Key>,
    idle_end: Option<Duration>,
    restore: Option<PathBuf>,
    keep: Option<PathBuf>,
    keep_every: Option<Duration>,
    #[cfg(feature = "tcp")]
    tcp: Option<String>,
}

/// How long to wait at first before connecting again to a server that is about to serve, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(32);
/// How long connecting to a server may take that has just been started, however little of the timeout is left.
const CONNECT_TIME: Duration = Duration::from_secs(1);

impl ManagerBuilder {
    /// Sets the absolute path at which a started server listens, so that other programs can find it. By default, it
    /// listens in a private folder.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.path = Some(path.into());
        self
    }

    /// Lets a started server accept another key, too, so that keys can be replaced one program after the other: see
    /// [`ServerBuilder::also_accept`](crate::ServerBuilder::also_accept). At most
    /// [`KEYS_MAX`](crate::limits::KEYS_MAX) keys are accepted at the same time.
    #[must_use]
    pub fn also_accept(mut self, key: impl Into<Key>) -> Self {
        self.server.other_keys.push(key.into());
        self
    }

    /// Sets how many bytes everything that a started server keeps may take together: values, objects, clients, waiting calls,
    /// frames and answers.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.server.memory_bytes = Some(bytes);
        self
    }

    /// Sets how many bytes a started server may keep for one client: items that it has taken and not confirmed, unread
    /// answers, unfinished frames, waiting calls, references, and what it holds. What a client stores belongs to the objects,
    /// and does not count. By default, it is half of [`memory_bytes_max`](Self::memory_bytes_max), and always at least
    /// [`CLIENT_SHARE_BYTES_MIN`](crate::limits::CLIENT_SHARE_BYTES_MIN).
    #[must_use]
    pub fn client_memory_bytes_max(mut self, bytes: usize) -> Self {
        self.server.client_memory_bytes = Some(bytes);
        self
    }

    /// Sets how many clients a started server accepts at the same time. Each needs a descriptor of the server's process. If
    /// the hard limit of descriptors (`RLIMIT_NOFILE`) is too low, the start fails with [`StartError::Bind`]. See also
    /// [`Manager::clients_max`].
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.server.clients = Some(clients);
        self
    }

    /// Lets a started server end when no client has been connected for this time. By default, it does not end for that reason.
    ///
    /// What the server holds ends with it, named objects as well, unless it [keeps](Self::keep) them. The first client has at least
    /// [`CONNECT_TIME_DEFAULT`](crate::limits::CONNECT_TIME_DEFAULT), however short the time is. A client that has only asked for
    /// reports does not count: see [`ServerBuilder::idle_end`](crate::ServerBuilder::idle_end).
    #[must_use]
    pub fn idle_end(mut self, after: Duration) -> Self {
        self.server.idle_end = Some(after);
        self
    }

    /// Lets a started server begin with the objects in a file that [`Manager::snapshot`] has written: see
    /// [`ServerBuilder::restore`](crate::ServerBuilder::restore). A file that cannot be restored is [`StartError::Restore`].
    #[must_use]
    pub fn restore(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.restore = Some(path.into());
        self
    }

    /// Lets a started server keep its objects in a file: it begins with those in it, if the file exists, and saves them there
    /// when it ends: see [`ServerBuilder::keep`](crate::ServerBuilder::keep). A server that ends because its program ends
    /// saves them as well; one that is killed does not.
    ///
    /// A program that has started the server waits in [`Manager::shutdown`] until they are saved, for at most
    /// [`SAVE_TIME_MAX`](crate::limits::SAVE_TIME_MAX).
    #[must_use]
    pub fn keep(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.keep = Some(path.into());
        self
    }

    /// Lets a started server save its objects to the file of [`keep`](Self::keep) at these intervals, too: see
    /// [`ServerBuilder::keep_every`](crate::ServerBuilder::keep_every).
    #[must_use]
    pub fn keep_every(mut self, interval: Duration) -> Self {
        self.server.keep_every = Some(interval);
        self
    }

    /// Lets a started server listen for other hosts at `HOST:PORT`, too, with everything encrypted. The name or the address
    /// of the host says at which of this machine's addresses; with port 0, the system chooses the port: see
    /// [`Manager::tcp_address`]. If a [`key`](Self::key) is set, it needs at least
    /// [`REMOTE_KEY_BYTES_MIN`](crate::limits::REMOTE_KEY_BYTES_MIN) bytes.
    ///
    /// A host that has been silent for 10 s counts as lost: what it held is released, and its calls fail.
    /// `HOST:PORT?lost_after=5s` sets another time.
    #[cfg(feature = "tcp")]
    #[must_use]
    pub fn tcp(mut self, address: impl Into<String>) -> Self {
        self.server.tcp = Some(address.into());
        self
    }

    /// Starts a server process, and connects to it: see [`Manager::start`].
    ///
    /// # Errors
    /// [`StartError`]. No server is left running then.
    pub fn start(self) -> Result<Manager, StartError> {
        let order = self.order(self.key.clone())?;
        let process = ServerProcess::start(order)?;
        match registry::connect(process.address(), process.key(), self.deadline()) {
            Ok(backend) => Ok(Manager { backend, process: Some(Arc::new(process)) }),
            Err(error) => {
                process.kill();
                Err(error.into())
            }
        }
    }

    /// Connects to the server at the [`path`](Self::path), or starts one there that outlives this program.
    ///
    /// Any number of programs may call this at the same time, and get the same server. The server has a session of its own, so
    /// it does not end with this process, its terminal or its process group. It ends with [`Manager::shutdown`], when it is
    /// [idle](Self::idle_end), or by SIGTERM or SIGINT. It runs this program, even if its file is replaced meanwhile, and has
    /// its environment and limits; its working folder is `/`. A service manager that ends all processes of a service ends the
    /// server as well.
    ///
    /// Without a [`key`](Self::key), every process of this user may connect. All programs set the same key, or none. The
    /// settings of the server, such as [`memory_bytes_max`](Self::memory_bytes_max), are those of the program that starts it.
    ///
    /// # Errors
    /// [`StartError`]: `NoPath`; `Restore`; `Connect` if a server is there, but cannot be used; `TimedOut` if no server could be
    /// reached within the [`timeout`](Self::timeout). That includes the time that a server needs to restore its objects, so if
    /// there are many, set a longer one. A server that this call has started and that does not serve by then is ended.
    ///
    /// # Fork safety
    /// As for [`Manager::start`].
    ///
    /// # Crash
    /// If this process is killed before it returns, there is no server, or one that serves others.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use std::time::Duration;
    ///
    /// use mp::manager::Manager;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("jobs.sock");
    /// // let path = "/run/user/1000/jobs.sock";
    /// let manager = Manager::builder().path(path).idle_end(Duration::from_secs(60)).connect_or_start()?;
    /// manager.named("starts").value(&0_u64)?.fetch_add(1)?;
    /// # manager.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect_or_start(self) -> Result<Manager, StartError> {
        let address = Address::local(self.server.path.clone().ok_or(StartError::NoPath)?)?;
        let key = self.key.clone().unwrap_or_else(|| registry::key_of(&address));
        let deadline = self.deadline();
        let mut pause = FIRST_PAUSE;
        let mut connected_by = deadline;
        loop {
            match registry::connect(&address, &key, connected_by) {
                Ok(backend) => return Ok(Manager::over(backend)),
                // No server is there, or the one that was there is ending.
                Err(error) if has_place(&error) => {}
                Err(error) => return Err(unreached(error)),
            }
            if deadline.has_passed() {
                return Err(StartError::TimedOut);
            }
            match begin(&self.order(Some(key.clone()))?, deadline) {
                // To start it may have used up the timeout.
                Ok(Begun::Serves) => connected_by = deadline.max(Deadline::after(CONNECT_TIME)),
                Ok(Begun::Exists) => {
                    std::thread::sleep(pause.min(deadline.remaining()));
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
                Err(StartError::TimedOut) => {
                    // It may have begun to serve at the last moment.
                    let reached = registry::connect(&address, &key, Deadline::after(CONNECT_TIME));
                    return reached.map(Manager::over).map_err(|error| match error {
                        error if has_place(&error) => StartError::TimedOut,
                        error => unreached(error),
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the settings for a server with this key, or a random one.
    fn order(&self, key: Option<Key>) -> Result<Order, StartError> {
        let settings = &self.server;
        let limits = Limits {
            memory_bytes: settings.memory_bytes.unwrap_or(MEMORY_BYTES_DEFAULT),
            client_memory_bytes: settings.client_memory_bytes,
            ..Limits::default()
        };
        let order = Order::new(settings.path.as_deref(), key, limits, settings.clients)?;
        let order = order.and_keys(&settings.other_keys)?;
        #[cfg(feature = "tcp")]
        let order = order.and_tcp(settings.tcp.clone())?;
        let order = order.and_idle_end(settings.idle_end).and_keep_every(settings.keep_every);
        order.and_files(settings.restore.as_deref(), settings.keep.as_deref())
    }
}

/// Returns `true` if there is room for another server, now or soon.
const fn has_place(error: &ConnectError) -> bool {
    matches!(error, ConnectError::NotFound | ConnectError::Closed | ConnectError::Refused(Fault::Ending))
}

/// Returns why a server that is there could not be reached.
fn unreached(error: ConnectError) -> StartError {
    match error {
        ConnectError::TimedOut => StartError::TimedOut,
        error => error.into(),
    }
}

impl Manager {
    /// Starts a manager: a server process with a private socket, and a connection to it.
    ///
    /// This needs no line in `main`, is not affected by other threads, and works in tests. The server ends when this
    /// process ends, in whatever way, or with [`shutdown`](Self::shutdown). It discards its log; to see the log, embed
    /// the server: [`Server`](crate::Server).
    ///
    /// This needs the feature `server`, which is enabled by default.
    ///
    /// # Errors
    /// [`StartError`]. No server is left running then.
    ///
    /// # Fork safety
    /// Forked children of this process use the same server, each over its own connection.
    ///
    /// # Crash
    /// If the server is killed, its objects are lost, and every client gets [`CallError::ServerGone`].
    ///
    /// # Source
    /// Python's `multiprocessing.Manager()`.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Manager;
    ///
    /// let manager = Manager::start()?;
    /// let words = manager.dict::<String, u64>()?;
    /// words.fetch_add("hello", 1)?;
    /// assert_eq!(words.get("hello")?, Some(1));
    /// manager.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start() -> Result<Self, StartError> {
        Self::builder().start()
    }

    /// Returns how many clients the server can have at the same time, if this process started it: as many as were set,
    /// or, by default, fewer than [`CLIENTS_MAX_DEFAULT`](crate::limits::CLIENTS_MAX_DEFAULT) if its process may not have
    /// a descriptor for each (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn clients_max(&self) -> Option<usize> {
        self.process.as_ref().map(|process| process.clients_max())
    }

    /// Returns the address at which other hosts reach the server, if this process started it with [`ManagerBuilder::tcp`].
    #[cfg(feature = "tcp")]
    #[must_use]
    pub fn tcp_address(&self) -> Option<String> {
        self.process.as_ref()?.tcp_address().map(str::to_owned)
    }

    /// Makes a manager in the memory of this process, for tests and for objects that threads share. No other process
    /// can see it.
    ///
    /// This needs the feature `server`, which is enabled by default.
    ///
    /// # Errors
    /// As for [`InProcess::new`].
    pub fn in_process() -> Result<Self, CallError> {
        Ok(Self::with(Arc::new(InProcess::new()?)))
    }
}
