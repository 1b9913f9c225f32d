//! [`RabbitMq`]: the queues of a manager in a RabbitMQ server.
//!
//! | module | what it holds |
//! |---|---|
//! | [`owner`], [`queues`], [`work`] | the calls of the program |
//! | [`keeper`], [`mod@line`], [`frame`] | the process with the connections, and what is sent to it |
//! | [`serve`], [`talk`], [`broker`], [`link`], [`put`], [`take`] | that process |
//! | `encrypted` | its connections, if they are encrypted |
//! | [`definition`] | what a queue is, in the form of RabbitMQ |

#[cfg(feature = "redis")]
mod beside;
mod broker;
mod definition;
#[cfg(feature = "rabbitmq-tls")]
mod encrypted;
mod frame;
mod keeper;
mod line;
mod link;
mod owner;
mod put;
mod queues;
mod serve;
mod take;
mod talk;
mod work;

use std::fmt;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Generations;
use mp_sys::key::Key;
use mp_sys::line::Short;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use self::definition::{Definition, Names};
use self::frame::{Answer, Ask, Refusal};
use self::keeper::Order;
use self::line::{Pace, now};
use self::owner::Process;
use self::work::Work;
use crate::OsError;
use crate::address::{Address, RabbitMqUrl};
#[cfg(feature = "tokio")]
use crate::backend::Pending;
use crate::backend::{Backend, CallError, Caps, Death, Kinds, OnLost, References, Validity};
#[cfg(feature = "tokio")]
use crate::proto::JoinableQueueOp;
use crate::proto::{
    Answer as Outcome, Call, Fault, Kind, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Spec, Step, Wait,
};

/// A client of the queues in a RabbitMQ server.
///
/// # Fork safety
/// A forked child starts its own keeper at its first call, and holds none of its parent's tasks.
///
/// # Crash
/// When a process dies, its keeper closes its connections, and RabbitMQ delivers again what the process had taken and not acknowledged.
///
/// # Source
/// RabbitMQ, "Consumer Acknowledgements and Publisher Confirms".
pub(crate) struct RabbitMq {
    address: Address,
    names: Names,
    is_quorum: bool,
    name_bytes_max: usize,
    epoch: u128,
    order: Order,
    processes: Generations<Process>,
    is_closed: AtomicBool,
}

/// Why RabbitMQ cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotReached {
    /// Nobody listens there.
    NotFound,
    /// The password is empty, or not text.
    BadPassword,
    /// There was no answer in time.
    TimedOut,
    /// The user has another password.
    Unauthorised,
    /// There is no such virtual host, or the user may not use it.
    NoVirtualHost,
    /// RabbitMQ is starting or ending.
    Closed,
    /// What answered is not RabbitMQ.
    Protocol,
    /// The authority that signed the server's certificate is not trusted.
    #[cfg(feature = "rabbitmq-tls")]
    UnknownAuthority,
    /// The server's certificate is for another host.
    #[cfg(feature = "rabbitmq-tls")]
    OtherHost,
    /// The server's certificate is over, or is not one.
    #[cfg(feature = "rabbitmq-tls")]
    BadCertificate,
    /// There are no certificates of authorities where systems keep them.
    #[cfg(feature = "rabbitmq-tls")]
    NoAuthorities,
    /// They cannot be read from the file that the address names. It is never sent.
    #[cfg(feature = "rabbitmq-tls")]
    #[serde(skip)]
    AuthoritiesUnread(OsError),
    /// The system refused. It is never sent.
    #[serde(skip)]
    System(OsError),
}

/// The name of the engine, for messages.
const NAME: &str = "rabbitmq";
/// How often a connection is tested. A connection to a host that is gone ends after two to three times that.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After how many intervals between two tests RabbitMQ surely takes a host for gone.
const HEARTBEATS_MAX: u32 = 3;
/// The longest stored item, in bytes: RabbitMQ 4 takes no message above 16 MiB.
const ITEM_BYTES_MAX: usize = 16 << 20;
/// The most that is stored with the bytes of a value, in bytes: the objects whose proxies are inside.
const ITEM_NOTES_BYTES_MAX: usize = 64 << 10;
/// The longest time for connecting: an hour.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3600);

