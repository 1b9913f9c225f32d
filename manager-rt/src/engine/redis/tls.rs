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

    use mp_sys::OsError;
    use mp_sys::deadline::Deadline;
    use rustix::io::Errno;
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::{self, PemObject};
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, StreamOwned};

    use super::{OpenError, Plain, RedisUrl, Trust, Unreachable};

    /// Where distributions keep the certificates of all authorities that they trust.
    const SYSTEM: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];

    impl Trust {
        /// Returns whom a client of this server trusts: the authorities in the file that its URL names, or those of the system.
        ///
        /// # Errors
        /// [`Unreachable::AuthoritiesUnread`], [`Unreachable::NoAuthorities`].
        pub(in super::super) fn of(url: &RedisUrl) -> Result<Self, Unreachable> {
            if !url.is_encrypted() {
                return Ok(Self::default());
            }
            let none = || Unreachable::NoAuthorities;
            let roots = match url.authorities() {
                Some(path) => authorities_in(path).map_err(Unreachable::AuthoritiesUnread)?,
                None => SYSTEM.iter().find_map(|path| authorities_in(path).ok()).ok_or_else(none)?,
            };
            let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_safe_default_protocol_versions().map_err(|_| none())?;
            let config = builder.with_root_certificates(roots).with_no_client_auth();
            Ok(Self { config: Some(Arc::new(config)) })
        }
    }

    /// Reads certificates of authorities.
    ///
    /// # Errors
    /// Those of open(2) and read(2); `ENODATA` if there are none in the file.
    fn authorities_in(path: &str) -> Result<RootCertStore, OsError> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| match error {
            pem::Error::Io(error) => error.into(),
            _ => OsError::from(Errno::NODATA),
        })?;
        for certificate in certificates {
            let added = match certificate {
                // A bundle may have authorities that this library does not know how to read.
                Ok(certificate) => roots.add(certificate).is_ok(),
                Err(pem::Error::Io(error)) => return Err(error.into()),
                Err(_) => false,
            };
            tracing::trace!(added, path, "an authority");
        }
        if roots.is_empty() { Err(Errno::NODATA.into()) } else { Ok(roots) }
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
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| OpenError::Untrusted(Unreachable::OtherHost))?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection = connection.map_err(|error| refused(&error))?;
        let mut hasty = Hasty { plain: &mut plain, deadline: Deadline::after(time) };
        while connection.is_handshaking() {
            connection.complete_io(&mut hasty).map_err(|error| {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                    Some(inner) => refused(inner),
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

    fn refused(error: &Error) -> OpenError {
        tracing::debug!(%error, "a connection to Redis was not encrypted");
        OpenError::Untrusted(match error {
            // Another authority may have the name of a trusted one.
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
                Unreachable::UnknownAuthority
            }
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Unreachable::OtherHost,
            Error::InvalidCertificate(_) => Unreachable::BadCertificate,
            _ => Unreachable::Protocol,
        })
    }
}

#[cfg(feature = "redis-tls")]
pub(super) use self::encrypted::encrypt;
