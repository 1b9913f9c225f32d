//! [`Link`]: the connections of one process to Redis.
//!
//! A call takes a connection that no other call uses, so calls of several threads do not wait for each other. A forked
//! child makes its own connections.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mp_sys::fork::Generations;
use redis::{Client, Connection, ConnectionLike, ErrorKind, RedisError, ServerErrorKind, Value as Item};

use super::answer::answer_of;
use super::command::Command;
use crate::backend::CallError;
use crate::proto::{Answer, Fault, Payload};

/// How long a call without a wait may take before its outcome counts as unknown.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The most connections that stay open while no call uses them.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// The most operations that are sent together, since nobody else is served until Redis has done them.
pub(super) const OPERATIONS_AT_ONCE_MAX: usize = 128;

/// The connections of one process.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    connect_time: Duration,
    idle: Generations<Mutex<Vec<Idle>>>,
}

/// A connection that no call uses.
struct Idle(Connection);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

impl Link {
    pub(super) const fn new(client: Client, connect_time: Duration) -> Self {
        Self { client, connect_time, idle: Generations::new() }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// What Redis or the system says.
    pub(super) fn open(&self) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(self.connect_time)?;
        connection.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        connection.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        Ok(connection)
    }

    fn idle(&self) -> &Mutex<Vec<Idle>> {
        self.idle.get(|_| Mutex::default())
    }

    fn take(&self) -> Result<Connection, CallError> {
        let idle = self.idle().lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(Idle(connection)) => Ok(connection),
            None => self.open().map_err(|error| unreachable_by(&error)),
        }
    }

    fn put_back(&self, connection: Connection) {
        if !connection.is_open() {
            return;
        }
        let mut idle = self.idle().lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle(connection));
        }
    }

    /// Runs one script.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation.
    pub(super) fn run(&self, command: &Command) -> Result<Answer<Payload>, CallError> {
        let mut connection = self.take()?;
        let mut outcome = send(&mut connection, &command.packed(false));
        if outcome.as_ref().is_err_and(lacks_script) {
            // Redis forgets its scripts when it is restarted, or when it is told to.
            outcome = send(&mut connection, &command.packed(true));
        }
        let answer = match outcome {
            Ok(item) => answer_of(item),
            Err(error) if error.is_io_error() => return Err(CallError::OutcomeUnknown),
            Err(error) => failed(&error),
        };
        self.put_back(connection);
        answer
    }

    /// Runs several scripts, one after another.
    ///
    /// Redis runs at most [`OPERATIONS_AT_ONCE_MAX`] of them in one of its transactions. So it cannot forget a script
    /// between its first use, which contains its text, and the next.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of a single operation.
    pub(super) fn run_all(&self, commands: &[Command]) -> Result<Vec<Answer<Payload>>, CallError> {
        let mut connection = self.take()?;
        let mut answers = Vec::with_capacity(commands.len());
        for portion in commands.chunks(OPERATIONS_AT_ONCE_MAX) {
            let sent = packed(portion);
            // The answers before the last are those of MULTI and of what is queued.
            let offset = portion.len().saturating_add(1);
            let outcome = connection.req_packed_commands(&sent, offset, 1);
            let items = match outcome.map(|mut items| items.pop()) {
                Ok(Some(Item::Array(items))) => items,
                Ok(_) => return Err(CallError::Protocol),
                Err(error) if error.is_io_error() => return Err(CallError::OutcomeUnknown),
                Err(error) => return Err(refused(&error)),
            };
            for item in items {
                answers.push(match item {
                    Item::ServerError(error) => failed(&error.into())?,
                    item => answer_of(item)?,
                });
            }
        }
        self.put_back(connection);
        Ok(answers)
    }

    /// Runs one command of Redis.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn ask(&self, command: &redis::Cmd) -> Result<Item, CallError> {
        let mut connection = self.take()?;
        match send(&mut connection, command) {
            Ok(item) => {
                self.put_back(connection);
                Ok(item)
            }
            Err(error) if error.is_io_error() => Err(CallError::OutcomeUnknown),
            Err(error) => Err(refused(&error)),
        }
    }
}

/// Sends one command, and returns its answer.
///
/// # Errors
/// What Redis or the system says.
pub(super) fn send(connection: &mut Connection, command: &redis::Cmd) -> Result<Item, RedisError> {
    match connection.req_packed_command(&command.get_packed_command())? {
        Item::ServerError(error) => Err(error.into()),
        item => Ok(item),
    }
}

/// Encodes a transaction of Redis. The first use of each script contains its text.
fn packed(portion: &[Command]) -> Vec<u8> {
    let mut sent = redis::cmd("MULTI").get_packed_command();
    for (at, command) in portion.iter().enumerate() {
        let mut earlier = portion.iter().take(at);
        let is_known = earlier.any(|earlier| std::ptr::eq(earlier.script(), command.script()));
        command.packed(!is_known).write_packed_command(&mut sent);
    }
    redis::cmd("EXEC").write_packed_command(&mut sent);
    sent
}

fn lacks_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Returns why an operation failed that Redis refused.
fn failed(error: &RedisError) -> Result<Answer<Payload>, CallError> {
    if error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("OOM ")) {
        return Ok(Err(Fault::NoSpace));
    }
    Err(refused(error))
}

/// Returns why Redis did nothing.
pub(super) fn refused(error: &RedisError) -> CallError {
    tracing::debug!(%error, "Redis refused an operation");
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm), _)
        | (_, Some("NOAUTH" | "WRONGPASS")) => CallError::Unauthorised,
        (
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown,
            ),
            _,
        )
        | (_, Some("BUSY" | "MISCONF" | "NOREPLICAS")) => CallError::ServerGone,
        _ => CallError::Protocol,
    }
}

/// Returns why there is no connection.
fn unreachable_by(error: &RedisError) -> CallError {
    if error.is_io_error() { CallError::ServerGone } else { refused(error) }
}