impl RabbitMq {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`NotReached`].
    pub(crate) fn connect(
        address: &Address,
        url: &RabbitMqUrl,
        password: &Key,
        deadline: Deadline,
    ) -> Result<Self, NotReached> {
        url.with_password(password.as_bytes(), 0).ok_or(NotReached::BadPassword)?;
        #[cfg(feature = "rabbitmq-tls")]
        encrypted::check(url)?;
        let order = Order {
            url: url.to_string(),
            key: password.clone(),
            serial: 0,
            connect_time: deadline.remaining().min(CONNECT_TIME_MAX),
        };
        let client = Self {
            address: address.clone(),
            names: Names { namespace: url.namespace().to_owned() },
            is_quorum: url.is_quorum(),
            name_bytes_max: definition::name_bytes_max(url.namespace(), url.vhost()),
            // It depends on the address only: RabbitMQ keeps no number that could be its own.
            epoch: u128::from_le_bytes(hash(&format!("manager {url}"))),
            order,
            processes: Generations::new(),
            is_closed: AtomicBool::new(false),
        };
        match now(client.ask(&Ask::Connect, Wait::No, Pace::Blocks)) {
            Ok(Answer::Done) => Ok(client),
            Ok(Answer::Refused(Refusal::NotReached(why))) => Err(why),
            Err(CallError::System(error)) => Err(NotReached::System(error)),
            Err(CallError::ServerGone) => Err(NotReached::Closed),
            Ok(_) | Err(_) => Err(NotReached::Protocol),
        }
    }

    /// Ends this client: what it holds returns to its queues, and all its later calls return [`CallError::ServerGone`], and so do
    /// those that wait.
    #[cfg(feature = "conformance")]
    pub(crate) fn disconnect(&self) {
        self.is_closed.store(true, std::sync::atomic::Ordering::Release);
        self.process().dismiss();
    }

    /// Returns how many calls of this process wait.
    ///
    /// # Errors
    /// [`CallError`].
    #[cfg(feature = "conformance")]
    pub(crate) fn waiting(&self) -> Result<u64, CallError> {
        match self.ask_now(&Ask::Waiting)? {
            Answer::Count(count) => Ok(count),
            _ => Err(CallError::Protocol),
        }
    }

    /// Asks the keeper for something that does not wait, and has no items.
    fn ask_now(&self, ask: &Ask) -> Result<Answer, CallError> {
        now(self.ask(ask, Wait::No, Pace::Blocks))
    }

    /// Runs an operation of the manager itself.
    fn manage(&self, op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let unsupported = |what| Err(CallError::unsupported(&self.caps(), Kind::Manager, what));
        match op {
            ManagerOp::Create { spec, print } => self.open(None, &spec, print),
            ManagerOp::Open { name, spec, print } => self.open(Some(&name), &spec, print),
            ManagerOp::Remove { name } => {
                let id = id_of(&name);
                self.process().forget(ObjectId(id));
                match self.ask_now(&Ask::Remove { id })? {
                    Answer::Done => Ok(Reply::Done),
                    Answer::Refused(Refusal::Unknown) => Err(Fault::UnknownName.into()),
                    answer => Err(refused(&answer)),
                }
            }
            ManagerOp::Attach(objects) => {
                objects.into_iter().try_for_each(|object| self.attach(object))?;
                Ok(Reply::Done)
            }
            // Nobody counts references.
            ManagerOp::Detach { .. } | ManagerOp::Transit(_) | ManagerOp::Bequeath { .. } => Ok(Reply::Done),
            ManagerOp::Names | ManagerOp::NamesAfter { .. } => unsupported("the names of all queues"),
            ManagerOp::Shutdown => unsupported("ending the server"),
            ManagerOp::Snapshot { .. } => unsupported("snapshots"),
            ManagerOp::Succeed { .. } => unsupported("sessions of connections"),
            ManagerOp::Info
            | ManagerOp::Server
            | ManagerOp::Clients { .. }
            | ManagerOp::Objects { .. }
            | ManagerOp::Object { .. }
            | ManagerOp::Waits { .. } => unsupported("reports"),
        }
    }

    /// Finds or makes a queue.
    fn open(
        &self,
        name: Option<&str>,
        spec: &Spec<Raw<'_>>,
        print: u64,
    ) -> Result<Reply<Payload>, CallError> {
        let limit = self.name_bytes_max;
        if name.is_some_and(|name| !(1..=limit).contains(&name.len())) {
            return Err(Fault::BadName { limit: crate::count::count_of(limit) }.into());
        }
        let id = match name {
            Some(name) => id_of(name),
            None => random().map_err(CallError::System)?.max(1),
        };
        let wanted = self.wanted(id, name.unwrap_or_default(), spec, print)?;
        match self.ask_now(&Ask::Define(wanted.clone()))? {
            Answer::Defined(found, _) if found.kind() != wanted.kind() => {
                Err(Fault::WrongKind { found: found.kind() }.into())
            }
            Answer::Defined(found, _) if found.print != print => Err(Fault::WrongType.into()),
            Answer::Defined(found, created) => {
                let object = found.object();
                self.process().learn(found);
                Ok(Reply::Object { id: object, created })
            }
            answer => Err(refused(&answer)),
        }
    }

    /// Returns the definition of a new queue.
    fn wanted(&self, id: u64, name: &str, spec: &Spec<Raw<'_>>, print: u64) -> Result<Definition, CallError> {
        let (has_tasks, capacity, max_deliveries) = match *spec {
            Spec::Queue(capacity) => (false, capacity, 1),
            Spec::JoinableQueue { maxsize, max_deliveries } => (true, maxsize, max_deliveries),
            _ => return Err(CallError::unsupported(&self.caps(), spec.kind(), "objects of this kind")),
        };
        queues::check(capacity, max_deliveries)?;
        // Only replicated queues count deliveries.
        let is_quorum = has_tasks || self.is_quorum;
        Ok(Definition { id, has_tasks, is_quorum, print, capacity, max_deliveries, name: name.to_owned() })
    }
}

