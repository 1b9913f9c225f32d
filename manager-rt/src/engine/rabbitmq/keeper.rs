//! [`Keeper`]: the process that has the connections to RabbitMQ, as its owner sees it.
//!
//! The client of AMQP has threads of its own, so it runs in the keeper. This has two connections, and answers the heartbeats of RabbitMQ whatever
//! the program does. It watches the pidfd of its owner, and a line that breaks when the owner executes another program. When the owner
//! has ended, it closes the connections, and RabbitMQ delivers again what the owner had not acknowledged.

use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(feature = "tokio")]
use mp_sys::asynchronous::pause;
use mp_sys::child::{ChildError, ChildProcess, Lifeline};
use mp_sys::deadline::Deadline;
use mp_sys::key::Key;
use mp_sys::socket::{Endpoint, Head};
use serde::{Deserialize, Serialize};

use super::line::{Line, Pace};
use super::serve::keep;
use crate::OsError;
use crate::engine::keeper::{hand_over, start};

/// How long a keeper may take to end, from when its sockets are closed.
const ENDING_TIME_MAX: Duration = Duration::from_millis(500);
/// How many sockets wait for the next call at most.
const IDLE_MAX: usize = 64;
/// How often a task looks whether a keeper has ended.
#[cfg(feature = "tokio")]
const LOOKS: Duration = Duration::from_millis(5);
const HEAD: Head = Head { word: u32::from_le_bytes(*b"amqp"), long: 1 };

/// What a keeper receives first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) url: String,
    #[serde(with = "crate::key")]
    pub(super) key: Key,
    /// The number of the keeper among those of its owner.
    pub(super) serial: u32,
    pub(super) connect_time: Duration,
}

/// The keeper of a process.
#[derive(Debug)]
pub(super) struct Keeper {
    child: ChildProcess,
    endpoint: Endpoint,
    /// Sockets that no call uses.
    idle: Mutex<Vec<Line>>,
}

impl Keeper {
    /// Starts a keeper. Does not wait until it runs.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn start(order: &Order) -> Result<Self, OsError> {
        let line = Lifeline::new()?;
        let (child, endpoint) = start(keep, HEAD, order, &[line.as_fd()])?;
        Ok(Self { child, endpoint, idle: Mutex::default() })
    }

    /// Returns a socket for one call.
    ///
    /// # Errors
    /// Those of the system calls; `EPIPE` if the keeper has ended.
    pub(super) fn line(&self) -> Result<Line, OsError> {
        loop {
            let idle = lock(&self.idle).pop();
            match idle {
                Some(line) if line.is_ready() => return Ok(line),
                Some(_) => {}
                None => break,
            }
        }
        let (line, other) = Line::new()?;
        hand_over(&self.endpoint, HEAD, &[], &[other.as_fd()])?;
        Ok(line)
    }

    /// Keeps a socket for the next call.
    pub(super) fn give_back(&self, line: Line) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(line);
        }
    }

    /// Returns `true` if the keeper has ended, and reaps it.
    pub(super) fn has_ended(&self) -> bool {
        let ended: Result<_, ChildError> = self.child.wait(Deadline::after(Duration::ZERO));
        !matches!(ended, Ok(None))
    }

    /// Waits for a moment until the keeper has ended, if it is ending.
    pub(super) async fn ends_soon(&self, pace: Pace) {
        let deadline = Deadline::after(ENDING_TIME_MAX);
        match pace {
            Pace::Blocks => {
                let ended: Result<_, ChildError> = self.child.wait(deadline);
                tracing::trace!(?ended, "a call to a keeper broke");
            }
            #[cfg(feature = "tokio")]
            Pace::Yields => {
                // Without a timer, the next attempt finds out.
                while !self.has_ended() && !deadline.has_passed() && pause(LOOKS).await.is_ok() {}
            }
        }
    }

    /// Makes the keeper close its connections, and end.
    pub(super) fn dismiss(&self) {
        // This reaches the keeper even if a forked process has a copy of the socket.
        let dismissed = self.endpoint.shut_down();
        tracing::trace!(?dismissed, "a keeper ends");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.dismiss();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
