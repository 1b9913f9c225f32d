//! [`Link`]: the connections of one process to Redis.
//!
//! A call takes a connection that no other call uses, so calls of several threads do not wait for each other. A forked
//! child makes its own connections.
//!
//! Each new connection learns which run of Redis it leads to. A restart ends all connections, so nobody uses another run
//! without having seen it here.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Generations;
use mp_sys::ready::readable_later;
use redis::{ConnectionInfo, RedisError, Value as Item};

use super::answer::answer_of;
use super::command::Command;
use super::connection::{Connection, OpenError};
use super::plain::Plain;
use super::refusal::{failed, is_demoted, is_full, lacks_script, refused, unreachable_by};
use super::run::{Run, info_of, run_in};
use super::sentinel::{Watch, check_master};
use super::tls::Trust;
use super::transaction::{Transaction, answers_in};
use crate::OsError;
use crate::address::Sentinels;
use crate::backend::CallError;
use crate::proto::{Answer, Fault, Payload, Reply};

/// How long a call without a wait may take before its outcome counts as unknown.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The most connections that stay open while no call uses them.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// The connections of one process.
#[derive(Debug)]
pub(super) struct Link {
    info: ConnectionInfo,
    trust: Trust,
    /// The sentinels that know which server is the master.
    watch: Option<Watch>,
    connect_time: Duration,
    answer_time: Duration,
    idle: Generations<Mutex<Vec<Connection>>>,
    /// The run of Redis to which the newest connection leads, if Redis said so.
    run: Mutex<Option<Run>>,
    /// How often it was another one.
    restarts: AtomicU64,
}

impl Link {
    pub(super) const fn new(info: ConnectionInfo, trust: Trust, connect_time: Duration) -> Self {
        Self {
            info,
            trust,
            watch: None,
            connect_time,
            answer_time: ANSWER_TIME_MAX,
            idle: Generations::new(),
            run: Mutex::new(None),
            restarts: AtomicU64::new(0),
        }
    }

    /// Asks sentinels for the place of the server, if there are some.
    pub(super) fn found_by(self, sentinels: Option<&Sentinels>) -> Self {
        Self { watch: sentinels.cloned().map(Watch::new), ..self }
    }

    /// Waits so long for each answer, and for each step of a new connection.
    pub(super) fn within(self, time: Duration) -> Self {
        Self { connect_time: self.connect_time.min(time), answer_time: time, ..self }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(&self) -> Result<Connection, OpenError> {
        self.open_and_ask(true).map(|(connection, _)| connection)
    }

    /// Opens a connection, and returns what Redis says about itself, if it does.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open_first(&self) -> Result<(Connection, Option<String>), OpenError> {
        self.open_and_ask(false)
    }

    fn open_and_ask(&self, only_run: bool) -> Result<(Connection, Option<String>), OpenError> {
        let info = match &self.watch {
            Some(watch) => Cow::Owned(watch.master(&self.info, &self.trust, self.connect_time)?),
            None => Cow::Borrowed(&self.info),
        };
        let mut connection = Connection::open(&info, &self.trust, self.connect_time)?;
        connection.answers_within(self.answer_time)?;
        if self.watch.is_some() {
            check_master(&mut connection)?;
        }
        let info = info_of(&mut connection, only_run)?;
        self.reached(info.as_deref().and_then(run_in));
        Ok((connection, info))
    }

    fn reached(&self, run: Option<Run>) {
        let mut known = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() && *known != run {
            tracing::info!("Redis was restarted, or another one has its place");
            self.restarts.fetch_add(1, Ordering::Release);
        }
        *known = run;
    }

    /// Takes it that Redis was in this run when it was reached last.
    pub(super) fn since(self, run: Option<Run>) -> Self {
        Self { run: Mutex::new(run), ..self }
    }

