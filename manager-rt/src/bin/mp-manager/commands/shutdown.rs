//! `shutdown`: ends the server.
//!
//! A server answers when it has saved its objects, or could not. It closes its connections when it has ended, so the command asks
//! once more over the same connection. The answer never comes, and the end of the connection says that the server has ended.

use std::thread;
use std::time::{Duration, Instant};

use manager_rt::limits::END_TIME_MAX;
use manager_rt::{CallError, ConnectError, ReachError};

use crate::args::Target;
use crate::failure::Failure;
use crate::target::Connection;

/// The pause between two looks at a server that still answers.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Ends the server, and waits until it has saved its objects and its address is free.
pub(crate) fn run(target: &Target) -> Result<(), Failure> {
    let connection = Connection::open(target)?;
    let manager = &connection.manager;
    match manager.shutdown() {
        // The server may end before its last answer has arrived.
        Ok(()) | Err(CallError::OutcomeUnknown) => {}
        Err(error) => return Err(Failure::of_call(connection.address(), &error)),
    }
    let start = Instant::now();
    // Another server that has taken the place is an error as well.
    while manager.info().is_ok() {
        if start.elapsed() > END_TIME_MAX {
            return Err(still_there(&connection));
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
    if connection.address().starts_with("mp+unix:") {
        return Ok(());
    }
    // The connection to another host may have ended for other reasons.
    match Connection::try_open(target)? {
        Ok(other) if other.manager.backend().epoch() == manager.backend().epoch() => {
            Err(still_there(&connection))
        }
        Err(ReachError::Connect { error: ConnectError::TimedOut, .. }) => Err(still_there(&connection)),
        _ => Ok(()),
    }
}

fn still_there(connection: &Connection) -> Failure {
    Failure::Unknown(format!("{} was asked to end, but it is not known that it has", connection.address()))
}
