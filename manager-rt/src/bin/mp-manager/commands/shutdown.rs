//! `shutdown`: ends the server.
//!
//! A server answers when it has saved its objects, or could not. It closes its connections when it has ended, so the command asks
//! once more over the same connection. The answer never comes, and the end of the connection says that the server has ended.
//!
//! A server that saves its objects already refuses new connections. Then the command connects again and again until nobody refuses
//! them.

use std::thread;
use std::time::{Duration, Instant};

use manager_rt::limits::{END_TIME_MAX, SAVE_TIME_MAX};
use manager_rt::proto::{Call, ManagerOp, ObjectId, Op, Raw, Wait};
use manager_rt::{CallError, ConnectError, ReachError};

use crate::args::Shutdown;
use crate::failure::Failure;
use crate::objects::THREAD;
use crate::target::{Connection, is_ending};

/// The pause between two looks at a server that still answers.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);
/// The pause between two attempts to connect to a server that ends, at first and at most.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Ends the server, and waits until it has saved its objects and its address is free.
pub(crate) fn run(options: &Shutdown) -> Result<(), Failure> {
    let (time, start) = (options.timeout.unwrap_or(SAVE_TIME_MAX), Instant::now());
    match Connection::open_unless_ending(&options.target)? {
        Ok(connection) => end(&connection, options, time),
        Err(address) => match await_end(options, &address, start, time)? {
            // It could not save them, and goes on.
            Some(connection) => end(&connection, options, time.saturating_sub(start.elapsed())),
            None => Ok(()),
        },
    }
}

/// Waits until the server that saves its objects has ended. Returns a connection if it serves again instead.
fn await_end(
    options: &Shutdown,
    address: &str,
    start: Instant,
    time: Duration,
) -> Result<Option<Connection>, Failure> {
    let mut pause = CONNECT_AGAIN_AFTER;
    loop {
        match Connection::try_open(&options.target)? {
            Ok(connection) => {
                let report = connection.manager.report();
                let is_other = report.is_ok_and(|report| report.server.uptime < start.elapsed());
                return Ok((!is_other).then_some(connection));
            }
            Err(ReachError::Connect { error: ConnectError::NotFound, .. }) => return Ok(None),
            // It has ended at this moment, or hangs.
            Err(ReachError::Connect { error: ConnectError::Closed | ConnectError::TimedOut, .. }) => {}
            Err(error) if is_ending(&error) => {}
            // Somebody else has the address.
            Err(_) => return Ok(None),
        }
        if start.elapsed() >= time {
            return Err(too_late(address, time));
        }
        thread::sleep(pause.min(time.saturating_sub(start.elapsed())));
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

fn too_late(address: &str, time: Duration) -> Failure {
    Failure::Unknown(format!(
        "{address} has not ended within {time:?}: it is still saving its objects, or it is stopped; it ends once they are saved"
    ))
}

fn end(connection: &Connection, options: &Shutdown, time: Duration) -> Result<(), Failure> {
    let manager = &connection.manager;
    let start = Instant::now();
    match manager.backend().call(call(time)) {
        // The server may end before its last answer has arrived.
        Ok(_) | Err(CallError::OutcomeUnknown) => {}
        Err(error) => return Err(Failure::of_call(connection.address(), &error)),
    }
    if start.elapsed() >= time {
        return Err(too_late(connection.address(), time));
    }
    let answered = Instant::now();
    // Another server that has taken the place is an error as well.
    while manager.info().is_ok() {
        if answered.elapsed() > END_TIME_MAX {
            return Err(still_there(connection));
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
    if connection.address().starts_with("mp+unix:") {
        return Ok(());
    }
    // The connection to another host may have ended for other reasons.
    match Connection::try_open(&options.target)? {
        Ok(other) if other.manager.backend().epoch() == manager.backend().epoch() => {
            Err(still_there(connection))
        }
        Err(ReachError::Connect { error: ConnectError::TimedOut, .. }) => Err(still_there(connection)),
        Err(error) if is_ending(&error) => Err(still_there(connection)),
        _ => Ok(()),
    }
}

/// Returns the call that ends a server. The server answers it when it ends, whatever the call says. So the time only bounds how long
/// this process waits.
fn call(time: Duration) -> Call<Raw<'static>> {
    let wait = Wait::For(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Call { object: ObjectId::MANAGER, thread: THREAD, wait, op: Op::Manager(ManagerOp::Shutdown) }
}

fn still_there(connection: &Connection) -> Failure {
    Failure::Unknown(format!("{} was asked to end, but it is not known that it has", connection.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_waits_as_long_as_the_user_says() {
        for time in [Duration::from_secs(1), Duration::from_secs(31), SAVE_TIME_MAX] {
            assert_eq!(call(time).wait, Wait::For(u64::try_from(time.as_nanos()).unwrap()));
        }
        assert_eq!(call(Duration::MAX).wait, Wait::For(u64::MAX));
    }
}
