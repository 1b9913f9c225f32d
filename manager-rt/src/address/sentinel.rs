//! `redis+sentinel://HOST:PORT,HOST:PORT/MASTER`: the Redis server that sentinels name.

/// The schemes of the URLs.
pub(super) const SCHEMES: [&str; 2] = ["redis+sentinel", "valkey+sentinel"];
/// The schemes of those whose connections are encrypted, to sentinels and to the servers that they name.
pub(super) const ENCRYPTED: [&str; 2] = ["rediss+sentinel", "valkeys+sentinel"];
/// The most sentinels that a URL names.
pub(crate) const SENTINELS_MAX: usize = 32;
/// The port at which sentinels listen if the URL names none.
const PORT_DEFAULT: u16 = 26_379;
/// The parameter that sets the database, since the master's name stands in its place.
const DATABASE: &str = "db=";

/// The sentinels of a URL, and the name under which they know the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sentinels {
    hosts: Vec<(String, u16)>,
    master: String,
}

/// What a URL of sentinels consists of.
pub(super) struct Parts {
    pub(super) sentinels: Sentinels,
    /// The URL without the password.
    pub(super) text: String,
    /// A URL that says all but the place of the server.
    pub(super) server: String,
}

/// Returns `true` if a URL has one of the schemes.
pub(super) fn is_one(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| SCHEMES.contains(&scheme) || ENCRYPTED.contains(&scheme))
}

/// Reads a URL.
pub(super) fn parts_of(text: &str) -> Option<Parts> {
    let (scheme, rest) = text.split_once("://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, master) = place.split_once('/')?;
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if master.is_empty() || !master.bytes().all(is_of_a_name) {
        return None;
    }
    let hosts: Vec<_> = hosts.split(',').map(host_of).collect::<Option<_>>()?;
    if hosts.len() > SENTINELS_MAX {
        return None;
    }
    let (databases, parameters): (Vec<_>, Vec<_>) =
        query.split('&').partition(|parameter| parameter.starts_with(DATABASE));
    let database = match databases[..] {
        [] => "",
        [one] => one.strip_prefix(DATABASE)?,
        _ => return None,
    };
    let mark = |text: &str| if text.is_empty() { String::new() } else { format!("{text}@") };
    let user = login.split_once(':').map_or(login, |(user, _)| user);
    let kind = if ENCRYPTED.contains(&scheme) { "rediss" } else { "redis" };
    let server = format!("{kind}://{}sentinel/{database}?{}", mark(login), parameters.join("&"));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let places = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let text = format!("{scheme}://{}{places}/{master}{query}", mark(user));
    Some(Parts { sentinels: Sentinels { hosts, master: master.to_owned() }, text, server })
}

/// Reads a host and a port. An IPv6 address stands in brackets.
fn host_of(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, PORT_DEFAULT),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = inner.is_some() || !host.contains([':', '[', ']']);
    (!host.is_empty() && is_host && port != 0).then(|| (inner.unwrap_or(host).to_owned(), port))
}

impl Sentinels {
    /// Returns the hosts and ports of the sentinels.
    pub(crate) fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// Returns the name under which they know the server.
    pub(crate) fn master(&self) -> &str {
        &self.master
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_and_what_else_a_url_says() {
        let url = "redis+sentinel://ann:s%40crt@one:7000,[::1]:7001,three/jobs?ns=app&db=2&lease=5s";
        let parts = parts_of(url).unwrap();
        let hosts = [("one", 7000), ("::1", 7001), ("three", PORT_DEFAULT)];
        assert_eq!(parts.sentinels.hosts(), hosts.map(|(host, port)| (host.to_owned(), port)));
        assert_eq!(parts.sentinels.master(), "jobs");
        assert_eq!(parts.server, "redis://ann:s%40crt@sentinel/2?ns=app&lease=5s");
        let text = "redis+sentinel://ann@one:7000,[::1]:7001,three/jobs?ns=app&db=2&lease=5s";
        assert_eq!(parts.text, text);
        assert_eq!(parts_of(text).unwrap().text, text);
        assert_eq!(parts_of("valkey+sentinel://one/jobs").unwrap().server, "redis://sentinel/?");
        let encrypted = parts_of("valkeys+sentinel://ann@one/jobs?ca=/ca.pem").unwrap();
        assert_eq!(encrypted.server, "rediss://ann@sentinel/?ca=/ca.pem");
        assert_eq!(encrypted.text, "valkeys+sentinel://ann@one/jobs?ca=/ca.pem");
    }

    #[test]
    fn what_is_no_url_of_sentinels() {
        let many = |count| format!("redis+sentinel://{}/jobs", vec!["host"; count].join(","));
        assert!(parts_of(&many(SENTINELS_MAX)).is_some());
        for text in [
            "redis+sentinel://one",
            "redis+sentinel://one/",
            "redis+sentinel://one/two/three",
            "redis+sentinel:///jobs",
            "redis+sentinel://one,/jobs",
            "redis+sentinel://one:0/jobs",
            "redis+sentinel://one:x/jobs",
            "redis+sentinel://::1/jobs",
            "redis+sentinel://one/jobs?db=1&db=2",
            &many(SENTINELS_MAX + 1),
        ] {
            assert!(parts_of(text).is_none(), "{text}");
        }
    }
}
