//! `shutdown`: ends the server.

use std::thread;
use std::time::{Duration, Instant};

use manager_rt::CallError;
use manager_rt::limits::END_TIME_MAX;

use crate::args::Target;
use crate::failure::Failure;
use crate::target::Connection;

/// The pause between two looks at a server that is ending.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Ends the server, and waits until its address is free.
pub(crate) fn run(target: &Target) -> Result<(), Failure> {
    let connection = Connection::open(target)?;
    let epoch = connection.manager.backend().epoch();
    match connection.manager.shutdown() {
        // The server may end before its last answer has arrived.
        Ok(()) | Err(CallError::OutcomeUnknown) => {}
        Err(error) => return Err(Failure::of_call(connection.address(), &error)),
    }
    let start = Instant::now();
    // Another server may have taken the place.
    while Connection::open(target).is_ok_and(|other| other.manager.backend().epoch() == epoch) {
        if start.elapsed() > END_TIME_MAX {
            let text =
                format!("{} still serves: it has not ended after {END_TIME_MAX:?}", connection.address());
            return Err(Failure::Unknown(text));
        }
        thread::sleep(LOOK_AGAIN_AFTER);
    }
    Ok(())
}
