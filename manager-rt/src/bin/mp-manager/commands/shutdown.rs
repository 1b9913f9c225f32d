//! `shutdown`: ends the server.
//!
//! A server answers when it has saved its objects, or could not. It closes its connections when it has ended, so the command asks
//! once more over the same connection. The answer never comes, and the end of the connection says that the server has ended.

use std::thread;
use std::time::{Duration, Instant};

use manager_rt::limits::{END_TIME_MAX, SAVE_TIME_MAX};
use manager_rt::proto::{Call, ManagerOp, ObjectId, Op, Wait};
use manager_rt::{CallError, ConnectError, ReachError};

use crate::args::Shutdown;
use crate::failure::Failure;
use crate::objects::THREAD;
use crate::target::Connection;

/// The pause between two looks at a server that still answers.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Ends the server, and waits until it has saved its objects and its address is free.
pub(crate) fn run(options: &Shutdown) -> Result<(), Failure> {
    let connection = Connection::open(&options.target)?;
    let manager = &connection.manager;
    let time = options.timeout.unwrap_or(SAVE_TIME_MAX);
    let start = Instant::now();
    // The server answers such a call when it ends, whatever the call says. So the time only bounds how long this process waits.
    let wait = Wait::For(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let op = Op::Manager(ManagerOp::Shutdown);
    match manager.backend().call(Call { object: ObjectId::MANAGER, thread: THREAD, wait, op }) {
        // The server may end before its last answer has arrived.
        Ok(_) | Err(CallError::OutcomeUnknown) => {}
        Err(error) => return Err(Failure::of_call(connection.address(), &error)),
    }
    if start.elapsed() >= time {
        return Err(Failure::Unknown(format!(
            "{} has not ended within {time:?}: it is still saving its objects, or it is stopped; it ends once they are saved",
            connection.address()
        )));
    }
    let answered = Instant::now();
    // Another server that has taken the place is an error as well.
    while manager.info().is_ok() {
        if answered.elapsed() > END_TIME_MAX {
            return Err(still_there(&connection));
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
    if connection.address().starts_with("mp+unix:") {
        return Ok(());
    }
    // The connection to another host may have ended for other reasons.
    match Connection::try_open(&options.target)? {
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
