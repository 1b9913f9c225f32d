//! `amqp://USER@HOST:PORT/VHOST`, `amqps://…`: a RabbitMQ server.

use std::fmt;
use std::net::Ipv6Addr;

use crate::address::AddressError;
use crate::address::namespace::{NAMESPACE, NAMESPACE_DEFAULT, is_namespace};
use crate::address::secret::shown;
use crate::limits::HOST_BYTES_MAX;

/// The schemes of the URLs.
pub(super) const SCHEMES: &[&str] = &[
    PLAIN,
    #[cfg(feature = "rabbitmq-tls")]
    ENCRYPTED,
];
const PLAIN: &str = "amqp";
/// The scheme of encrypted connections.
#[cfg(feature = "rabbitmq-tls")]
const ENCRYPTED: &str = "amqps";
/// The parameter that names the file with the certificates of the trusted authorities.
#[cfg(feature = "rabbitmq-tls")]
const AUTHORITIES: &str = "ca";
/// The parameter that names the type of the queues.
const TYPE: &str = "type";
/// The port of a URL that names none.
const PORT_DEFAULT: u16 = 5672;
/// The same, for encrypted connections.
const PORT_ENCRYPTED_DEFAULT: u16 = 5671;
/// The virtual host of a URL that names none.
const VHOST_DEFAULT: &str = "/";
/// The user, and the password, of a URL that names no user: those of a new server, which accepts them on its own host only.
const GUEST: &str = "guest";
/// The longest name of a user or a virtual host, in bytes: that of the protocol.
const SHORT_BYTES_MAX: usize = 255;

/// The URL of a server, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RabbitMqUrl {
    user: Option<String>,
    /// A name or an address. An IPv6 address stands in brackets.
    host: String,
    port: u16,
    vhost: String,
    namespace: String,
    is_quorum: bool,
    #[cfg(feature = "rabbitmq-tls")]
    is_encrypted: bool,
    #[cfg(feature = "rabbitmq-tls")]
    authorities: Option<String>,
}

impl RabbitMqUrl {
    /// Reads a URL. Returns the password that it contains as well.
    ///
    /// # Errors
    /// [`AddressError::RabbitMq`].
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<String>), AddressError> {
        Self::read(text).ok_or_else(|| AddressError::RabbitMq(shown(text)))
    }

    fn read(text: &str) -> Option<(Self, Option<String>)> {
        let (scheme, rest) = text.split_once("://").filter(|(_, rest)| !rest.contains('#'))?;
        let is_encrypted = *SCHEMES.get(SCHEMES.iter().position(|known| *known == scheme)?)? != PLAIN;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (user, at) = authority.rsplit_once('@').map_or((None, authority), |(user, at)| (Some(user), at));
        let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            None => (None, None),
            Some((user, password)) => (Some(short(user)?), Some(decoded(password)?)),
        };
        let (host, port) =
            host_and_port(at, if is_encrypted { PORT_ENCRYPTED_DEFAULT } else { PORT_DEFAULT })?;
        let vhost = Some(short(path)?).filter(|vhost| !vhost.is_empty());
        let mut url = Self {
            user: user.filter(|user| !user.is_empty()),
            host,
            port,
            vhost: vhost.unwrap_or_else(|| VHOST_DEFAULT.to_owned()),
            namespace: NAMESPACE_DEFAULT.to_owned(),
            is_quorum: false,
            #[cfg(feature = "rabbitmq-tls")]
            is_encrypted,
            #[cfg(feature = "rabbitmq-tls")]
            authorities: None,
        };
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            match pair.split_once('=')? {
                (NAMESPACE, name) if is_namespace(name) => url.namespace = name.to_owned(),
                (TYPE, "quorum") => url.is_quorum = true,
                (TYPE, "classic") => url.is_quorum = false,
                #[cfg(feature = "rabbitmq-tls")]
                (AUTHORITIES, path) if is_encrypted && path.starts_with('/') => {
                    url.authorities = Some(text_of(path)?);
                }
                _ => return None,
            }
        }
        Some((url, password.filter(|password| !password.is_empty())))
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns whether connections are encrypted.
    #[cfg(feature = "rabbitmq-tls")]
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Returns the path of the file with the certificates of the trusted authorities, if the URL names one.
    #[cfg(feature = "rabbitmq-tls")]
    pub(crate) fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    fn scheme_and_port(&self) -> (&'static str, u16) {
        #[cfg(feature = "rabbitmq-tls")]
        if self.is_encrypted {
            return (ENCRYPTED, PORT_ENCRYPTED_DEFAULT);
        }
        (PLAIN, PORT_DEFAULT)
    }

    pub(crate) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Returns whether new queues are replicated ones.
    pub(crate) const fn is_quorum(&self) -> bool {
        self.is_quorum
    }

    /// Returns the URL for the client of AMQP, with a password, or with the default one if that is empty and the URL names no
    /// user. The connection is tested every so many seconds. Returns `None` if the password is empty or not text.
    pub(crate) fn with_password(&self, password: &[u8], heartbeat_secs: u16) -> Option<String> {
        let password = match (&self.user, std::str::from_utf8(password).ok()?) {
            (None, "") => GUEST,
            // RabbitMQ accepts no empty password, and the client of AMQP would send the default one.
            (Some(_), "") => return None,
            (_, password) => password,
        };
        let (user, password) = (encoded(self.user.as_deref().unwrap_or(GUEST)), encoded(password));
        let (Self { host, port, .. }, vhost) = (self, encoded(&self.vhost));
        let (scheme, _) = self.scheme_and_port();
        Some(format!("{scheme}://{user}:{password}@{host}:{port}/{vhost}?heartbeat={heartbeat_secs}"))
    }
}

