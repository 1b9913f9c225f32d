//! Managers that are reached by their address.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;
#[cfg(feature = "server")]
use mp_sys::line::Short;

use crate::address::Address;
use crate::backend::{CallError, Warning, address_of};
use crate::key::{self, Unread};
use crate::limits::CONNECT_TIME_DEFAULT;
use crate::manager::Manager;
#[cfg(feature = "server")]
use crate::manager::start::ServerSettings;
use crate::proto::ManagerOp;
use crate::registry::{self, ReachError};

/// The settings with which a manager is started or reached: see [`Manager::builder`].
#[derive(Clone, Default)]
pub struct ManagerBuilder {
    pub(super) key: Option<Key>,
    timeout: Option<Duration>,
    #[cfg(feature = "server")]
    pub(super) server: ServerSettings,
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
    /// [`ReachError::Key`], with `ENODATA` for a file without a key and `EFBIG` for one with more than
    /// [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes; [`ReachError::KeyExposed`] for a file to which other users have access.
    pub fn key_file(self, path: impl AsRef<Path>) -> Result<Self, ReachError> {
        let path = path.as_ref();
        let unread = |unread| match unread {
            Unread::System(error) => ReachError::Key { path: path.to_owned(), error },
            Unread::Exposed { mode, owner } => ReachError::KeyExposed { path: path.to_owned(), mode, owner },
        };
        Ok(self.key(key::read(path).map_err(unread)?))
    }

    /// Sets how long connecting may take. The default is [`CONNECT_TIME_DEFAULT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Connects to the server at an address: see [`Manager::connect`].
    ///
    /// # Errors
    /// [`ReachError`].
    pub fn connect(self, address: &str) -> Result<Manager, ReachError> {
        let (address, password) = Address::with_password(address)?;
        let deadline = self.deadline();
        let key = address.key_of(self.key, password).unwrap_or_else(|| registry::key_of(&address));
        let backend = registry::connect(&address, &key, deadline);
        Ok(Manager::over(backend.map_err(|error| ReachError::at(&address, error))?))
    }

    /// Sets the address of the Redis server with the objects of a manager whose queues are in a RabbitMQ server, which
    /// [`queues`](MixedBuilder::queues) sets.
    #[cfg(all(feature = "redis", feature = "rabbitmq"))]
    #[must_use]
    pub fn objects(self, address: impl Into<String>) -> MixedBuilder {
        MixedBuilder { builder: self, objects: address.into(), queues: String::new() }
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout.unwrap_or(CONNECT_TIME_DEFAULT))
    }
}

/// The settings of a manager whose queues are in a RabbitMQ server, and whose other objects are in a Redis server: see
/// [`ManagerBuilder::objects`].
///
/// # Examples
/// ```no_run
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let manager = Manager::builder().objects("redis://host?ns=shop").queues("amqp://ann@host/shop?ns=shop").connect()?;
/// let (orders, sold) = (manager.named("new").joinable_queue::<String>()?, manager.named("sold").value(&0_u64)?);
/// orders.put("two apples")?; // in RabbitMQ
/// sold.fetch_add(2)?; // in Redis
/// orders.join()?; // until all orders are done
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
#[derive(Clone)]
pub struct MixedBuilder {
    builder: ManagerBuilder,
    objects: String,
    queues: String,
}

#[cfg(all(feature = "redis", feature = "rabbitmq"))]
impl MixedBuilder {
    /// Sets the address of the RabbitMQ server with the queues.
    #[must_use]
    pub fn queues(self, address: impl Into<String>) -> Self {
        Self { queues: address.into(), ..self }
    }

    /// Connects to both servers. A [`key`](ManagerBuilder::key) is the password of those whose addresses have none.
    ///
    /// The [address](Manager::address) of such a manager consists of both, with a space between them. [`Manager::connect`] takes
    /// that as well.
    ///
    /// # Errors
    /// [`ReachError`].
    pub fn connect(self) -> Result<Manager, ReachError> {
        self.builder.connect(&format!("{} {}", self.objects, self.queues))
    }
}

#[cfg(all(feature = "redis", feature = "rabbitmq"))]
impl fmt::Debug for MixedBuilder {
    /// Shows no address, since that may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixedBuilder({:?})", self.builder)
    }
}

impl Manager {
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
        address_of(&**self.backend())
    }

    /// Returns what you should know about the settings of the engine, as they were when the manager was reached. A server of this
    /// library has none: see [`Warning`]. Programs with a subscriber of `tracing` see them as well.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// let manager = mp::manager::Manager::in_process()?;
    /// for warning in manager.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.backend().warnings()
    }

    /// Ends the manager for all its clients. A server that [keeps](ManagerBuilder::keep) its objects has saved them when this
    /// returns. If this process started the server, waits for its end.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::ServerGone`] if it has already ended; [`CallError::OutcomeUnknown`] if it ends for another reason
    /// meanwhile, or has not answered within 30 s: it may still save its objects;
    /// [`Fault::NotSaved`](crate::proto::Fault::NotSaved) if it could not save its objects. It ends nevertheless, and what the file
    /// does not contain is lost. A server that this process started has [`SAVE_TIME_MAX`](crate::limits::SAVE_TIME_MAX) besides, or
    /// [`END_TIME_MAX`](crate::limits::END_TIME_MAX) if it keeps nothing, and is then killed.
    pub fn shutdown(&self) -> Result<(), CallError> {
        let outcome = self.ask(ManagerOp::Shutdown).map(drop);
        #[cfg(feature = "server")]
        if let Some(process) = &self.process {
            process.join()?;
            if outcome == Err(CallError::OutcomeUnknown) {
                // The server has ended, but its last answer did not arrive.
                return Ok(());
            }
        }
        outcome
    }
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_some() { "with a key" } else { "without a key" };
        write!(f, "ManagerBuilder({key}")?;
        #[cfg(feature = "server")]
        if let Some(path) = &self.server.path {
            write!(f, ", {}", Short(path))?;
        }
        f.write_str(")")
    }
}
