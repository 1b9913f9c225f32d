//! Sessions, in a dict of a manager: a separate process, so they survive every worker.
//!
//! A worker reads and changes a session in one step, by [`Dict::update`]: two requests of one client in two workers both count. An
//! id that is not in the dict is not taken over from a client; it gets a new one.

use std::time::Duration;

use anyhow::{Context, Result};
use mp::manager::{Dict, Manager, ObjectError};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::limits::{SESSION_IDLE_MAX, SESSIONS_MAX};

/// The name of the cookie.
pub(crate) const COOKIE: &str = "session";

/// What the server knows about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) visits: u64,
    /// When it was last used, in milliseconds of the server's clock.
    used_ms: u64,
}

/// All sessions.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    dict: Dict<String, Session>,
}

/// The result of a visit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// This is how often the client has been here.
    Known(u64),
    /// The client has a session from now on, with this id.
    New(String),
    /// There are [`SESSIONS_MAX`] sessions.
    Full,
}

impl Sessions {
    pub(crate) fn new(manager: &Manager) -> Result<Self> {
        Ok(Self { dict: manager.dict().context("no dict for the sessions")? })
    }

    /// Counts a visit of the client with this cookie.
    pub(crate) fn visit(&self, id: Option<&str>, now: Duration) -> Result<Visit> {
        let used_ms = millis(now);
        if let Some(id) = id.filter(|id| is_id(id)) {
            let count = |session: Option<Session>| session.map(|s| Session { visits: s.visits + 1, used_ms });
            if let Some(before) = self.dict.update(id, count)? {
                return Ok(Visit::Known(before.visits + 1));
            }
        }
        if self.dict.len()? >= SESSIONS_MAX {
            return Ok(Visit::Full);
        }
        let id = new_id()?;
        self.dict.insert(&id, &Session { visits: 1, used_ms })?;
        Ok(Visit::New(id))
    }

    /// Removes the sessions that nobody has used for [`SESSION_IDLE_MAX`].
    pub(crate) fn sweep(&self, now: Duration) -> Result<(), ObjectError> {
        let Some(oldest) = now.checked_sub(SESSION_IDLE_MAX).map(millis) else { return Ok(()) };
        for entry in self.dict.iter() {
            let (id, session) = entry?;
            if session.used_ms < oldest {
                // It may have been used since it was read.
                self.dict.update(&id, |session| session.filter(|session| session.used_ms >= oldest))?;
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> Result<usize, ObjectError> {
        self.dict.len()
    }
}

/// 128 random bits, which nobody can guess.
fn new_id() -> Result<String> {
    let mut bytes = [0; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty()).context("no random numbers")?;
    anyhow::ensure!(filled == bytes.len(), "no random numbers");
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The value of the session's cookie in a `Cookie` header.
pub(crate) fn cookie(header: &str) -> Option<&str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(&Manager::in_process().unwrap()).unwrap()
    }

    #[test]
    fn a_session_counts_its_visits() {
        let sessions = sessions();
        let Visit::New(id) = sessions.visit(None, Duration::ZERO).unwrap() else {
            panic!("it has no cookie")
        };
        for visits in 2..5 {
            assert_eq!(sessions.visit(Some(&id), Duration::ZERO).unwrap(), Visit::Known(visits));
        }
        for unknown in ["", "0", &"0".repeat(32), "ä"] {
            let Visit::New(other) = sessions.visit(Some(unknown), Duration::ZERO).unwrap() else { panic!() };
            assert!(other != unknown && other != id, "a client cannot choose an id");
        }
        assert_eq!(sessions.len().unwrap(), 5);
    }

    #[test]
    fn sessions_that_nobody_uses_are_removed() {
        let sessions = sessions();
        let Visit::New(old) = sessions.visit(None, Duration::ZERO).unwrap() else { panic!() };
        let Visit::New(used) = sessions.visit(None, Duration::ZERO).unwrap() else { panic!() };
        sessions.visit(Some(&used), Duration::from_secs(1)).unwrap();
        sessions.sweep(SESSION_IDLE_MAX).unwrap();
        assert_eq!(sessions.len().unwrap(), 2, "it is just not too old");
        sessions.sweep(SESSION_IDLE_MAX + Duration::from_millis(1)).unwrap();
        assert_eq!(sessions.len().unwrap(), 1);
        assert_eq!(sessions.visit(Some(&used), Duration::ZERO).unwrap(), Visit::Known(3));
        assert!(matches!(sessions.visit(Some(&old), Duration::ZERO).unwrap(), Visit::New(_)));
    }

    #[test]
    fn there_are_so_many_sessions_and_no_more() {
        let sessions = sessions();
        let session = Session { visits: 1, used_ms: 0 };
        let ids: Vec<String> = (1..SESSIONS_MAX).map(|number| format!("{number:032x}")).collect();
        for ids in ids.chunks(1000) {
            sessions.dict.extend(ids.iter().map(|id| (id, &session))).unwrap();
        }
        assert!(matches!(sessions.visit(None, Duration::ZERO).unwrap(), Visit::New(_)), "the last one");
        assert_eq!(sessions.visit(None, Duration::ZERO).unwrap(), Visit::Full);
        assert_eq!(sessions.visit(Some(&ids[0]), Duration::ZERO).unwrap(), Visit::Known(2));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        assert_eq!(cookie("a=b; session=12; c=d"), Some("12"));
        assert_eq!(cookie("session="), Some(""));
        assert_eq!(cookie("my_session=12; sessions=3"), None);
    }
}
