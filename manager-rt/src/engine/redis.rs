//! [`Redis`]: the objects of a manager in a Redis or Valkey server.
//!
//! | module | what it holds |
//! |---|---|
//! | [`link`], [`connection`], [`sentinel`], [`tls`], [`refusal`] | the connections of a process, and what Redis refuses |
//! | [`setup`] | what Redis is set to |
//! | [`session`], [`keeper`], [`run`] | what a process holds, and until when |
//! | [`held`], [`wait`], [`mod@line`] | calls that take something or wait |
//! | [`plain`] | what needs no script |
//! | [`pipeline`] | what is sent together |
//! | [`script`], [`ordinary`], [`page`], [`numbers`] | scripts, and what they share |
//! | [`mod@transaction`], [`undo`] | several scripts that happen as one, or not at all |
//! | [`stored`], [`answer`], [`command`], [`words`] | values, answers and calls in the form of Redis |
//! | [`unfinished`](self) | which tasks of a queue in a RabbitMQ server are unfinished |
//! | the others | the scripts of one kind of object each, and of the manager itself |

mod answer;
mod barrier;
mod command;
mod condition;
mod connection;
mod dict;
mod event;
mod figures;
mod held;
mod joinable_queue;
mod keeper;
mod line;
mod link;
mod list;
mod lock;
mod namespace;
mod numbers;
mod objects;
mod ordinary;
mod page;
mod pipeline;
mod plain;
mod queue;
mod refusal;
mod report;
mod run;
mod script;
mod semaphore;
mod sentinel;
mod session;
mod setup;
mod stored;
mod tls;
mod transaction;
mod undo;
#[cfg(feature = "rabbitmq")]
mod unfinished;
mod value;
mod wait;
mod words;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::key::Key;
use mp_sys::line::Short;
use redis::{RedisError, Value as Item};

use self::command::{Command, Keys, check};
use self::connection::OpenError;
use self::keeper::Order;
use self::link::Link;
use self::session::{Sessions, Terms};
use self::tls::Trust;
use self::transaction::Transaction;
#[cfg(feature = "rabbitmq")]
pub(in crate::engine) use self::unfinished::{Claim, Missing, TASK_ID_BYTES, TaskId};
use crate::OsError;
use crate::address::{Address, RedisUrl};
use crate::backend::{Backend, CallError, Caps, Death, Kinds, OnLost, References, Validity, Warning};
use crate::limits::TRANSACTION_OPS_MAX;
use crate::proto::{
    Answer, Call, Fault, LockOp, ManagerOp, ObjectId, Op, Payload, Raw, Reply, SemaphoreOp, Step,
};

/// A client of the objects in a Redis or Valkey server.
///
/// It is made by [`Manager::connect`](crate::Manager::connect) for a `redis://` URL. It has every kind of object. Every operation is one script or one command of Redis, so it is atomic, and takes one round trip unless it waits. The first push to an empty list takes two.
///
/// # Fork safety
/// A forked child makes its own connections, and holds none of its parent's locks and permits.
///
/// # Crash
/// An operation that a killed process had sent happens completely or not at all. The process's locks and permits pass on at once,
/// since a process of this library, the keeper, watches it. If both are killed, they pass on when the lease is over.
///
/// # Source
/// Redis, "Scripting with Lua".
pub struct Redis {
    address: Address,
    keys: Keys,
    epoch: u128,
    link: Link,
    sessions: Sessions,
    terms: Terms,
    warnings: Vec<Warning>,
    is_closed: AtomicBool,
}

/// Why Redis cannot be reached.
#[derive(Debug)]
pub(crate) enum Unreachable {
    /// Nobody listens there.
    NotFound,
    /// The password is not text.
    BadPassword,
    /// There was no answer in time.
    TimedOut,
    /// Redis needs another password, or does not permit what is needed.
    Unauthorised,
    /// Redis is starting or ending, or may not write.
    Closed,
    /// What answered is not Redis.
    Protocol,
    /// Nobody who is trusted signed the certificate.
    #[cfg(feature = "redis-tls")]
    UnknownAuthority,
    /// The certificate is for another host.
    #[cfg(feature = "redis-tls")]
    OtherHost,
    /// The certificate is over, or is not one.
    #[cfg(feature = "redis-tls")]
    BadCertificate,
    /// Nobody is trusted.
    #[cfg(feature = "redis-tls")]
    NoAuthorities,
    /// The file of the authorities cannot be read, or contains none.
    #[cfg(feature = "redis-tls")]
    AuthoritiesUnread(OsError),
    /// The system refused.
    System(OsError),
}

