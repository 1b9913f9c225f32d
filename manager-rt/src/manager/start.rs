//! Managers with a server process, started by this process or reached by their address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;
use mp_sys::line::Short;

use crate::address::Address;
use crate::backend::CallError;
use crate::limits::CONNECT_TIME_DEFAULT;
use crate::manager::Manager;
use crate::process::{Order, ServerProcess, StartError};
use crate::proto::ManagerOp;
use crate::registry::{self, ReachError};
use crate::state::Limits;

/// The settings with which a manager is started or reached: see [`Manager::builder`].
#[derive(Clone, Default)]
pub struct ManagerBuilder {
    key: Option<Key>,
    path: Option<PathBuf>,
    limits: Limits,
    timeout: Option<Duration>,
}

impl ManagerBuilder {
    /// Sets the key that clients must prove to know. By default, a started server has a random key.
    ///
    /// Children of this process get the key, however they are started: it is passed with the manager, or with a proxy,
    /// among their arguments. If the server has no [`path`](Self::path), its random key also lies beside its socket,
    /// where other processes of this user find it when they receive a proxy.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Like [`key`](Self::key), but reads the key from a file: its bytes, without a line break at the end.
    ///
    /// # Errors
    /// [`ReachError::Key`].
    pub fn key_file(self, path: impl AsRef<Path>) -> Result<Self, ReachError> {
        let mut key = std::fs::read(path).map_err(|error| ReachError::Key(error.into()))?;
        while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            key.pop();
        }
        Ok(self.key(key))
    }

    /// Sets the absolute path at which a started server listens, so that other programs can find it. By default, it
    /// listens in a private folder.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Sets how many bytes all values of a started server may take together.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.memory_bytes = bytes;
        self
    }

    /// Sets how many clients a started server accepts at the same time.
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.limits.clients = clients;
        self
    }

    /// Sets how long connecting may take. The default is [`CONNECT_TIME_DEFAULT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Starts a server process, and connects to it: see [`Manager::start`].
    ///
    /// # Errors
    /// [`StartError`]. No server is left running then.
    pub fn start(self) -> Result<Manager, StartError> {
        let order = Order::new(self.path.as_deref(), self.key.clone(), self.limits)?;
        let process = ServerProcess::start(order)?;
        match registry::connect(process.address(), process.key(), self.deadline()) {
            Ok(backend) => Ok(Manager { backend, process: Some(Arc::new(process)) }),
            Err(error) => {
                process.kill();
                Err(error.into())
            }
        }
    }

    /// Connects to the server at an address: see [`Manager::connect`].
    ///
    /// # Errors
    /// [`ReachError`].
    pub fn connect(self, address: &str) -> Result<Manager, ReachError> {
        let address: Address = address.parse()?;
        let deadline = self.deadline();
        let key = self.key.unwrap_or_else(|| registry::key_of(&address));
        let backend = registry::connect(&address, &key, deadline)?;
        Ok(Manager { backend, process: None })
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout.unwrap_or(CONNECT_TIME_DEFAULT))
    }
}

impl Manager {
    /// Starts a manager: a server process with a private socket, and a connection to it.
    ///
    /// This needs no line in `main`, is not affected by other threads, and works in tests. The server ends when this
    /// process ends, in whatever way, or with [`shutdown`](Self::shutdown). It discards its log; to see the log, embed
    /// the server: [`Server`](crate::Server).
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

    /// Returns a builder with which to set options before starting or connecting.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Connects to a manager that other processes use, at an `mp+unix:PATH` as [`address`](Self::address) returns it.
    ///
    /// # Errors
    /// [`ReachError`].
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// use mp::manager::Manager;
    ///
    /// let manager = Manager::start()?;
    /// let other = Manager::connect(&manager.address().unwrap())?; // usually in another program
    /// manager.named("n").value(&1_u32)?;
    /// assert_eq!(other.named("n").value(&0_u32)?.get()?, 1);
    /// # manager.shutdown()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(address: &str) -> Result<Self, ReachError> {
        Self::builder().connect(address)
    }

    /// Returns the address at which other processes reach the manager, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        self.backend().address()
    }

    /// Ends the manager for all its clients. If this process started it, waits for the server's end.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::ServerGone`] if it has already ended.
    pub fn shutdown(&self) -> Result<(), CallError> {
        let outcome = self.ask(ManagerOp::Shutdown).map(drop);
        if let Some(process) = &self.process {
            process.join();
        }
        match outcome {
            // The server has ended, but its last answer did not arrive.
            Err(CallError::OutcomeUnknown) if self.process.is_some() => Ok(()),
            outcome => outcome,
        }
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_some() { "with a key" } else { "without a key" };
        write!(f, "ManagerBuilder({key}")?;
        if let Some(path) = &self.path {
            write!(f, ", {}", Short(path))?;
        }
        f.write_str(")")
    }
}
