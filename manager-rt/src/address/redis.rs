//! `redis://HOST:PORT/DATABASE`, `redis+unix:///PATH`: a Redis or Valkey server. `redis+sentinel://HOST,HOST/MASTER`: that of sentinels.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::address::AddressError;
use crate::address::namespace::{NAMESPACE, NAMESPACE_DEFAULT, is_namespace};
use crate::address::secret::shown;
use crate::address::sentinel::{self, Sentinels};
use crate::limits::{LEASE_DEFAULT, LEASE_MAX, LEASE_MIN};

/// The schemes of the URLs.
pub(super) const SCHEMES: &[&str] = &[
    "redis",
    "valkey",
    "redis+unix",
    "valkey+unix",
    sentinel::SCHEMES[0],
    sentinel::SCHEMES[1],
    #[cfg(feature = "redis-tls")]
    ENCRYPTED[0],
    #[cfg(feature = "redis-tls")]
    ENCRYPTED[1],
    #[cfg(feature = "redis-tls")]
    sentinel::ENCRYPTED[0],
    #[cfg(feature = "redis-tls")]
    sentinel::ENCRYPTED[1],
];
/// The schemes of encrypted connections. The crate `redis` does not know them, since it does not encrypt here.
const ENCRYPTED: [&str; 2] = ["rediss", "valkeys"];
/// The parameter that names the file with the certificates of the trusted authorities.
#[cfg(feature = "redis-tls")]
const AUTHORITIES: &str = "ca";
/// The parameter that names the database, for a server that is reached by a path.
const DATABASE: &str = "db";
/// The parameter that sets the lease.
const LEASE: &str = "lease";

/// The URL of a server, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RedisUrl {
    text: String,
    /// The URL from which all but the place of the server is read.
    server: String,
    sentinels: Option<Sentinels>,
    namespace: String,
    lease: Duration,
    #[cfg(feature = "redis-tls")]
    authorities: Option<String>,
}

impl RedisUrl {
    /// Reads a URL. Returns the password that it contains as well.
    ///
    /// # Errors
    /// [`AddressError::Redis`], [`AddressError::NeedsRedisTls`].
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<String>), AddressError> {
        let bad = || AddressError::Redis(shown(text));
        #[cfg(not(feature = "redis-tls"))]
        if is_encrypted(text) {
            return Err(AddressError::NeedsRedisTls(shown(text)));
        }
        let parts =
            if sentinel::is_one(text) { Some(sentinel::parts_of(text).ok_or_else(bad)?) } else { None };
        let (text, sentinels, shown_text) = match parts {
            Some(parts) => (parts.server, Some(parts.sentinels), Some(parts.text)),
            None => (text.to_owned(), None, None),
        };
        let text = &*text;
        let mut url = redis::parse_redis_url(text).ok_or_else(bad)?;
        let info = info_of(text).ok_or_else(bad)?;
        let password = info.redis_settings().password().map(str::to_owned);
        url.set_password(None).or_else(|()| if password.is_none() { Ok(()) } else { Err(bad()) })?;
        let (mut namespace, mut lease) = (NAMESPACE_DEFAULT.to_owned(), LEASE_DEFAULT);
        #[cfg(feature = "redis-tls")]
        let mut authorities = None;
        if url.fragment().is_some() {
            return Err(bad());
        }
        for (name, value) in url.query_pairs() {
            match &*name {
                NAMESPACE if is_namespace(&value) => namespace = value.into_owned(),
                LEASE => lease = lease_of(&value).ok_or_else(bad)?,
                DATABASE if value.parse::<u32>().is_ok() && url.scheme().ends_with("+unix") => {}
                #[cfg(feature = "redis-tls")]
                AUTHORITIES if value.starts_with('/') && ENCRYPTED.contains(&url.scheme()) => {
                    authorities = Some(value.into_owned());
                }
                _ => return Err(bad()),
            }
        }
        let server = String::from(url);
        let url = Self {
            text: shown_text.unwrap_or_else(|| server.clone()),
            server,
            sentinels,
            namespace,
            lease,
            #[cfg(feature = "redis-tls")]
            authorities,
        };
        Ok((url, password))
    }

    /// Returns whether connections are encrypted.
    #[cfg(feature = "redis-tls")]
    pub(crate) fn is_encrypted(&self) -> bool {
        ENCRYPTED.iter().any(|scheme| self.server.starts_with(&format!("{scheme}:")))
    }

    /// Returns the path of the file with the certificates of the trusted authorities, if the URL names one.
    #[cfg(feature = "redis-tls")]
    pub(crate) fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    /// Returns the sentinels that know the server, if the URL names some.
    pub(crate) const fn sentinels(&self) -> Option<&Sentinels> {
        self.sentinels.as_ref()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns how long a process keeps what it holds if its host dies.
    pub(crate) const fn lease(&self) -> Duration {
        self.lease
    }

    /// Returns how to connect with a password, or without one if it is empty. Returns `None` if the password is not text.
    pub(crate) fn with_password(&self, password: &[u8]) -> Option<ConnectionInfo> {
        let info = info_of(&self.server)?;
        if password.is_empty() {
            return Some(info);
        }
        let settings = info.redis_settings().clone().set_password(std::str::from_utf8(password).ok()?);
        Some(info.set_redis_settings(settings))
    }
}

