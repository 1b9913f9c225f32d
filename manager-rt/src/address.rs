//! The address of a manager: a URL, and what it names.
//!
//! | URL | what it names | module |
//! |---|---|---|
//! | `mp+unix:PATH` | a server that listens at a socket in the file system | `local` |
//! | `mp+tcp://HOST:PORT` | a server that listens at a port of a host (feature `tcp`) | `tcp` |
//! | `redis://HOST:PORT/DATABASE`, `redis+unix:///PATH` | a Redis or Valkey server (feature `redis`) | `redis` |
//! | `redis+sentinel://HOST:PORT,HOST:PORT/MASTER` | the Redis server that sentinels name (feature `redis`) | `sentinel` |
//! | `rediss://HOST:PORT/DATABASE`, `rediss+sentinel://HOST:PORT/MASTER` | the same, over encrypted connections (feature `redis-tls`) | `redis`, `sentinel` |
//! | `amqp://HOST:PORT/VHOST` | a RabbitMQ server (feature `rabbitmq`) | `rabbitmq` |
//! | `amqps://HOST:PORT/VHOST` | the same, over encrypted connections (feature `rabbitmq-tls`) | `rabbitmq` |
//! | `redis://… amqp://…` | a Redis server for objects, and a RabbitMQ server for queues (both features) | `mixed` |

mod local;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
mod mixed;
#[cfg(any(feature = "redis", feature = "rabbitmq"))]
mod namespace;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
mod secret;
#[cfg(feature = "redis")]
mod sentinel;
#[cfg(feature = "tcp")]
mod tcp;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mp_sys::key::Key;
use mp_sys::line::Short;

pub use self::local::PATH_BYTES_MAX;
use self::local::SocketPath;
#[cfg(all(feature = "redis", feature = "rabbitmq"))]
pub(crate) use self::mixed::MixedUrl;
#[cfg(any(feature = "redis", feature = "rabbitmq"))]
pub use self::namespace::NAMESPACE_BYTES_MAX;
#[cfg(feature = "rabbitmq")]
pub(crate) use self::rabbitmq::RabbitMqUrl;
#[cfg(feature = "redis")]
pub(crate) use self::redis::RedisUrl;
use self::secret::shown;
pub(crate) use self::secret::without_password;
#[cfg(feature = "redis")]
pub(crate) use self::sentinel::Sentinels;
#[cfg(feature = "tcp")]
pub(crate) use self::tcp::HostPort;

/// Why a text or path is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// This build does not know the scheme.
    #[error(
        "an address must begin with `mp+unix:`, `mp+tcp:`, `redis:` or `amqp:`, but this one does not: {0}"
    )]
    Scheme(String),
    /// The path is relative, empty, or longer than a socket's path may be.
    #[error("the path of a socket must be absolute and have at most {PATH_BYTES_MAX} bytes: {}", .0.display())]
    Path(PathBuf),
    /// What follows the scheme is not the name or the address of a host, a colon, and a port. An IPv6 address stands in
    /// brackets.
    #[error("this is not a host and a port, such as `host:7000` or `[::1]:7000`: {0}")]
    Host(String),
    /// The address has a parameter that is unknown, or whose value is not permitted.
    #[error("this is not `lost_after=` and 2 to 32767 seconds, such as `lost_after=5s`: {0}")]
    Parameter(String),
    /// The address is that of another host, and this build lacks the feature `tcp`.
    #[error("this build cannot reach other hosts, because it lacks the feature `tcp`: {0}")]
    NeedsTcp(String),
    /// This is not the URL of a Redis server, or it has a parameter other than `ns`, `lease`, `db` and `ca`, or one with a
    /// value that is not permitted.
    #[error("this is not the URL of a Redis server, such as `redis://host:6379/0?ns=app`: {0}")]
    Redis(String),
    /// The address is that of a Redis server, and this build lacks the feature `redis`.
    #[error("this build cannot reach Redis, because it lacks the feature `redis`: {0}")]
    NeedsRedis(String),
    /// The address asks for encrypted connections to Redis, and this build lacks the feature `redis-tls`.
    #[error("this build cannot encrypt connections to Redis, because it lacks the feature `redis-tls`: {0}")]
    NeedsRedisTls(String),
    /// This is not the URL of a RabbitMQ server, or it has a parameter other than `ns`, `type` and `ca`, or one with a value
    /// that is not permitted.
    #[error("this is not the URL of a RabbitMQ server, such as `amqp://user@host:5672/vhost?ns=app`: {0}")]
    RabbitMq(String),
    /// The address is that of a RabbitMQ server, and this build lacks the feature `rabbitmq`.
    #[error("this build cannot reach RabbitMQ, because it lacks the feature `rabbitmq`: {0}")]
    NeedsRabbitMq(String),
    /// The address asks for encrypted connections to RabbitMQ, and this build lacks the feature `rabbitmq-tls`.
    #[error(
        "this build cannot encrypt connections to RabbitMQ, because it lacks the feature `rabbitmq-tls`: {0}"
    )]
    NeedsRabbitMqTls(String),
}

