//! The objects that clients use, and how they are made.

use crate::proto::{Call, ManagerOp, ObjectId, Op, Payload, Raw, Spec, Wait};

/// Returns one specification of each kind, small enough to be full at times.
pub(super) fn specs() -> Vec<Spec<Payload>> {
    let value = |byte: u8| Payload::copy(Raw::plain(&[byte]));
    vec![
        Spec::Lock,
        Spec::RLock,
        Spec::Condition,
        Spec::Semaphore(2),
        Spec::BoundedSemaphore(2),
        Spec::Event,
        Spec::Barrier(2),
        Spec::Queue(2),
        Spec::JoinableQueue { maxsize: 2, max_deliveries: 2 },
        Spec::Value(value(1)),
        Spec::Array(vec![value(1), value(2), value(3)]),
        Spec::List,
        Spec::Dict,
        Spec::Namespace,
    ]
}

/// Makes a call to the manager itself.
pub(super) const fn to_manager(op: ManagerOp<Payload>) -> Call<Payload> {
    Call { object: ObjectId::MANAGER, thread: 0, wait: Wait::No, op: Op::Manager(op) }
}
