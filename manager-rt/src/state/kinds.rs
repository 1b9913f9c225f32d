//! One object of any kind, and the operations that all kinds share.

use std::iter;

use crate::proto::{
    BarrierOp, ConditionOp, EventOp, Fault, JoinableQueueOp, Kind, ListOp, LockOp, ManagerOp, ObjectId, Op,
    Payload, QueueOp, Raw, SemaphoreOp, Spec,
};
use crate::state::array::Array;
use crate::state::barrier::Barrier;
use crate::state::context::{Context, Core, Outcome};
use crate::state::dict::Dict;
use crate::state::event::Event;
use crate::state::grants::Granted;
use crate::state::joinable_queue::JoinableQueue;
use crate::state::list::List;
use crate::state::lock::Lock;
use crate::state::namespace::Namespace;
use crate::state::queue::Queue;
use crate::state::semaphore::Semaphore;
use crate::state::step::ClientId;
use crate::state::value::Value;
use crate::state::waiters::{Line, WaiterId};

/// The contents of an object.
#[derive(Debug)]
pub(super) enum Body {
    Lock(Lock),
    Semaphore(Semaphore),
    /// The callers that wait for a notification; `condition` has the operations, which also concern a lock.
    Condition(Line),
    Event(Event),
    Barrier(Barrier),
    Queue(Queue),
    JoinableQueue(JoinableQueue),
    Array(Array),
    Dict(Dict),
    List(List),
    Namespace(Namespace),
    Value(Value),
}

impl Body {
    /// Makes a new object. Stores the values of the specification.
    ///
    /// # Errors
    /// The fault of a number that is out of range, or of storing a value.
    pub(super) fn new(spec: Spec<Raw<'_>>, context: &mut Context<'_>) -> Result<Self, Fault> {
        Ok(match spec {
            Spec::Lock => Self::Lock(Lock::new(false)),
            Spec::RLock => Self::Lock(Lock::new(true)),
            Spec::Semaphore(permits) => Self::Semaphore(Semaphore::new(permits, false)?),
            Spec::BoundedSemaphore(permits) => Self::Semaphore(Semaphore::new(permits, true)?),
            Spec::Condition => Self::Condition(Line::new()),
            Spec::Event => Self::Event(Event::default()),
            Spec::Barrier(parties) => Self::Barrier(Barrier::new(parties)?),
            Spec::Queue(capacity) => Self::Queue(Queue::new(capacity)?),
            Spec::JoinableQueue { maxsize, max_deliveries } => {
                Self::JoinableQueue(JoinableQueue::new(maxsize, max_deliveries)?)
            }
            Spec::Value(value) => Self::Value(Value::new(context.keep(value)?)),
            Spec::Array(elements) => Self::Array(Array::new(elements, context)?),
            // It needs the list, which the manager takes the items from.
            Spec::ArrayOf(_) => return Err(Fault::Malformed),
            Spec::Dict => Self::Dict(Dict::default()),
            Spec::List => Self::List(List::default()),
            Spec::Namespace => Self::Namespace(Namespace::default()),
        })
    }

    /// Runs one operation on the object.
    pub(super) fn apply(&mut self, op: Op<Raw<'_>>, context: &mut Context<'_>) -> Outcome {
        match (self, op) {
            (Self::Lock(lock), Op::Lock(op)) => lock.apply(&op, context),
            (Self::Semaphore(semaphore), Op::Semaphore(op)) => semaphore.apply(&op, context),
            (Self::Event(event), Op::Event(op)) => event.apply(&op, context),
            (Self::Barrier(barrier), Op::Barrier(op)) => barrier.apply(&op, context),
            (Self::Queue(queue), Op::Queue(op)) => queue.apply(op, context),
            (Self::JoinableQueue(queue), Op::JoinableQueue(op)) => queue.apply(op, context),
            (Self::Array(array), Op::Array(op)) => array.apply(op, context).into(),
            (Self::Dict(dict), Op::Dict(op)) => dict.apply(op, context).into(),
            (Self::List(list), Op::List(op)) => list.apply(op, context).into(),
            (Self::Namespace(names), Op::Namespace(op)) => names.apply(op, context).into(),
            (Self::Value(value), Op::Value(op)) => value.apply(op, context).into(),
            (body, _) => Outcome::Answer(Err(Fault::WrongKind { found: body.kind() })),
        }
    }

