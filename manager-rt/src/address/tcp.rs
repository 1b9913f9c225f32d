//! `mp+tcp://HOST:PORT`: a port of a host, over which everything is encrypted.

use std::fmt;
use std::net::Ipv6Addr;
#[cfg(feature = "server")]
use std::net::SocketAddr;
use std::time::Duration;

use mp_sys::stream::{LOST_AFTER_MAX, LOST_AFTER_MIN};

use crate::address::AddressError;
use crate::limits::{HOST_BYTES_MAX, LOST_AFTER_DEFAULT};

/// The scheme of the URL.
pub(super) const SCHEME: &str = "mp+tcp";
/// The parameter that says when a peer counts as lost.
const LOST_AFTER: &str = "lost_after";

/// A port of a host, and when a peer there counts as lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
    lost_after: Duration,
}

impl HostPort {
    /// Reads `HOST:PORT`, with an IPv6 address in brackets, and maybe `?lost_after=SECONDSs`.
    ///
    /// # Errors
    /// [`AddressError::Host`], [`AddressError::Parameter`].
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Host(text.to_owned());
        let (place, parameters) = text.split_once('?').map_or((text, ""), |(place, rest)| (place, rest));
        let (host, port) = place.trim_end_matches('/').rsplit_once(':').ok_or_else(bad)?;
        // `u16::from_str` accepts a plus sign.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port: u16 = port.and_then(|port| port.parse().ok()).ok_or_else(bad)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inside) => Some(inside).filter(|inside| inside.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| is_name(host)),
        };
        let host = host.ok_or_else(bad)?.to_owned();
        let mut lost_after = LOST_AFTER_DEFAULT;
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            lost_after = parameter
                .split_once('=')
                .filter(|(name, _)| *name == LOST_AFTER)
                .and_then(|(_, value)| seconds(value))
                .filter(|value| (LOST_AFTER_MIN..=LOST_AFTER_MAX).contains(value))
                .ok_or_else(|| AddressError::Parameter(parameter.to_owned()))?;
        }
        Ok(Self { host, port, lost_after })
    }

    /// Returns the place of a socket.
    #[cfg(feature = "server")]
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), lost_after: LOST_AFTER_DEFAULT }
    }

    /// Returns the same place with another port.
    #[cfg(feature = "server")]
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// Returns the name or the address of the host, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Returns how long the other side may be silent before it counts as lost.
    pub(crate) const fn lost_after(&self) -> Duration {
        self.lost_after
    }
}

/// Returns whether a text may be the name or the IPv4 address of a host.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.bytes().all(is_of_name)
}

/// Reads a number of whole seconds, such as `5s`.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok().map(Duration::from_secs) } else { None }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, lost_after } = self;
        match host.contains(':') {
            true => write!(f, "{SCHEME}://[{host}]:{port}")?,
            false => write!(f, "{SCHEME}://{host}:{port}")?,
        }
        if *lost_after != LOST_AFTER_DEFAULT {
            write!(f, "?{LOST_AFTER}={}s", lost_after.as_secs())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        HostPort::parse(text).ok().map(|at| at.to_string())
    }

    #[test]
    fn names_and_addresses_of_both_versions_are_read_and_written() {
        for (text, expected) in [
            ("db.example:7000", "mp+tcp://db.example:7000"),
            ("127.0.0.1:0", "mp+tcp://127.0.0.1:0"),
            ("[::1]:65535", "mp+tcp://[::1]:65535"),
            ("host:7/", "mp+tcp://host:7"),
            ("host:7?lost_after=10s", "mp+tcp://host:7"),
            ("host:7?lost_after=2s", "mp+tcp://host:7?lost_after=2s"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected));
        }
        let parsed = HostPort::parse("[fe80::1]:9?lost_after=60s").unwrap();
        assert_eq!((parsed.host(), parsed.port()), ("fe80::1", 9));
        assert_eq!(parsed.lost_after(), Duration::from_secs(60));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "host",
            "host:",
            ":7",
            "host:65536",
            "host:+7",
            "host:7x",
            "::1:7",
            "[host]:7",
            "[::1]",
            "a b:7",
            "user@host:7",
        ] {
            assert!(matches!(HostPort::parse(text), Err(AddressError::Host(_))), "{text}");
        }
        let long = "h".repeat(HOST_BYTES_MAX);
        assert!(HostPort::parse(&format!("{long}:7")).is_ok());
        assert!(HostPort::parse(&format!("{long}h:7")).is_err());
    }

    #[test]
    fn a_parameter_has_a_known_name_and_a_value_within_its_limits() {
        let of = |parameters: &str| HostPort::parse(&format!("host:7?{parameters}"));
        for (value, is_good) in [("1s", false), ("2s", true), ("32767s", true), ("32768s", false)] {
            assert_eq!(of(&format!("lost_after={value}")).is_ok(), is_good, "{value}");
        }
        for parameter in ["lost_after", "lost_after=", "lost_after=5", "lost_after=+5s", "other=1"] {
            assert_eq!(of(parameter).unwrap_err(), AddressError::Parameter(parameter.to_owned()));
        }
    }
}