/// Returns the error of an answer that is not the expected one.
fn refused(answer: &Answer) -> CallError {
    match answer {
        Answer::Refused(refusal) => (*refusal).into(),
        _ => CallError::Protocol,
    }
}

/// Returns the number of the queue with a name. Two names have the same one once in 10^19 pairs.
fn id_of(name: &str) -> u64 {
    let hash = u128::from_le_bytes(hash(&format!("queue {name}")));
    // 0 is the manager.
    u64::try_from(hash & u128::from(u64::MAX)).unwrap_or_default().max(1)
}

/// Returns bytes that depend on a text only.
fn hash(text: &str) -> [u8; 16] {
    let derived = Key::default().derived(text.as_bytes());
    derived.first_chunk().copied().unwrap_or_default()
}

/// Returns a number that nobody can foresee.
fn random() -> Result<u64, OsError> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

impl Backend for RabbitMq {
    fn caps(&self) -> Caps {
        let death = Death::Within(HEARTBEAT.saturating_mul(HEARTBEATS_MAX));
        let kinds = Kinds::of(&[Kind::Queue, Kind::JoinableQueue]);
        let caps = Caps::new(NAME).kinds(kinds).references(References::None).death(death);
        let caps = caps.unread_returns(true).requeue_front(true).puts_many(true);
        caps.value_bytes_max(ITEM_BYTES_MAX.saturating_sub(ITEM_NOTES_BYTES_MAX))
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        match call.op {
            Op::Manager(op) => self.manage(op),
            op => now(self.work(call.object, Work::of(op)?, call.wait, Pace::Blocks)),
        }
    }

    /// Those of the manager itself, which would block, are not for async tasks.
    #[cfg(feature = "tokio")]
    fn call_async(self: Arc<Self>, call: Call<Raw<'_>>) -> Pending {
        let Call { object, wait, op, .. } = call;
        let work = match op {
            Op::Manager(_) => {
                Err(CallError::unsupported(&self.caps(), Kind::Manager, "calls of async tasks"))
            }
            op => Work::of(op),
        };
        Box::pin(async move { self.work(object, work?, wait, Pace::Yields).await })
    }

    /// A lease that has ended with its keeper has nothing to end.
    #[cfg(feature = "tokio")]
    fn post(&self, call: Call<Raw<'_>>) {
        let told = match call.op {
            Op::JoinableQueue(JoinableQueueOp::Done { lease }) => self.settle_later(lease, true),
            Op::JoinableQueue(JoinableQueueOp::Requeue { lease }) => self.settle_later(lease, false),
            _ => self.call(call).map(drop),
        };
        tracing::trace!(?told, "a call without an answer");
    }

    /// Runs one operation after another.
    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Outcome<Payload>>, CallError> {
        let run = |Step { object, op }| match self.call(Call { object, thread, wait: Wait::No, op }) {
            Ok(reply) => Ok(Ok(reply)),
            Err(CallError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(error),
        };
        steps.into_iter().map(run).collect()
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        self.definition(object).map(drop)
    }

    /// There are no locks.
    fn validity(&self, _object: ObjectId, _token: u64) -> Validity {
        Validity::Lost
    }

    fn watch(&self, _object: ObjectId, _token: u64, lost: OnLost) {
        lost();
    }

    fn epoch(&self) -> u128 {
        self.epoch
    }

    fn address(&self) -> Option<String> {
        Some(self.address.to_string())
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitMq({})", Short(&format_args!("{}", self.address)))
    }
}