    /// Serves the waiters as far as that is possible now and the step allows. Returns `true` if no more of them can go
    /// on.
    pub(super) fn serve(&mut self, id: ObjectId, core: &mut Core) -> bool {
        match self {
            Self::Lock(lock) => return lock.serve(id, core),
            Self::Semaphore(semaphore) => return semaphore.serve(id, core),
            Self::Event(event) => event.serve(core),
            Self::Queue(queue) => return queue.serve(id, core),
            Self::JoinableQueue(queue) => return queue.serve(id, core),
            Self::Barrier(barrier) => return barrier.serve(core),
            Self::Condition(_) | Self::Value(_) => {}
            Self::Array(_) | Self::Dict(_) | Self::List(_) | Self::Namespace(_) => {}
        }
        true
    }

    /// Ends a client: what it held passes on. Returns `false` if the step does not allow all of that.
    pub(super) fn release_client(&mut self, id: ObjectId, client: ClientId, core: &mut Core) -> bool {
        let is_done = match self {
            Self::Lock(lock) => {
                lock.release_client(client);
                true
            }
            Self::Semaphore(semaphore) => {
                semaphore.release_client(client);
                true
            }
            Self::Barrier(barrier) => {
                barrier.release_client(client, core);
                true
            }
            Self::JoinableQueue(queue) => queue.release_client(client, core),
            Self::Condition(_) | Self::Event(_) | Self::Queue(_) | Self::Value(_) => true,
            Self::Array(_) | Self::Dict(_) | Self::List(_) | Self::Namespace(_) => true,
        };
        core.touch(id);
        is_done
    }

    /// Handles a client that has released its last reference, and is still connected.
    pub(super) fn client_detached(&mut self, client: ClientId) {
        if let Self::Barrier(barrier) = self {
            barrier.client_detached(client);
        }
    }

    /// Handles a caller that no longer waits for the other parties of a barrier.
    pub(super) fn party_left(&mut self, core: &mut Core) {
        if let Self::Barrier(barrier) = self {
            barrier.party_left(core);
        }
    }

