//! [`Watch`]: sentinels, which know the server that is the master now.
//!
//! Each new connection asks them, since another server may have taken over. A server that was the master and does not know yet that another one
//! is has no say: sentinels answer, and not what a server was called before.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisError, Value as Item};

use super::connection::{Connection, OpenError};
use super::tls::Trust;
use crate::address::Sentinels;
use crate::count::count_of;

/// How long a sentinel may take for a step of its connection, if there are others.
const SENTINEL_TIME_MAX: Duration = Duration::from_secs(1);

/// The sentinels of a server.
#[derive(Debug)]
pub(super) struct Watch {
    sentinels: Sentinels,
    /// The one that has answered last. It is asked first.
    first: AtomicUsize,
}

impl Watch {
    pub(super) const fn new(sentinels: Sentinels) -> Self {
        Self { sentinels, first: AtomicUsize::new(0) }
    }

    /// Returns how to connect to the server that is the master now.
    ///
    /// # Errors
    /// That of the last sentinel; [`NotFound`](io::ErrorKind::NotFound) if they know no such master.
    pub(super) fn master(
        &self,
        info: &ConnectionInfo,
        trust: &Trust,
        time: Duration,
    ) -> Result<ConnectionInfo, OpenError> {
        let hosts = self.sentinels.hosts();
        let first = self.first.load(Ordering::Relaxed);
        let mut refused = io::Error::from(io::ErrorKind::NotFound).into();
        let order = (0..hosts.len()).cycle().skip(first).take(hosts.len());
        for at in order {
            let Some((host, port)) = hosts.get(at) else { continue };
            let sentinel = info.clone().set_addr(ConnectionAddr::Tcp(host.clone(), *port));
            match self.ask(&sentinel, trust, time.min(SENTINEL_TIME_MAX)) {
                Ok(Some((host, port))) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(info.clone().set_addr(ConnectionAddr::Tcp(host, port)));
                }
                Ok(None) => tracing::debug!(%host, port, "a sentinel does not know the master"),
                Err(error) => {
                    tracing::debug!(?error, %host, port, "a sentinel does not answer");
                    refused = error;
                }
            }
        }
        tracing::debug!(sentinels = count_of(hosts.len()), "no sentinel names a master");
        Err(refused)
    }

    /// Asks one sentinel where the master is. It is given the password only if it asks for one.
    fn ask(
        &self,
        sentinel: &ConnectionInfo,
        trust: &Trust,
        time: Duration,
    ) -> Result<Option<(String, u16)>, OpenError> {
        let (login, nobody) = (sentinel.redis_settings().clone().set_db(0), RedisConnectionInfo::default());
        let has_password = login.password().is_some();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(self.sentinels.master());
        let open = |settings| Connection::open(&sentinel.clone().set_redis_settings(settings), trust, time);
        let answer = match open(nobody)?.ask(&ask) {
            Err(error) if error.code() == Some("NOAUTH") && has_password => open(login)?.ask(&ask),
            answer => answer,
        };
        Ok(place_in(&answer?))
    }
}

fn place_in(answer: &Item) -> Option<(String, u16)> {
    let Item::Array(items) = answer else { return None };
    let [Item::BulkString(host), Item::BulkString(port)] = &items[..] else { return None };
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some((String::from_utf8(host.clone()).ok()?, port))
}

/// Checks that a server takes itself for the master, if it says.
///
/// # Errors
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), or that of the system.
pub(super) fn check_master(connection: &mut Connection) -> Result<(), RedisError> {
    match connection.ask(&redis::cmd("ROLE")) {
        Ok(Item::Array(items)) if items.first() != Some(&Item::BulkString(b"master".to_vec())) => {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
        }
        Err(error) if error.is_io_error() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_sentinels_name() {
        let text = |text: &str| Item::BulkString(text.as_bytes().to_vec());
        let place = |host, port| place_in(&Item::Array(vec![text(host), text(port)]));
        assert_eq!(place("10.0.0.1", "6379"), Some(("10.0.0.1".to_owned(), 6379)));
        assert_eq!(place("10.0.0.1", "65536"), None);
        assert_eq!(place_in(&Item::Nil), None);
        assert_eq!(place_in(&Item::Array(vec![text("10.0.0.1")])), None);
    }
}