/// The address of a manager.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Address;
///
/// let address: Address = "mp+unix:/run/app/manager.sock".parse()?;
/// assert_eq!(address.path(), Some("/run/app/manager.sock".as_ref()));
/// assert!("http://host".parse::<Address>().is_err());
/// # Ok::<(), manager_rt::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    endpoint: Endpoint,
}

/// What a URL can name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// The socket of a server on this host.
    Local(SocketPath),
    /// A port of a host.
    #[cfg(feature = "tcp")]
    Tcp(HostPort),
    /// A Redis or Valkey server.
    #[cfg(feature = "redis")]
    Redis(RedisUrl),
    /// A RabbitMQ server.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(RabbitMqUrl),
    /// A Redis server and a RabbitMQ server.
    #[cfg(all(feature = "redis", feature = "rabbitmq"))]
    Mixed(Box<MixedUrl>),
}

impl Address {
    /// Makes the address of a socket in the file system.
    ///
    /// # Errors
    /// [`AddressError::Path`].
    pub fn local(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        Ok(Self { endpoint: Endpoint::Local(SocketPath::new(path.into())?) })
    }

    /// Makes the address of a port of a host.
    #[cfg(all(feature = "server", feature = "tcp"))]
    pub(crate) const fn tcp(at: HostPort) -> Self {
        Self { endpoint: Endpoint::Tcp(at) }
    }