    /// Removes a caller that no longer waits from the lines. Returns `false` if it was in none: its answer is certain, and
    /// it is only waiting to be woken.
    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        match self {
            Self::Lock(lock) => lock.leave(waiter),
            Self::Semaphore(semaphore) => semaphore.leave(waiter),
            Self::Condition(line) => line.remove(&waiter),
            Self::Event(event) => event.leave(waiter),
            Self::Barrier(barrier) => barrier.leave(waiter),
            Self::Queue(queue) => queue.leave(waiter),
            Self::JoinableQueue(queue) => queue.leave(waiter),
            Self::Array(_) | Self::Dict(_) | Self::List(_) | Self::Namespace(_) | Self::Value(_) => false,
        }
    }

    /// Puts a caller back into its line, whose client has room again for what it waits for.
    pub(super) fn resume(&mut self, waiter: WaiterId) {
        match self {
            Self::Queue(queue) => queue.resume(waiter),
            Self::JoinableQueue(queue) => queue.resume(waiter),
            // Only queues deliver.
            Self::Lock(_)
            | Self::Semaphore(_)
            | Self::Condition(_)
            | Self::Event(_)
            | Self::Barrier(_)
            | Self::Array(_)
            | Self::Dict(_)
            | Self::List(_)
            | Self::Namespace(_)
            | Self::Value(_) => {}
        }
    }

    /// Puts items back that a client certainly did not read.
    pub(super) fn take_back(&mut self, items: Vec<Payload>, core: &mut Core) {
        match self {
            Self::Queue(queue) => queue.take_back(items),
            Self::JoinableQueue(queue) => queue.take_back(items, core),
            // Only queues deliver.
            Self::Lock(_)
            | Self::Semaphore(_)
            | Self::Condition(_)
            | Self::Event(_)
            | Self::Barrier(_)
            | Self::Array(_)
            | Self::Dict(_)
            | Self::List(_)
            | Self::Namespace(_)
            | Self::Value(_) => {
                items.into_iter().for_each(|item| core.let_go(item));
            }
        }
    }

    /// Takes back what left with an answer that nobody has seen or will use.
    pub(super) fn take_back_grant(&mut self, client: ClientId, what: Granted) {
        match (self, what) {
            (Self::Lock(lock), what) => lock.take_back(client, what),
            (Self::Semaphore(semaphore), Granted::Permit) => semaphore.take_back(client),
            (Self::JoinableQueue(queue), Granted::Task { lease }) => queue.take_back_lease(client, lease),
            (body, what) => tracing::error!(kind = ?body.kind(), ?what, "an object does not grant this"),
        }
    }

    /// Ends the object: answers all waiters, and releases the values.
    pub(super) fn end(self, core: &mut Core) {
        let gone = Err(Fault::UnknownObject);
        let bytes = self.bytes();
        match self {
            Self::Lock(lock) => lock.end(core, &gone),
            Self::Semaphore(mut semaphore) => core.answer_all(semaphore.line(), &gone),
            Self::Condition(mut line) => core.answer_all(&mut line, &gone),
            Self::Event(mut event) => core.answer_all(event.line(), &gone),
            Self::Barrier(barrier) => barrier.end(core, &gone),
            Self::Queue(queue) => queue.end(core),
            Self::JoinableQueue(queue) => queue.end(core),
            Self::Array(array) => core.retire(array.into_values(), bytes),
            Self::Dict(dict) => core.retire(dict.into_values(), bytes),
            Self::List(list) => core.retire(list.into_values(), bytes),
            Self::Namespace(names) => core.retire(names.into_values(), bytes),
            Self::Value(value) => core.let_go(value.into_payload()),
        }
    }

    /// Returns what the containers of the object take, in bytes, without the values in them.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Queue(queue) => queue.bytes(),
            Self::JoinableQueue(queue) => queue.bytes(),
            Self::Array(array) => array.bytes(),
            Self::Dict(dict) => dict.bytes(),
            Self::List(list) => list.bytes(),
            Self::Namespace(names) => names.bytes(),
            // Who waits is charged as a waiting call, and who has a permit or a place as a client that holds something.
            Self::Semaphore(_)
            | Self::Lock(_)
            | Self::Condition(_)
            | Self::Event(_)
            | Self::Barrier(_)
            | Self::Value(_) => 0,
        }
    }

    /// Returns all stored values, in any order.
    pub(super) fn values(&self) -> Box<dyn Iterator<Item = &Payload> + '_> {
        match self {
            Self::Queue(queue) => Box::new(queue.values()),
            Self::JoinableQueue(queue) => Box::new(queue.values()),
            Self::Array(array) => Box::new(array.values()),
            Self::Dict(dict) => Box::new(dict.values()),
            Self::List(list) => Box::new(list.values()),
            Self::Namespace(names) => Box::new(names.values()),
            Self::Value(value) => Box::new(iter::once(value.payload())),
            Self::Semaphore(_) | Self::Lock(_) | Self::Condition(_) | Self::Event(_) | Self::Barrier(_) => {
                Box::new(iter::empty())
            }
        }
    }

    /// Returns the kind of the object.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Lock(lock) => lock.kind(),
            Self::Semaphore(semaphore) => semaphore.kind(),
            Self::Condition(_) => Kind::Condition,
            Self::Event(_) => Kind::Event,
            Self::Barrier(_) => Kind::Barrier,
            Self::Queue(_) => Kind::Queue,
            Self::JoinableQueue(_) => Kind::JoinableQueue,
            Self::Array(_) => Kind::Array,
            Self::Dict(_) => Kind::Dict,
            Self::List(_) => Kind::List,
            Self::Namespace(_) => Kind::Namespace,
            Self::Value(_) => Kind::Value,
        }
    }

    /// Returns `true` if clients can hold something of the object.
    #[inline]
    pub(super) const fn can_be_held(&self) -> bool {
        matches!(self, Self::Lock(_) | Self::Semaphore(_) | Self::JoinableQueue(_))
    }

    /// Returns the number of held locks, permits and leases.
    pub(super) fn held(&self) -> u64 {
        match self {
            Self::Lock(lock) => lock.held(),
            Self::Semaphore(semaphore) => semaphore.held(),
            Self::JoinableQueue(queue) => queue.held(),
            Self::Condition(_) | Self::Event(_) | Self::Barrier(_) | Self::Queue(_) | Self::Value(_) => 0,
            Self::Array(_) | Self::Dict(_) | Self::List(_) | Self::Namespace(_) => 0,
        }
    }
}

