//! Whose certificates a client accepts, for encrypted connections to servers of other makers.

use std::sync::Arc;

use mp_sys::OsError;
use rustix::io::Errno;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// Where distributions keep the certificates of all authorities that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why nobody is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trustless {
    /// There are no certificates of authorities where systems keep them.
    NoAuthorities,
    /// They cannot be read from the file that the address names; `ENODATA` if it contains none.
    AuthoritiesUnread(OsError),
}

/// Why a server is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untrusted {
    UnknownAuthority,
    OtherHost,
    BadCertificate,
    /// It does not speak TLS as it should.
    Protocol,
}

/// Returns the settings of a client that trusts the authorities in this file, or those of the system.
///
/// # Errors
/// [`Trustless`].
pub(super) fn trust(authorities: Option<&str>) -> Result<Arc<ClientConfig>, Trustless> {
    let none = || Trustless::NoAuthorities;
    let roots = match authorities {
        Some(path) => authorities_in(path).map_err(Trustless::AuthoritiesUnread)?,
        None => SYSTEM.iter().find_map(|path| authorities_in(path).ok()).ok_or_else(none)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| none())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
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

/// Returns the name of a host, for which its certificate has to be. An IPv6 address may stand in brackets.
///
/// # Errors
/// [`Untrusted::OtherHost`] if no certificate can have it.
pub(super) fn name_of(host: &str) -> Result<ServerName<'static>, Untrusted> {
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| Untrusted::OtherHost)
}

/// Returns why a server is not trusted.
pub(super) fn untrusted(error: &Error) -> Untrusted {
    tracing::debug!(%error, "a connection was not encrypted");
    match error {
        // Another authority may have the name of a trusted one.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Untrusted::UnknownAuthority
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Untrusted::OtherHost,
        Error::InvalidCertificate(_) => Untrusted::BadCertificate,
        _ => Untrusted::Protocol,
    }
}
