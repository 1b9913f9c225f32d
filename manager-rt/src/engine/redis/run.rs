//! [`Run`]: one run of a Redis server, from its start to its end.
//!
//! A Redis that was restarted has what it had written to its disk. If that is older than what it had said to its clients, locks
//! are free whose holders know nothing of it. So a session belongs to one run of Redis.

use std::fmt;

use redis::{RedisError, Value as Item};
use serde::{Deserialize, Serialize};

use super::connection::Connection;

/// The number of hexadecimal digits of which [`Run`] consists. Redis draws 40.
const DIGITS: usize = 32;

/// A run of Redis. Two runs have different numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run(u128);

impl fmt::Display for Run {
    /// Its digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Asks Redis about itself: which run this is, or all that it knows. Returns `None` if Redis keeps that to itself, as an access control list may demand.
///
/// # Errors
/// That of the system.
pub(super) fn info_of(connection: &mut Connection, only_run: bool) -> Result<Option<String>, RedisError> {
    let mut ask = redis::cmd("INFO");
    if only_run {
        ask.arg("server");
    }
    match connection.ask(&ask) {
        Ok(Item::BulkString(text)) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Ok(_) => Ok(None),
        Err(error) if error.is_io_error() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "Redis does not say which run this is");
            Ok(None)
        }
    }
}

/// Finds the run in what Redis says about itself.
pub(super) fn run_in(info: &str) -> Option<Run> {
    let digits = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    u128::from_str_radix(digits.get(..DIGITS)?, 16).ok().map(Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_among_other_lines() {
        let one = "# Server\r\nredis_version:7.0.15\r\nrun_id:9f3c0d1e9f3c0d1e9f3c0d1e9f3c0d1e00000000\r\nos:Linux\r\n";
        assert_eq!(run_in(one).unwrap().to_string(), "9f3c0d1e9f3c0d1e9f3c0d1e9f3c0d1e");
        assert_eq!(run_in(one), Some(Run(0x9f3c_0d1e_9f3c_0d1e_9f3c_0d1e_9f3c_0d1e)));
        for none in ["", "run_id:", "run_id:12\r\n", "run_id:yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"] {
            assert_eq!(run_in(none), None, "{none}");
        }
    }
}