    /// Returns the run of Redis that was reached last, if Redis says which it is.
    pub(super) fn last_run(&self) -> Option<Run> {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how often another run of Redis was found.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Acquire)
    }

    /// Waits until one of these descriptors is readable, or Redis ends a connection that no call uses. Returns whether it was
    /// one of these.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(super) fn wait_beside(&self, others: &[BorrowedFd<'_>], deadline: Deadline) -> Result<bool, OsError> {
        let idle = self.idle().lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = others.iter().copied().chain(idle.iter().map(Connection::as_fd)).collect();
        let ready = readable_later(&all, deadline)?;
        Ok(ready.iter().any(|at| *at < others.len()))
    }

    fn idle(&self) -> &Mutex<Vec<Connection>> {
        self.idle.get(|_| Mutex::default())
    }

    /// Takes a connection that no call uses, and that passes a test.
    fn take(&self, test: impl Fn(&mut Connection) -> bool) -> Option<Connection> {
        let next = || self.idle().lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(mut idle) = next() {
            if test(&mut idle) {
                return Some(idle);
            }
            for packed in idle.into_posted() {
                let posted = self
                    .open()
                    .map_err(|error| unreachable_by(&error))
                    .and_then(|new| self.post_by(new, packed));
                tracing::debug!(?posted, "a connection broke before Redis had answered");
            }
        }
        None
    }

    /// Sends a command over a connection that no call uses. Redis does nothing before it has received all of a command, so what was
    /// not sent may be sent again.
    fn sent(&self, packed: &[u8]) -> Option<Connection> {
        self.take(|idle| idle.is_ready_to_send() && idle.send(packed).is_ok())
    }

    /// Returns a connection that nobody else uses.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn connection(&self) -> Result<Connection, CallError> {
        // Redis has not closed it, as far as the system knows.
        match self.take(Connection::is_ready) {
            Some(connection) => Ok(connection),
            None => self.open().map_err(|error| unreachable_by(&error)),
        }
    }

    /// Takes back a connection that waits for no answer.
    pub(super) fn put_back(&self, connection: Connection) {
        let mut idle = self.idle().lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    /// Sends a command without waiting for its answer. If the connection turns out to be broken at its next use, the command is sent again,
    /// so it may be done twice.
    ///
    /// # Errors
    /// [`CallError::ServerGone`] if Redis has not received it.
    pub(super) fn post(&self, command: &redis::Cmd) -> Result<(), CallError> {
        let packed = command.get_packed_command();
        if let Some(mut idle) = self.sent(&packed) {
            idle.has_posted(packed);
            self.put_back(idle);
            return Ok(());
        }
        self.post_by(self.open().map_err(|error| unreachable_by(&error))?, packed)
    }

    fn post_by(&self, mut connection: Connection, packed: Vec<u8>) -> Result<(), CallError> {
        connection.send(&packed).map_err(|_| CallError::ServerGone)?;
        connection.has_posted(packed);
        self.put_back(connection);
        Ok(())
    }

    /// Sends a command, and returns the last of so many answers, or the first error before it.
    ///
    /// # Errors
    /// [`CallError::ServerGone`] if Redis has not received the command; [`CallError::OutcomeUnknown`].
    pub(super) fn converse(
        &self,
        packed: &[u8],
        answers: usize,
    ) -> Result<Result<Item, RedisError>, CallError> {
        let mut connection = match self.sent(packed) {
            Some(connection) => connection,
            None => {
                let mut connection = self.open().map_err(|error| unreachable_by(&error))?;
                connection.send(packed).map_err(|_| CallError::ServerGone)?;
                connection
            }
        };
        let mut outcome = Ok(Item::Nil);
        for _ in 0..answers {
            let answer = match connection.receive() {
                Ok(Item::ServerError(error)) => Err(error.into()),
                Ok(item) => Ok(item),
                Err(error) => {
                    tracing::debug!(%error, "Redis did not answer");
                    return Err(CallError::OutcomeUnknown);
                }
            };
            outcome = outcome.and(answer);
        }
        if outcome.as_ref().is_err_and(is_demoted) {
            // Another server has taken over, and all connections lead to this one. What was posted over them is sent again.
            self.idle().lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Connection::end);
        } else {
            self.put_back(connection);
        }
        Ok(outcome)
    }

    /// Runs one script.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation.
    pub(super) fn run(&self, command: &Command) -> Result<Answer<Payload>, CallError> {
        match self.evaluate(command)? {
            Ok(item) => answer_of(item),
            Err(error) => failed(&error),
        }
    }

    /// Runs one plain command. Returns `None` if it found nothing, and did nothing.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation.
    pub(super) fn run_plain(&self, plain: &Plain) -> Result<Option<Answer<Payload>>, CallError> {
        match self.converse(&plain.packed, 1)? {
            Ok(item) => Ok((plain.read)(item)?.map(Ok)),
            Err(error) => failed(&error).map(Some),
        }
    }

    /// Runs one script whose answer is not that of an operation.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn script(&self, command: &Command) -> Result<Item, CallError> {
        let why = |error| if is_full(&error) { Fault::NoSpace.into() } else { refused(&error) };
        self.evaluate(command)?.map_err(why)
    }

    fn evaluate(&self, command: &Command) -> Result<Result<Item, RedisError>, CallError> {
        self.evaluate_packed(|with_text| command.packed(with_text))
    }

    /// Runs a script that is packed by its name, or with its text.
    fn evaluate_packed(
        &self,
        packed: impl Fn(bool) -> Vec<u8>,
    ) -> Result<Result<Item, RedisError>, CallError> {
        let outcome = self.converse(&packed(false), 1)?;
        if outcome.as_ref().is_err_and(lacks_script) {
            // Redis forgets its scripts when it is restarted, or when it is told to.
            return self.converse(&packed(true), 1);
        }
        Ok(outcome)
    }

    /// Runs several operations as one.
    ///
    /// # Errors
    /// [`CallError`], also the fault of the operation because of which none was done.
    pub(super) fn run_as_one(&self, transaction: &Transaction) -> Result<Vec<Reply<Payload>>, CallError> {
        let why = |error| if is_full(&error) { Fault::NoSpace.into() } else { refused(&error) };
        let item = self.evaluate_packed(|with_text| transaction.packed(with_text))?.map_err(why)?;
        Ok(answers_in(item)??)
    }

    /// Runs a plain command that removes something. Returns whether it was there.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn removes(&self, packed: &[u8]) -> Result<bool, CallError> {
        match self.converse(packed, 1)?.map_err(|error| refused(&error))? {
            Item::Int(count) => Ok(count == 1),
            _ => Err(CallError::Protocol),
        }
    }

    /// Runs one command of Redis.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn ask(&self, command: &redis::Cmd) -> Result<Item, CallError> {
        self.converse(&command.get_packed_command(), 1)?.map_err(|error| refused(&error))
    }
}
