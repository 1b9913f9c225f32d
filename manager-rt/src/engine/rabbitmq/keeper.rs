//! [`Keeper`]: the process that has the connections to RabbitMQ, as its owner sees it.
//!
//! The client of AMQP has threads of its own. Threads would make every later `fork` of the program refuse. So the program executes
//! itself again (see `mp_sys::reexec`). The other process has two connections, and answers the heartbeats of RabbitMQ whatever
//! the program does. It watches the pidfd of its owner, and a line that breaks when the owner executes another program. When the owner
//! has ended, it closes the connections, and RabbitMQ delivers again what the owner had not acknowledged.

use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mp_sys::child::{ChildError, ChildProcess, Lifeline};
use mp_sys::deadline::Deadline;
use mp_sys::key::{Key, wipe};
use mp_sys::reexec::{Command, StartError};
use mp_sys::robust::Patience;
use mp_sys::socket::{Endpoint, Head, OVERHEAD_BYTES};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::line::Line;
use super::serve::keep;
use crate::OsError;

/// How long the keeper may take to receive its order, or a socket.
pub(super) const ORDER_TIME_MAX: Duration = Duration::from_secs(60);
/// The longest order, in bytes: the address and the password.
pub(super) const ORDER_BYTES_MAX: usize = 32 << 10;
/// How long a keeper may take to end, from when its sockets are closed.
const ENDING_TIME_MAX: Duration = Duration::from_millis(500);
/// How many sockets wait for the next call at most.
const IDLE_MAX: usize = 64;
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
        let started = Command::new(keep).and_then(|command| command.label("keeper").mute().start());
        let (child, endpoint) = started.map_err(|error| not_started(&error))?;
        let keeper = Self { child, endpoint, idle: Mutex::default() };
        // Memory that grows would leave copies of the password behind.
        let mut body = vec![0; ORDER_BYTES_MAX];
        let sent = match postcard::to_slice(order, &mut body) {
            Ok(body) => keeper.hand_over(body, line.as_fd()),
            Err(_) => Err(Errno::MSGSIZE.into()),
        };
        wipe(&mut body);
        sent?;
        Ok(keeper)
    }

    fn hand_over(&self, body: &[u8], file: impl AsFd) -> Result<(), OsError> {
        let patience = Patience::Until(Deadline::after(ORDER_TIME_MAX));
        let sent = self.endpoint.send(HEAD, &mut [0; OVERHEAD_BYTES], body, &[file.as_fd()], patience);
        sent.map_err(|error| {
            tracing::debug!(?error, "a keeper received nothing");
            Errno::PIPE.into()
        })
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
        self.hand_over(&[], other)?;
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
    pub(super) fn ends_soon(&self) {
        let ended: Result<_, ChildError> = self.child.wait(Deadline::after(ENDING_TIME_MAX));
        tracing::trace!(?ended, "a call to a keeper broke");
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

fn not_started(error: &StartError) -> OsError {
    tracing::warn!(%error, "there is no keeper");
    match error {
        StartError::NotExecutable(error) | StartError::System(error) => *error,
        StartError::OutOfProcesses => Errno::AGAIN.into(),
        StartError::OutOfMemory => Errno::NOMEM.into(),
        StartError::OutOfDescriptors => Errno::MFILE.into(),
        StartError::Privileged => Errno::PERM.into(),
        _ => Errno::OPNOTSUPP.into(),
    }
}