/// Returns `true` if an operation can be part of a transaction: it does not wait, and its change can be undone.
pub(super) const fn may_be_undone(op: &Op<Raw<'_>>) -> bool {
    match op {
        Op::List(op) => !matches!(op, ListOp::Exchange { .. }),
        Op::Dict(_) | Op::Namespace(_) | Op::Value(_) | Op::Array(_) => true,
        Op::Queue(op) => !matches!(op, QueueOp::Close),
        Op::JoinableQueue(op) => !matches!(op, JoinableQueueOp::Close | JoinableQueueOp::Join),
        Op::Event(op) => !matches!(op, EventOp::Wait),
        Op::Condition(op) => matches!(op, ConditionOp::Waiting),
        Op::Manager(_) | Op::Lock(_) | Op::Semaphore(_) | Op::Barrier(_) => false,
    }
}

/// Returns `true` if an operation may be sent as a notice: it releases or reports something, and takes nothing.
pub(super) const fn may_be_told(op: &Op<Raw<'_>>) -> bool {
    match op {
        Op::Manager(op) => {
            let takes =
                matches!(op, ManagerOp::Create { .. } | ManagerOp::Open { .. } | ManagerOp::Snapshot { .. });
            !reports(op) && !takes
        }
        Op::Lock(op) => matches!(op, LockOp::Release { .. }),
        Op::Semaphore(op) => !matches!(op, SemaphoreOp::Acquire | SemaphoreOp::Take),
        Op::JoinableQueue(op) => matches!(op, JoinableQueueOp::Done { .. } | JoinableQueueOp::Requeue { .. }),
        Op::Condition(op) => matches!(op, ConditionOp::Notify(_)),
        Op::Barrier(op) => matches!(op, BarrierOp::Abort | BarrierOp::EndRound { .. }),
        _ => false,
    }
}

/// Returns `true` if the operation reports what the manager knows.
pub(super) const fn reports<P>(op: &ManagerOp<P>) -> bool {
    matches!(
        op,
        ManagerOp::Server
            | ManagerOp::Clients { .. }
            | ManagerOp::Objects { .. }
            | ManagerOp::Object { .. }
            | ManagerOp::Waits { .. }
    )
}

/// Returns `true` if the answer depends on what other clients hold, or on how many of them there are.
pub(super) const fn tells_of_others(op: &Op<Raw<'_>>) -> bool {
    match op {
        Op::Manager(op) => matches!(op, ManagerOp::Info) || reports(op),
        Op::Lock(op) => matches!(op, LockOp::IsLocked),
        Op::Semaphore(op) => matches!(op, SemaphoreOp::Available),
        Op::Condition(op) => matches!(op, ConditionOp::Waiting),
        Op::Queue(op) => matches!(op, QueueOp::Len),
        Op::JoinableQueue(op) => matches!(op, JoinableQueueOp::Len | JoinableQueueOp::Unfinished),
        // A death of a party that is noticed later breaks the next round.
        Op::Barrier(op) => !matches!(op, BarrierOp::Parties),
        _ => false,
    }
}