impl Redis {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub(crate) fn connect(
        address: &Address,
        url: &RedisUrl,
        password: &Key,
        deadline: Deadline,
    ) -> Result<Self, Unreachable> {
        let time = deadline.remaining().min(CONNECT_TIME_MAX);
        let info = url.with_password(password.as_bytes()).ok_or(Unreachable::BadPassword)?;
        let (link, keys) = (Link::new(info, Trust::of(url)?, time), Keys::new(url.namespace()));
        let link = link.found_by(url.sentinels());
        let (mut connection, info) = link.open_first().map_err(not_opened)?;
        let warnings = setup::warnings(info.as_deref(), &mut connection);
        for warning in &warnings {
            tracing::warn!(%address, %warning);
        }
        let fresh = random().map_err(Unreachable::System)?;
        let mut ask = redis::cmd("EVAL");
        ask.arg(&objects::EPOCH.text).arg(1).arg(keys.of("epoch")).arg(format!("{fresh:032x}"));
        let asked = connection.ask(&ask);
        let epoch = epoch_of(&asked.map_err(|error| not_connected(&error))?).ok_or(Unreachable::Protocol)?;
        link.put_back(connection);
        let order = Order {
            url: url.to_string(),
            key: password.clone(),
            session: String::new(),
            run: None,
            connect_time: time,
        };
        let (terms, sessions) = (Terms { lease: url.lease(), order }, Sessions::default());
        let (address, is_closed) = (address.clone(), AtomicBool::new(false));
        Ok(Self { address, keys, epoch, link, sessions, terms, warnings, is_closed })
    }

    /// Ends this client: what it holds passes on, and all its later calls return [`CallError::ServerGone`], and so do those that
    /// wait.
    pub fn disconnect(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.sessions.end();
    }

    /// Returns the script call of an operation, or `None` if nothing has to be done.
    fn command(&self, object: ObjectId, op: Op<Raw<'_>>) -> Result<Option<Command>, CallError> {
        let keys = &self.keys;
        Ok(Some(match op {
            Op::Manager(op) => return objects::command(keys, NAME, op),
            Op::List(op) => list::command(keys, object, op)?,
            Op::Dict(op) => dict::command(keys, object, op)?,
            Op::Namespace(op) => namespace::command(keys, object, op)?,
            Op::Value(op) => value::command(keys, object, op),
            Op::Array(op) => value::array(keys, object, op)?,
            Op::Lock(LockOp::IsLocked) => lock::is_locked(keys, object),
            Op::Semaphore(SemaphoreOp::Add(count)) => semaphore::add(keys, object, count),
            Op::Semaphore(SemaphoreOp::Available) => semaphore::available(keys, object),
            Op::Condition(op) => condition::command(keys, object, &op).ok_or(Fault::Unsupported)?,
            Op::Event(op) => event::command(keys, object, &op).ok_or(Fault::Unsupported)?,
            Op::Queue(op) => queue::command(keys, object, op)?,
            Op::JoinableQueue(op) => {
                joinable_queue::command(keys, object, op, self.sessions.existing().as_deref())?
            }
            Op::Barrier(op) => barrier::command(keys, object, &op).ok_or(Fault::Unsupported)?,
            // The others need a session.
            _ => return Err(Fault::Unsupported.into()),
        }))
    }

    fn check_open(&self) -> Result<(), CallError> {
        if self.is_closed.load(Ordering::Acquire) { Err(CallError::ServerGone) } else { Ok(()) }
    }

    /// Finds out why an object is unknown: it was removed, or Redis lost everything.
    fn explain(&self, fault: Fault) -> CallError {
        if fault != Fault::UnknownObject {
            return fault.into();
        }
        let mut ask = redis::cmd("GET");
        ask.arg(self.keys.of("epoch"));
        match self.link.ask(&ask) {
            Ok(item) if epoch_of(&item) != Some(self.epoch) => CallError::Restarted,
            _ => fault.into(),
        }
    }
}

