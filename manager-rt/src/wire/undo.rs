//! [`Undo`]: what the answer to a call may have brought, and has to be returned if no thread takes it.

use crate::proto::{
    BarrierOp, ConditionOp, JoinableQueueOp, LockOp, ManagerOp, ObjectId, Op, QueueOp, Raw, SemaphoreOp,
};

/// What a call may have received, if its answer arrives after its caller gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Nothing to return, apart from references.
    Nothing,
    /// A lock.
    Lock(ObjectId),
    /// A lock that was held before the caller waited for a notification, which the call may have used up.
    LockAgain {
        /// The lock.
        lock: ObjectId,
        /// The condition that notified the caller.
        condition: ObjectId,
    },
    /// The action of a round of this barrier, for which the others wait.
    Action(ObjectId),
    /// A permit.
    Permit,
    /// A task of this queue.
    Task(ObjectId),
    /// Items, whose queues the server knows.
    Items,
    /// A reference to this object.
    Reference(ObjectId),
}

impl Undo {
    /// Returns what the answer to an operation on an object may bring.
    pub(crate) fn of(object: ObjectId, op: &Op<Raw<'_>>) -> Self {
        match op {
            Op::Lock(LockOp::Acquire { .. }) => Self::Lock(object),
            Op::Condition(ConditionOp::Wait { lock, .. }) => {
                Self::LockAgain { lock: *lock, condition: object }
            }
            Op::Barrier(BarrierOp::Wait { acts: true }) => Self::Action(object),
            Op::Semaphore(SemaphoreOp::Acquire | SemaphoreOp::Take) => Self::Permit,
            Op::JoinableQueue(JoinableQueueOp::Get) => Self::Task(object),
            Op::Queue(QueueOp::Get | QueueOp::GetMany(_))
            | Op::JoinableQueue(JoinableQueueOp::Failed { take: true, .. }) => Self::Items,
            Op::Manager(ManagerOp::Attach(objects)) => {
                objects.first().map_or(Self::Nothing, |object| Self::Reference(*object))
            }
            _ => Self::Nothing,
        }
    }

    /// Returns `true` if only the server can undo the answer completely, as long as it does not count as read.
    pub(crate) const fn needs_server(self) -> bool {
        match self {
            Self::Lock(_) | Self::LockAgain { .. } | Self::Permit | Self::Task(_) | Self::Items => true,
            Self::Action(_) | Self::Nothing | Self::Reference(_) => false,
        }
    }
}
