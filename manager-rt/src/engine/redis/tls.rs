//! [`Trust`]: whose certificates a client accepts, for encrypted connections (`rediss://`).

use super::Unreachable;
#[cfg(feature = "redis-tls")]
use super::connection::{OpenError, Plain};
use crate::address::RedisUrl;

/// Whose certificates a client accepts. By default, its connections are not encrypted.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    #[cfg(feature = "redis-tls")]
    pub(super) config: Option<std::sync::Arc<rustls::ClientConfig>>,
}

#[cfg(not(feature = "redis-tls"))]
impl Trust {
    /// Returns whom a client of this server trusts.
    pub(super) fn of(_url: &RedisUrl) -> Result<Self, Unreachable> {
        Ok(Self::default())
    }
}

#[cfg(feature = "redis-tls")]
mod encrypted {
    use std::io::{self, Read, Write};
    use std::sync::Arc;
    use std::time::Duration;

    use mp_sys::deadline::Deadline;
    use rustls::{ClientConfig, ClientConnection, Error, StreamOwned};

    use super::{OpenError, Plain, RedisUrl, Trust, Unreachable};
    use crate::engine::trust::{Trustless, Untrusted, name_of, trust, untrusted};

    impl Trust {
        /// Returns whom a client of this server trusts: the authorities in the file that its URL names, or those of the system.
        ///
        /// # Errors
        /// [`Unreachable::AuthoritiesUnread`], [`Unreachable::NoAuthorities`].
        pub(in super::super) fn of(url: &RedisUrl) -> Result<Self, Unreachable> {
            if !url.is_encrypted() {
                return Ok(Self::default());
            }
            let config = trust(url.authorities()).map_err(|trustless| match trustless {
                Trustless::NoAuthorities => Unreachable::NoAuthorities,
                Trustless::AuthoritiesUnread(error) => Unreachable::AuthoritiesUnread(error),
            })?;
            Ok(Self { config: Some(config) })
        }
    }

    /// Encrypts a new connection to this host, after checking its certificate. All of that takes at most `time`, however slowly the
    /// other side sends its bytes.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(in super::super) fn encrypt(
        config: &Arc<ClientConfig>,
        host: &str,
        mut plain: Plain,
        time: Duration,
    ) -> Result<StreamOwned<ClientConnection, Plain>, OpenError> {
        let name = name_of(host).map_err(refused)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection = connection.map_err(|error| refused(untrusted(&error)))?;
        let mut hasty = Hasty { plain: &mut plain, deadline: Deadline::after(time) };
        while connection.is_handshaking() {
            connection.complete_io(&mut hasty).map_err(|error| {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                    Some(inner) => refused(untrusted(inner)),
                    None => error.into(),
                }
            })?;
        }
        plain.answers_within(time)?;
        Ok(StreamOwned::new(connection, plain))
    }

    /// A connection whose reads and writes together end at a deadline.
    struct Hasty<'a> {
        plain: &'a mut Plain,
        deadline: Deadline,
    }

    impl Hasty<'_> {
        fn in_time(&mut self) -> io::Result<&mut Plain> {
            match self.deadline.remaining() {
                Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
                remaining => {
                    self.plain.answers_within(remaining)?;
                    Ok(self.plain)
                }
            }
        }
    }

    impl Read for Hasty<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.in_time()?.read(into)
        }
    }

    impl Write for Hasty<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.in_time()?.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.plain.flush()
        }
    }

    fn refused(why: Untrusted) -> OpenError {
        OpenError::Untrusted(match why {
            Untrusted::UnknownAuthority => Unreachable::UnknownAuthority,
            Untrusted::OtherHost => Unreachable::OtherHost,
            Untrusted::BadCertificate => Unreachable::BadCertificate,
            Untrusted::Protocol => Unreachable::Protocol,
        })
    }
}

#[cfg(feature = "redis-tls")]
pub(super) use self::encrypted::encrypt;