fn host_and_port(at: &str, port_default: u16) -> Option<(String, u16)> {
    let (host, port) = match at.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match at.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (at.to_owned(), None),
        },
    };
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = host.starts_with('[') || host.bytes().all(is_of_name);
    let port = port.map_or(Some(port_default), |port| port.parse().ok().filter(|port| *port != 0))?;
    (is_host && (1..=HOST_BYTES_MAX).contains(&host.len())).then_some((host, port))
}

/// Reads a part of a URL that must not be longer than the protocol's short texts.
fn short(part: &str) -> Option<String> {
    decoded(part).filter(|text| text.len() <= SHORT_BYTES_MAX)
}

/// Reads a part of a URL that ends where another part may begin.
fn decoded(part: &str) -> Option<String> {
    if part.contains(['/', '@', ' ']) { None } else { text_of(part) }
}

/// Reads a part of a URL: `%` and two hexadecimal digits stand for a byte.
fn text_of(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from((high << 4) | low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes a part of a URL.
fn encoded(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

impl fmt::Display for RabbitMqUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port_default) = self.scheme_and_port();
        write!(f, "{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", encoded(user))?;
        }
        f.write_str(&self.host)?;
        if self.port != port_default {
            write!(f, ":{}", self.port)?;
        }
        if self.vhost != VHOST_DEFAULT {
            write!(f, "/{}", encoded(&self.vhost))?;
        }
        write!(f, "?{NAMESPACE}={}", self.namespace)?;
        if self.is_quorum {
            write!(f, "&{TYPE}=quorum")?;
        }
        #[cfg(feature = "rabbitmq-tls")]
        if let Some(path) = &self.authorities {
            let path: Vec<_> = path.split('/').map(encoded).collect();
            write!(f, "&{AUTHORITIES}={}", path.join("/"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::NAMESPACE_BYTES_MAX;

    #[test]
    fn a_password_is_taken_out_and_put_back() {
        let (url, password) = RabbitMqUrl::parse("amqp://ann:s%40crt@host:7000/app%2fone?ns=shop").unwrap();
        assert_eq!(
            (url.to_string().as_str(), password.as_deref()),
            ("amqp://ann@host:7000/app%2Fone?ns=shop", Some("s@crt"))
        );
        assert_eq!(url.namespace(), "shop");
        let whole = url.with_password(b"s@crt", 10).unwrap();
        assert_eq!(whole, "amqp://ann:s%40crt@host:7000/app%2Fone?heartbeat=10");
        assert_eq!(url.with_password(b"\xff", 10), None);
        assert_eq!(RabbitMqUrl::parse(&url.to_string()), Ok((url, None)));
    }

    #[cfg(feature = "rabbitmq-tls")]
    #[test]
    fn an_encrypted_connection_has_another_port_and_may_name_its_authority() {
        let (url, _) = RabbitMqUrl::parse("amqps://host/v?ca=/etc/a%20b/ca.pem").unwrap();
        assert_eq!((url.is_encrypted(), url.authorities()), (true, Some("/etc/a b/ca.pem")));
        assert_eq!(url.to_string(), "amqps://host/v?ns=mp&ca=/etc/a%20b/ca.pem");
        assert_eq!(RabbitMqUrl::parse(&url.to_string()), Ok((url.clone(), None)));
        assert_eq!(url.with_password(b"", 10).unwrap(), "amqps://guest:guest@host:5671/v?heartbeat=10");
        for text in ["amqp://host?ca=/ca.pem", "amqps://host?ca=ca.pem", "amqps://host?ca="] {
            assert!(RabbitMqUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_of_all_forms() {
        let guest = "amqp://guest:guest@host:5672/%2F?heartbeat=10";
        for text in ["amqp://host", "amqp://host/", "amqp://host:5672/%2f?type=classic", "amqp://@host"] {
            let (url, password) = RabbitMqUrl::parse(text).unwrap();
            assert_eq!((url.with_password(b"", 10).as_deref(), password), (Some(guest), None), "{text}");
        }
        let (url, _) = RabbitMqUrl::parse("amqp://[::1]:7000/v?ns=a.b&type=quorum").unwrap();
        assert!(url.is_quorum());
        assert_eq!(url.to_string(), "amqp://[::1]:7000/v?ns=a.b&type=quorum");
        let named = |len| format!("amqp://host?ns={}", "x".repeat(len));
        let hosted = |len| format!("amqp://{}/v", "x".repeat(len));
        let virtually = |len| format!("amqp://host/{}", "x".repeat(len));
        for (text, limit) in [
            (&named as &dyn Fn(usize) -> String, NAMESPACE_BYTES_MAX),
            (&hosted, HOST_BYTES_MAX),
            (&virtually, SHORT_BYTES_MAX),
        ] {
            assert!(RabbitMqUrl::parse(&text(limit)).is_ok());
            assert!(RabbitMqUrl::parse(&text(limit + 1)).is_err());
        }
        for text in [
            "amqp:host",
            "amqp://",
            "amqp://host:0",
            "amqp://host:70000",
            "amqp://host/a/b",
            "amqp://host/%2",
            "amqp://host/%ff",
            "amqp://ho st",
            "amqp://[::1",
            "amqp://::1",
            "amqp://host?ns=",
            "amqp://host?ns=a/b",
            "amqp://host?type=stream",
            "amqp://host?heartbeat=0",
            "amqp://host#top",
        ] {
            assert!(matches!(RabbitMqUrl::parse(text), Err(AddressError::RabbitMq(_))), "{text}");
        }
        let Err(error) = RabbitMqUrl::parse("amqp://ann:secret@host/a/b") else { panic!("two segments") };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
