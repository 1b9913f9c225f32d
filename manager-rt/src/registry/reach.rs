//! Reaching a manager by its address.

use std::path::PathBuf;
use std::sync::Arc;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;

#[cfg(any(feature = "redis", feature = "rabbitmq"))]
use crate::address::Endpoint;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
use crate::address::MixedUrl;
use crate::address::{Address, AddressError};
use crate::backend::Backend;
use crate::client::{ConnectError, Remote};
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
use crate::engine::Mixed;
#[cfg(feature = "rabbitmq")]
use crate::engine::{NotReached, RabbitMq};
#[cfg(feature = "redis")]
use crate::engine::{Redis, Unreachable};
use crate::key;
use crate::limits::CONNECT_TIME_DEFAULT;
use crate::registry;

/// Why a manager cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// The manager lives in the memory of another process, which made it with [`Manager::in_process`](crate::Manager::in_process).
    #[error(
        "the manager has no address, since it lives in the memory of the process that made it: objects for several \
         processes need one that was started (Manager::start)"
    )]
    NoAddress,
    /// The text is not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Connecting to the server failed.
    #[error("the manager at {address} cannot be reached: {error}")]
    Connect {
        /// The address.
        address: String,
        /// What went wrong there.
        #[source]
        error: ConnectError,
    },
    /// The server has its own key, which this process does not know. A proxy carries the key in the arguments of a
    /// child, but in no other message.
    #[error(
        "the manager has a key that this process does not know: connect with it (Manager::builder().key) before proxies \
         arrive"
    )]
    NeedsKey,
    /// Another server now has the address. The objects of the earlier one are gone.
    #[error("the manager was restarted: its objects are gone")]
    Restarted,
    /// The key file cannot be read.
    #[error("the key cannot be read from {}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: crate::OsError,
    },
    /// Other users have access to the key file, so it is not used: it belongs to another user than this process's and root, or its mode
    /// lets others read or change it. A file of root may have mode 0640 or 0440.
    #[error("{}", key::exposed(path, *mode, *owner))]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The number of the user to whom it belongs.
        owner: u32,
    },
}

impl ReachError {
    /// Adds the address to the error of a connection.
    pub(crate) fn at(address: &Address, error: ConnectError) -> Self {
        Self::Connect { address: address.to_string(), error }
    }
}

/// Connects to the manager at an address, and registers the manager and its key.
///
/// # Errors
/// [`ConnectError`].
pub(crate) fn connect(
    address: &Address,
    key: &Key,
    deadline: Deadline,
) -> Result<Arc<dyn Backend>, ConnectError> {
    let backend: Arc<dyn Backend> = match address.endpoint() {
        #[cfg(feature = "redis")]
        Endpoint::Redis(url) => Arc::new(Redis::connect(address, url, key, deadline).map_err(not_connected)?),
        #[cfg(feature = "rabbitmq")]
        Endpoint::RabbitMq(url) => {
            Arc::new(RabbitMq::connect(address, url, key, deadline).map_err(without_rabbitmq)?)
        }
        #[cfg(all(feature = "redis", feature = "rabbitmq"))]
        Endpoint::Mixed(_) => Arc::new(connect_mixed(address, key, deadline)?),
        _ => Remote::connect(address, key, deadline)?,
    };
    registry::register(&backend);
    registry::learn_key(address, key);
    Ok(backend)
}

/// Connects to the two servers of a manager.
///
/// # Errors
/// [`ConnectError`].
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
pub(crate) fn connect_mixed(address: &Address, key: &Key, deadline: Deadline) -> Result<Mixed, ConnectError> {
    let Endpoint::Mixed(url) = address.endpoint() else { return Err(ConnectError::Protocol) };
    let (of_objects, of_queues) = MixedUrl::keys(key);
    let at = Address::of(Endpoint::Redis(url.objects.clone()));
    let objects = Redis::connect(&at, &url.objects, &of_objects, deadline).map_err(not_connected)?;
    let at = Address::of(Endpoint::RabbitMq(url.queues.clone()));
    let queues = RabbitMq::connect(&at, &url.queues, &of_queues, deadline).map_err(without_rabbitmq)?;
    Ok(Mixed::new(address, objects, queues))
}

/// Returns the backend of the manager with this address and epoch, as a proxy names them.
///
/// # Errors
/// [`ReachError`].
pub(crate) fn reach(address: Option<&str>, epoch: u128) -> Result<Arc<dyn Backend>, ReachError> {
    if let Some(backend) = registry::find(epoch) {
        return Ok(backend);
    }
    let address: Address = address.ok_or(ReachError::NoAddress)?.parse()?;
    let deadline = Deadline::after(CONNECT_TIME_DEFAULT);
    let backend = connect(&address, &registry::key_of(&address), deadline).map_err(|error| match error {
        ConnectError::Unauthorised | ConnectError::KeyTooShort { bytes: 0 } => ReachError::NeedsKey,
        error => ReachError::at(&address, error),
    })?;
    if backend.epoch() == epoch { Ok(backend) } else { Err(ReachError::Restarted) }
}

#[cfg(feature = "redis")]
fn not_connected(error: Unreachable) -> ConnectError {
    match error {
        Unreachable::NotFound => ConnectError::NotFound,
        Unreachable::BadPassword | Unreachable::Unauthorised => ConnectError::Unauthorised,
        Unreachable::TimedOut => ConnectError::TimedOut,
        Unreachable::Closed => ConnectError::Closed,
        Unreachable::Protocol => ConnectError::Protocol,
        #[cfg(feature = "redis-tls")]
        Unreachable::UnknownAuthority => ConnectError::UnknownAuthority,
        #[cfg(feature = "redis-tls")]
        Unreachable::OtherHost => ConnectError::OtherHost,
        #[cfg(feature = "redis-tls")]
        Unreachable::BadCertificate => ConnectError::BadCertificate,
        #[cfg(feature = "redis-tls")]
        Unreachable::NoAuthorities => ConnectError::NoAuthorities,
        #[cfg(feature = "redis-tls")]
        Unreachable::AuthoritiesUnread(error) => ConnectError::AuthoritiesUnread(error),
        Unreachable::System(error) => error.into(),
    }
}

#[cfg(feature = "rabbitmq")]
fn without_rabbitmq(error: NotReached) -> ConnectError {
    match error {
        NotReached::NotFound => ConnectError::NotFound,
        NotReached::BadPassword | NotReached::Unauthorised => ConnectError::Unauthorised,
        NotReached::NoVirtualHost => ConnectError::NoVirtualHost,
        NotReached::TimedOut => ConnectError::TimedOut,
        NotReached::Closed => ConnectError::Closed,
        NotReached::Protocol => ConnectError::Protocol,
        #[cfg(feature = "rabbitmq-tls")]
        NotReached::UnknownAuthority => ConnectError::UnknownAuthority,
        #[cfg(feature = "rabbitmq-tls")]
        NotReached::OtherHost => ConnectError::OtherHost,
        #[cfg(feature = "rabbitmq-tls")]
        NotReached::BadCertificate => ConnectError::BadCertificate,
        #[cfg(feature = "rabbitmq-tls")]
        NotReached::NoAuthorities => ConnectError::NoAuthorities,
        #[cfg(feature = "rabbitmq-tls")]
        NotReached::AuthoritiesUnread(error) => ConnectError::AuthoritiesUnread(error),
        NotReached::System(error) => error.into(),
    }
}