/// Returns whether a URL asks for encrypted connections. This build cannot make them, and must not make others.
#[cfg(not(feature = "redis-tls"))]
fn is_encrypted(text: &str) -> bool {
    let all = ENCRYPTED.iter().chain(&sentinel::ENCRYPTED);
    text.split_once(':').is_some_and(|(scheme, _)| all.into_iter().any(|known| *known == scheme))
}

/// Returns how to connect, as if it were without encryption.
fn info_of(text: &str) -> Option<ConnectionInfo> {
    let (scheme, rest) = text.split_once(':')?;
    let plain = if ENCRYPTED.contains(&scheme) { "redis" } else { scheme };
    format!("{plain}:{rest}").into_connection_info().ok()
}

/// Reads a number of seconds or milliseconds: `10s`, `500ms`.
fn lease_of(text: &str) -> Option<Duration> {
    let lease = match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s')?.parse().ok()?),
    };
    (LEASE_MIN..=LEASE_MAX).contains(&lease).then_some(lease)
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::NAMESPACE_BYTES_MAX;

    #[test]
    fn a_password_is_taken_out_and_put_back() {
        let (url, password) = RedisUrl::parse("redis://ann:s%40crt@host:7000/2?ns=app").unwrap();
        assert_eq!(
            (url.to_string().as_str(), password.as_deref()),
            ("redis://ann@host:7000/2?ns=app", Some("s@crt"))
        );
        assert_eq!(url.namespace(), "app");
        let settings = url.with_password(b"s@crt").unwrap().redis_settings().clone();
        assert_eq!(
            (settings.username(), settings.password(), settings.db()),
            (Some("ann"), Some("s@crt"), 2)
        );
        assert_eq!(RedisUrl::parse(&url.to_string()), Ok((url, None)));
    }

    #[test]
    #[cfg(not(feature = "redis-tls"))]
    fn a_build_that_cannot_encrypt_reads_no_url_that_asks_for_it() {
        for scheme in ["rediss", "valkeys", "rediss+sentinel", "valkeys+sentinel"] {
            for text in [format!("{scheme}://host/jobs"), format!("{scheme}://host/1 amqp://host")] {
                let error = text.parse::<crate::Address>().unwrap_err();
                assert!(matches!(error, AddressError::NeedsRedisTls(_)), "{text}: {error:?}");
            }
        }
    }

    #[test]
    fn urls_of_all_forms() {
        for text in
            ["redis://host", "redis://[::1]:7000", "valkey://host/3", "redis+unix:///run/r.sock?db=3&ns=a.b"]
        {
            assert!(RedisUrl::parse(text).is_ok(), "{text}");
        }
        let text = "redis+sentinel://ann:s%40crt@one,two:7000/jobs?ns=app&db=3";
        let (url, password) = RedisUrl::parse(text).unwrap();
        assert_eq!((&*url.to_string(), &*password.unwrap()), (&*text.replace(":s%40crt", ""), "s@crt"));
        assert_eq!((url.namespace(), url.sentinels().unwrap().master()), ("app", "jobs"));
        assert_eq!(url.with_password(b"x").unwrap().redis_settings().db(), 3);
        assert_eq!(RedisUrl::parse(&url.to_string()), Ok((url, None)));
        let long = |len| format!("redis://host?ns={}", "x".repeat(len));
        assert!(RedisUrl::parse(&long(NAMESPACE_BYTES_MAX)).is_ok());
        for text in [
            "redis://",
            "redis://host/x",
            "redis://host?ns=",
            "redis://host?ns=a%7Db",
            "redis://host?other=1",
            "redis://host?ca=/etc/ca.pem",
            "redis://host#insecure",
            "redis+sentinel://host",
            "redis+sentinel://host/jobs?db=x",
            "redis+sentinel://host/jobs#x",
            "redis+unix:///run/r.sock?pass=secret",
            &long(NAMESPACE_BYTES_MAX + 1),
        ] {
            assert!(matches!(RedisUrl::parse(text), Err(AddressError::Redis(_))), "{text}");
        }
        let lease =
            |text: &str| RedisUrl::parse(&format!("redis://host?lease={text}")).map(|(url, _)| url.lease());
        assert_eq!(RedisUrl::parse("redis://host").unwrap().0.lease(), LEASE_DEFAULT);
        for (text, expected) in [("200ms", LEASE_MIN), ("3600s", LEASE_MAX), ("90s", Duration::from_secs(90))]
        {
            assert_eq!(lease(text), Ok(expected));
        }
        for text in ["199ms", "3601s", "10", "s", "-1s", "1m", ""] {
            assert!(lease(text).is_err(), "{text}");
        }
        let Err(error) = RedisUrl::parse("redis://ann:secret@host/x") else { panic!("not a number") };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
