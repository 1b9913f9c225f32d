//! [`Mixed`]: the queues of a manager in a RabbitMQ server, and its other objects in a Redis server.
//!
//! Redis also knows which tasks of a `JoinableQueue` are unfinished, which RabbitMQ does not say. [`tasks`] keeps the two in step, as
//! `docs/design/rabbitmq.md` explains under "The mixed mode".

mod tasks;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use mp_sys::fork::Generations;
use mp_sys::key::Key;
use mp_sys::line::Short;

use super::rabbitmq::RabbitMq;
use super::redis::{Claim, Redis};
use crate::address::Address;
#[cfg(feature = "tokio")]
use crate::backend::Pending;
use crate::backend::{Backend, CallError, Caps, Death, Kinds, OnLost, References, Validity, Warning};
use crate::proto::{Answer, Call, Fault, Kind, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Step, Wait};

/// A client of the queues in a RabbitMQ server, and of all other objects in a Redis server.
///
/// # Fork safety
/// As for both engines.
///
/// # Crash
/// As for both engines. A put, a task that is done, or a removal that is interrupted between the two servers leaves nobody waiting.
///
/// # Source
/// None.
pub(crate) struct Mixed {
    address: Address,
    objects: Redis,
    queues: Arc<RabbitMq>,
    epoch: u128,
    /// The tasks that this process holds, by their leases.
    claims: Generations<Mutex<HashMap<u64, Claim>>>,
}

/// The name of the engine, for messages.
const NAME: &str = "redis+rabbitmq";

impl Mixed {
    pub(crate) fn new(address: &Address, objects: Redis, queues: RabbitMq) -> Self {
        let epochs = [objects.epoch().to_le_bytes(), queues.epoch().to_le_bytes()].concat();
        let derived = Key::default().derived(&epochs);
        let epoch = u128::from_le_bytes(derived.first_chunk().copied().unwrap_or_default());
        Self {
            address: address.clone(),
            objects,
            queues: Arc::new(queues),
            epoch,
            claims: Generations::new(),
        }
    }

    /// Ends this client, as the death of its process would.
    #[cfg(feature = "conformance")]
    pub(crate) fn disconnect(&self) {
        self.queues.disconnect();
        self.objects.disconnect();
    }

    /// Returns how many calls of this process wait for RabbitMQ.
    ///
    /// # Errors
    /// [`CallError`].
    #[cfg(feature = "conformance")]
    pub(crate) fn waiting(&self) -> Result<u64, CallError> {
        self.queues.waiting()
    }

    /// Runs an operation of the manager itself.
    fn manage(&self, thread: u64, op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let call = |op| Call { object: ObjectId::MANAGER, thread, wait: Wait::No, op: Op::Manager(op) };
        match op {
            ManagerOp::Create { ref spec, .. } | ManagerOp::Open { ref spec, .. } => match spec.kind() {
                Kind::Queue => self.queues.call(call(op)),
                Kind::JoinableQueue => self.open_tasks(op),
                _ => self.objects.call(call(op)),
            },
            ManagerOp::Remove { name } => self.remove(&name),
            ManagerOp::Attach(objects) => {
                objects.into_iter().try_for_each(|object| self.attach(object)).map(|()| Reply::Done)
            }
            // Redis says what it knows of its objects.
            op => self.objects.call(call(op)),
        }
    }

    /// Removes the object in Redis that has a name, or else the queue.
    fn remove(&self, name: &str) -> Result<Reply<Payload>, CallError> {
        match self.of_manager(&self.objects, ManagerOp::Remove { name: name.to_owned() }) {
            Err(CallError::Fault(Fault::UnknownName)) => self.remove_queue(name),
            removed => removed,
        }
    }

    /// Runs an operation of the manager itself in one of the servers.
    fn of_manager(&self, engine: &dyn Backend, op: ManagerOp<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        engine.call(Call { object: ObjectId::MANAGER, thread: 0, wait: Wait::No, op: Op::Manager(op) })
    }
}

