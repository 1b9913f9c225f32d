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
    use std::sync::Arc;

    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::pem::PemObject;
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
        /// [`Unreachable::NoAuthorities`].
        pub(in super::super) fn of(url: &RedisUrl) -> Result<Self, Unreachable> {
            if !url.is_encrypted() {
                return Ok(Self::default());
            }
            let none = || Unreachable::NoAuthorities;
            let roots = match url.authorities() {
                Some(path) => authorities_in(path),
                None => SYSTEM.iter().find_map(|path| authorities_in(path)),
            };
            let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_safe_default_protocol_versions().map_err(|_| none())?;
            let config = builder.with_root_certificates(roots.ok_or_else(none)?).with_no_client_auth();
            Ok(Self { config: Some(Arc::new(config)) })
        }
    }

    fn authorities_in(path: &str) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).ok()? {
            // A bundle may have authorities that this library does not know how to read.
            let added = certificate.ok().map(|certificate| roots.add(certificate));
            tracing::trace!(?added, path, "an authority");
        }
        if roots.is_empty() { None } else { Some(roots) }
    }

    /// Encrypts a new connection to this host, after checking its certificate.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(in super::super) fn encrypt(
        config: &Arc<ClientConfig>,
        host: &str,
        mut plain: Plain,
    ) -> Result<StreamOwned<ClientConnection, Plain>, OpenError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| OpenError::Untrusted(Unreachable::OtherHost))?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection = connection.map_err(|error| refused(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut plain).map_err(|error| {
                match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                    Some(inner) => refused(inner),
                    None => error.into(),
                }
            })?;
        }
        Ok(StreamOwned::new(connection, plain))
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
