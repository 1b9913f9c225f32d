//! Managers behind a server process: started here, or reached by their address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;
use mp_sys::line::Short;

use crate::address::{Address, AddressError};
use crate::backend::{Backend, CallError};
use crate::client::{ConnectError, Remote};
use crate::limits::CONNECT_TIME_DEFAULT;
use crate::manager::Manager;
use crate::process::{Order, ServerProcess, StartError};
use crate::proto::ManagerOp;
use crate::registry;
use crate::state::Limits;

/// How a manager is started or reached: [`Manager::builder`].
#[derive(Clone, Default)]
pub struct ManagerBuilder {
    key: Option<Key>,
    path: Option<PathBuf>,
    limits: Limits,
    timeout: Option<Duration>,
}

/// Why a manager cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// The manager lives in the memory of another process: it was made by [`Manager::in_process`].
    #[error(
        "the manager has no address, since it lives in the memory of the process that made it: objects for several \
         processes need one that was started (Manager::start)"
    )]
    NoAddress,
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server cannot be connected to.
    #[error("the manager cannot be reached: {0}")]
    Connect(#[from] ConnectError),
    /// The server has a key of its own, which this process does not know: a proxy brings it along in the arguments of a
    /// child, and in no other message.
    #[error(
        "the manager has a key that this process does not know: connect with it (Manager::builder().key) before proxies \
         arrive"
    )]
    NeedsKey,
    /// Another server has the address now: the objects of the earlier one are gone.
    #[error("the manager was started again: its objects are gone")]
    Restarted,
    /// The file of the key cannot be read.
    #[error("the key cannot be read: {0}")]
    Key(#[source] crate::OsError),
}

impl ManagerBuilder {
    /// The key that clients must prove to have. A server that is started without one has a random key.
    ///
    /// Children of this process have the key, whichever way they were started and whichever key it is: it comes with the
    /// manager, or a proxy, among their arguments. A random key of a server without a [`path`](Self::path) also lies beside
    /// its socket, where the processes of this user find it that are sent a proxy.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// As [`key`](Self::key), out of a file: its bytes, without a line end behind them.
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

    /// Where the server that is started listens, so that other programs find it: an absolute path. Else it is in a private
    /// folder.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// How many bytes all values of the server that is started may take together.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.memory_bytes = bytes;
        self
    }

    /// How many clients the server that is started has at the same time, at most.
    #[must_use]
    pub fn clients_max(mut self, clients: usize) -> Self {
        self.limits.clients = clients;
        self
    }

    /// How long connecting may take; [`CONNECT_TIME_DEFAULT`] by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Starts a server process, and connects to it: [`Manager::start`].
    ///
    /// # Errors
    /// [`StartError`]: there is no server then.
    pub fn start(self) -> Result<Manager, StartError> {
        let order = Order::new(self.path.as_deref(), self.key.clone(), self.limits)?;
        let process = ServerProcess::start(order)?;
        let remote = Remote::connect(process.address(), process.key(), self.deadline());
        match remote {
            Ok(remote) => {
                registry::learn_key(process.address(), process.key());
                Ok(Manager { process: Some(Arc::new(process)), ..Manager::with(remote) })
            }
            Err(error) => {
                process.kill();
                Err(error.into())
            }
        }
    }

    /// Connects to the server of an address: [`Manager::connect`].
    ///
    /// # Errors
    /// [`ReachError`].
    pub fn connect(self, address: &str) -> Result<Manager, ReachError> {
        let address: Address = address.parse()?;
        let deadline = self.deadline();
        let key = self.key.unwrap_or_else(|| registry::key_of(&address));
        let remote = Remote::connect(&address, &key, deadline)?;
        registry::learn_key(&address, &key);
        Ok(Manager::with(remote))
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout.unwrap_or(CONNECT_TIME_DEFAULT))
    }
}

impl Manager {
    /// Starts a manager: a server process with a private socket, and a connection to it.
    ///
    /// No line in `main` is needed; threads do not matter; it works in tests. The server ends when this process ends,
    /// however that ends, or by [`shutdown`](Self::shutdown). It discards its log; to see the log, embed the server:
    /// [`Server`](crate::Server).
    ///
    /// # Errors
    /// [`StartError`]: there is no server then.
    ///
    /// # Fork safety
    /// Children that are forked from this process use the same server, each over a connection of its own.
    ///
    /// # Crash
    /// A killed server takes its objects with it, and every client is told:
    /// [`CallError::ServerGone`].
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

    /// What a manager can be told before it is started or connected to.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Connects to a manager that other processes use: `mp+unix:PATH`, as [`address`](Self::address) gives it.
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

    /// Where other processes reach the manager, if they can.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        self.backend().address()
    }

    /// Ends the manager, for all its clients. If it was started by this process, its end is waited for.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::ServerGone`] if it has ended already.
    pub fn shutdown(&self) -> Result<(), CallError> {
        let outcome = self.ask(ManagerOp::Shutdown).map(drop);
        if let Some(process) = &self.process {
            process.join();
        }
        match outcome {
            // It has ended, and its last words were not heard.
            Err(CallError::OutcomeUnknown) if self.process.is_some() => Ok(()),
            outcome => outcome,
        }
    }
}

/// The backend of a manager, from whose proxies it is known where it is and which life of it is meant.
///
/// # Errors
/// [`ReachError`].
pub(crate) fn reach(address: Option<&str>, epoch: u128) -> Result<Arc<dyn Backend>, ReachError> {
    if let Some(backend) = registry::find(epoch) {
        return Ok(backend);
    }
    let manager = Manager::connect(address.ok_or(ReachError::NoAddress)?).map_err(|error| match error {
        ReachError::Connect(ConnectError::Unauthorised) => ReachError::NeedsKey,
        error => error,
    })?;
    if manager.backend().epoch() == epoch {
        Ok(Arc::clone(manager.backend()))
    } else {
        Err(ReachError::Restarted)
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