impl Backend for Mixed {
    /// What both engines promise.
    fn caps(&self) -> Caps {
        let (objects, queues) = (self.objects.caps(), self.queues.caps());
        let caps = Caps::new(NAME).kinds(Kinds::ALL).references(References::None).joins(true);
        let caps = caps.fair(objects.fair && queues.fair).death(later(objects.death, queues.death));
        let caps = caps.unread_returns(objects.unread_returns && queues.unread_returns);
        let caps = caps.requeue_front(queues.requeue_front).exact_counts(queues.exact_counts);
        let caps = caps.atomic_put_many(queues.atomic_put_many).closes(queues.closes);
        let caps = caps.puts_many(queues.puts_many).transactions(objects.transactions);
        let caps = caps.may_lose_on_failover(objects.may_lose_on_failover || queues.may_lose_on_failover);
        caps.value_bytes_max(objects.value_bytes_max.min(queues.value_bytes_max))
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let Call { object, thread, wait, op } = call;
        match op {
            Op::Manager(op) => self.manage(thread, op),
            Op::Queue(op) => self.queues.call(Call { object, thread, wait, op: Op::Queue(op) }),
            Op::JoinableQueue(op) => self.tasks(object, thread, wait, op),
            op => self.objects.call(Call { object, thread, wait, op }),
        }
    }

    /// Those of queues of items. All others need Redis, whose calls block.
    #[cfg(feature = "tokio")]
    fn call_async(self: Arc<Self>, call: Call<Raw<'_>>) -> Pending {
        match call.op {
            Op::Queue(_) => Arc::clone(&self.queues).call_async(call),
            _ => {
                let unsupported = CallError::unsupported(&self.caps(), Kind::Manager, "calls of async tasks");
                Box::pin(std::future::ready(Err(unsupported)))
            }
        }
    }

    /// Runs the operations as one in Redis. Nothing happens in both servers as one.
    fn transaction(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        let of_queue = steps.iter().find_map(|step| match step.op {
            Op::Queue(_) => Some(Kind::Queue),
            Op::JoinableQueue(_) => Some(Kind::JoinableQueue),
            _ => None,
        });
        match of_queue {
            Some(kind) => Err(CallError::unsupported(&self.caps(), kind, "transactions")),
            None => self.objects.transaction(thread, steps),
        }
    }

    /// Runs the operations together if all of them concern Redis, and otherwise one after another.
    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        let is_of_queue = |step: &Step<_>| matches!(step.op, Op::Queue(_) | Op::JoinableQueue(_));
        if !steps.iter().any(is_of_queue) {
            return self.objects.pipeline(thread, steps);
        }
        let run = |Step { object, op }| match self.call(Call { object, thread, wait: Wait::No, op }) {
            Ok(reply) => Ok(Ok(reply)),
            Err(CallError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(error),
        };
        steps.into_iter().map(run).collect()
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        match self.objects.attach(object) {
            Err(CallError::Fault(Fault::UnknownObject)) => self.queues.attach(object),
            attached => attached,
        }
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        self.objects.validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        self.objects.watch(object, token, lost);
    }

    fn warnings(&self) -> Vec<Warning> {
        [self.objects.warnings(), self.queues.warnings()].concat()
    }

    fn epoch(&self) -> u128 {
        self.epoch
    }

    fn address(&self) -> Option<String> {
        Some(self.address.to_string())
    }
}

/// Returns the later one of two moments at which others get what a dead process held.
fn later(one: Death, other: Death) -> Death {
    match (one, other) {
        (Death::Within(one), Death::Within(other)) => Death::Within(one.max(other)),
        (Death::Connection, later) | (later, Death::Connection) => later,
    }
}

impl fmt::Debug for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mixed({})", Short(&format_args!("{}", self.address)))
    }
}