/// The longest time that the system takes for a timeout of a socket: an hour.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3600);
/// The name of the engine, for messages.
const NAME: &str = "redis";

/// Returns a number that nobody can foresee.
fn random() -> Result<u128, OsError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u128::from_le_bytes(bytes))
}

fn epoch_of(item: &Item) -> Option<u128> {
    let Item::BulkString(text) = item else { return None };
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

fn not_opened(error: OpenError) -> Unreachable {
    match error {
        OpenError::Redis(error) => not_connected(&error),
        #[cfg(feature = "redis-tls")]
        OpenError::Untrusted(error) => error,
    }
}

/// Returns why there is no connection.
fn not_connected(error: &RedisError) -> Unreachable {
    match refusal::refused(error) {
        _ if error.is_timeout() => Unreachable::TimedOut,
        _ if error.is_io_error() => Unreachable::NotFound,
        CallError::Unauthorised => Unreachable::Unauthorised,
        CallError::ServerGone => Unreachable::Closed,
        _ => Unreachable::Protocol,
    }
}

impl Backend for Redis {
    fn caps(&self) -> Caps {
        let death = Death::Within(self.terms.lease);
        let caps =
            Caps::new(NAME).kinds(Kinds::ALL).references(References::None).exact_counts(true).fair(true);
        let caps = caps.death(death).unread_returns(true).requeue_front(true);
        let caps = caps.atomic_put_many(true).puts_many(true).closes(true).joins(true);
        caps.transactions(true).queue_transactions(true)
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        self.check_open()?;
        self.sessions.check(&self.link);
        if let Some(outcome) = self.figures(&call.op) {
            return outcome;
        }
        if let Some(outcome) = self.call_of_session(&call) {
            return outcome?.map_err(|fault| self.explain(fault));
        }
        if let Some(plain) = plain::command(&self.keys, call.object, &call.op)
            && let Some(answer) = self.link.run_plain(&plain)?
        {
            return answer.map_err(|fault| self.explain(fault));
        }
        match self.command(call.object, call.op)? {
            Some(command) => self.link.run(&command)?.map_err(|fault| self.explain(fault)),
            None => Ok(Reply::Done),
        }
    }

    fn pipeline(&self, _thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        self.check_open()?;
        // An operation that is refused without a call has its fault in its place.
        let mut commands = Vec::with_capacity(steps.len());
        let mut places = Vec::with_capacity(steps.len());
        for step in steps {
            places.push(match self.command(step.object, step.op) {
                Ok(Some(command)) => {
                    commands.push(command);
                    None
                }
                Ok(None) => Some(Ok(Reply::Done)),
                Err(CallError::Fault(fault)) => Some(Err(fault)),
                Err(error) => return Err(error),
            });
        }
        let mut answers = self.link.run_all(&commands)?.into_iter();
        let answer = |place: Option<_>| place.or_else(|| answers.next()).ok_or(CallError::Protocol);
        places.into_iter().map(answer).collect()
    }

    fn transaction(&self, _thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        self.check_open()?;
        check(steps.len(), TRANSACTION_OPS_MAX)?;
        let mut commands = Vec::with_capacity(steps.len());
        for Step { object, op } in steps {
            if !transaction::may_be_part(&op) {
                return Err(Fault::NotInTransaction.into());
            }
            commands.push(self.command(object, op)?.ok_or(Fault::NotInTransaction)?);
        }
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.link.run_as_one(&Transaction::new(&self.keys, commands)).map_err(|error| match error {
            CallError::Fault(fault) => self.explain(fault),
            error => error,
        })
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        let op = Op::Manager(ManagerOp::Attach(vec![object]));
        let call = Call { object: ObjectId::MANAGER, thread: 0, wait: crate::proto::Wait::No, op };
        self.call(call).map(drop)
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        self.sessions.check(&self.link);
        self.sessions.grants().validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        self.sessions.grants().watch(object, token, lost);
    }

    fn warnings(&self) -> Vec<Warning> {
        self.warnings.clone()
    }

    fn epoch(&self) -> u128 {
        self.epoch
    }

    fn address(&self) -> Option<String> {
        Some(self.address.to_string())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", Short(&format_args!("{}", self.address)))
    }
}
