//! Managers whose objects this process makes room for: in a server process that it starts, or in its own memory.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::CallError;
use crate::engine::InProcess;
use crate::limits::MEMORY_BYTES_DEFAULT;
use crate::manager::{Manager, ManagerBuilder};
use crate::process::{Order, ServerProcess, StartError};
use crate::registry;
use crate::state::Limits;

/// The settings of a server that is started.
#[derive(Clone, Default)]
pub(super) struct ServerSettings {
    pub(super) path: Option<PathBuf>,
    memory_bytes: Option<usize>,
    client_memory_bytes: Option<usize>,
    clients: Option<usize>,
    #[cfg(feature = "tcp")]
    tcp: Option<String>,
}

impl ManagerBuilder {
    /// Sets the absolute path at which a started server listens, so that other programs can find it. By default, it
    /// listens in a private folder.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.path = Some(path.into());
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
        let settings = &self.server;
        let limits = Limits {
            memory_bytes: settings.memory_bytes.unwrap_or(MEMORY_BYTES_DEFAULT),
            client_memory_bytes: settings.client_memory_bytes,
            ..Limits::default()
        };
        let order = Order::new(settings.path.as_deref(), self.key.clone(), limits, settings.clients)?;
        #[cfg(feature = "tcp")]
        let order = order.and_tcp(settings.tcp.clone())?;
        let process = ServerProcess::start(order)?;
        match registry::connect(process.address(), process.key(), self.deadline()) {
            Ok(backend) => Ok(Manager { backend, process: Some(Arc::new(process)) }),
            Err(error) => {
                process.kill();
                Err(error.into())
            }
        }
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