    /// Returns the path of the socket, or `None` if the server is reached over a network.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Local(path) => Some(path.as_path()),
            #[cfg(feature = "tcp")]
            Endpoint::Tcp(_) => None,
            #[cfg(feature = "redis")]
            Endpoint::Redis(_) => None,
            #[cfg(feature = "rabbitmq")]
            Endpoint::RabbitMq(_) => None,
            #[cfg(all(feature = "redis", feature = "rabbitmq"))]
            Endpoint::Mixed(_) => None,
        }
    }

    /// Reads an address, and takes the password out of it if it is a URL with one.
    ///
    /// # Errors
    /// [`AddressError`].
    pub(crate) fn with_password(text: &str) -> Result<(Self, Option<Key>), AddressError> {
        #[cfg(all(feature = "redis", feature = "rabbitmq"))]
        if text.contains(mixed::BETWEEN) && redis::SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            let (url, passwords) = MixedUrl::parse(text)?;
            return Ok((Self { endpoint: Endpoint::Mixed(Box::new(url)) }, passwords));
        }
        match text.split_once(':') {
            #[cfg(feature = "redis")]
            Some((scheme, _)) if redis::SCHEMES.contains(&scheme) => {
                let (url, password) = RedisUrl::parse(text)?;
                Ok((Self { endpoint: Endpoint::Redis(url) }, password.map(Key::from)))
            }
            #[cfg(feature = "rabbitmq")]
            Some((scheme, _)) if rabbitmq::SCHEMES.contains(&scheme) => {
                let (url, password) = RabbitMqUrl::parse(text)?;
                Ok((Self { endpoint: Endpoint::RabbitMq(url) }, password.map(Key::from)))
            }
            _ => Ok((Self::of_server(text)?, None)),
        }
    }

    /// Returns the key with which to connect, of the one that a program has set and the password in the address, if there is one of them.
    pub(crate) fn key_of(&self, set: Option<Key>, password: Option<Key>) -> Option<Key> {
        match (&self.endpoint, set, password) {
            // Each server may have a password of its own.
            #[cfg(all(feature = "redis", feature = "rabbitmq"))]
            (Endpoint::Mixed(_), Some(set), passwords) => {
                Some(MixedUrl::keys_or(&passwords.unwrap_or_default(), &set))
            }
            (_, set, password) => set.or(password),
        }
    }

    /// Makes the address of one of two servers.
    #[cfg(all(feature = "redis", feature = "rabbitmq"))]
    pub(crate) const fn of(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    fn of_server(text: &str) -> Result<Self, AddressError> {
        match text.split_once(':') {
            // As in other URLs, an empty host may stand before the path.
            Some((local::SCHEME, path)) => Self::local(path.strip_prefix("//").unwrap_or(path)),
            #[cfg(feature = "tcp")]
            Some((tcp::SCHEME, place)) => {
                let place = place.strip_prefix("//").ok_or_else(|| AddressError::Host(place.to_owned()))?;
                Ok(Self { endpoint: Endpoint::Tcp(HostPort::parse(place)?) })
            }
            #[cfg(not(feature = "tcp"))]
            Some(("mp+tcp", _)) => Err(AddressError::NeedsTcp(text.to_owned())),
            #[cfg(not(feature = "redis"))]
            Some((
                "redis" | "valkey" | "redis+unix" | "valkey+unix" | "redis+sentinel" | "valkey+sentinel",
                _,
            )) => Err(AddressError::NeedsRedis(shown(text))),
            #[cfg(not(feature = "redis-tls"))]
            Some(("rediss" | "valkeys" | "rediss+sentinel" | "valkeys+sentinel", _)) => {
                Err(AddressError::NeedsRedisTls(shown(text)))
            }
            #[cfg(not(feature = "rabbitmq-tls"))]
            Some(("amqps", _)) => Err(AddressError::NeedsRabbitMqTls(shown(text))),
            #[cfg(not(feature = "rabbitmq"))]
            Some(("amqp", _)) => Err(AddressError::NeedsRabbitMq(shown(text))),
            _ => Err(AddressError::Scheme(shown(text))),
        }
    }

    /// Returns what the address names.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address. A password in it is left out: [`ManagerBuilder::connect`](crate::ManagerBuilder::connect) uses it.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::with_password(text).map(|(address, _)| address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Local(path) => path.fmt(f),
            #[cfg(feature = "tcp")]
            Endpoint::Tcp(at) => at.fmt(f),
            #[cfg(feature = "redis")]
            Endpoint::Redis(url) => url.fmt(f),
            #[cfg(feature = "rabbitmq")]
            Endpoint::RabbitMq(url) => url.fmt(f),
            #[cfg(all(feature = "redis", feature = "rabbitmq"))]
            Endpoint::Mixed(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", Short(&format_args!("{self}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_at_the_limit_and_one_above() {
        let path = |len| format!("/{}", "x".repeat(len - 1));
        assert!(Address::local(path(PATH_BYTES_MAX)).is_ok());
        let long = path(PATH_BYTES_MAX + 1);
        assert_eq!(Address::local(&long), Err(AddressError::Path(long.into())));
        assert!(Address::local("relative").is_err());
        let address = Address::local("/a b").unwrap();
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}
