//! The names of the tables of numbers, so that a side can say which number it does not know.

use std::fmt;

#[cfg(doc)]
use super::*;

/// A table of numbers that travel. Each enum of the protocol has one, of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Table {
    /// The numbers of [`Wait`].
    Wait,
    /// The numbers of [`Op`].
    Op,
    /// The numbers of [`Spec`].
    Spec,
    /// The numbers of [`ManagerOp`].
    ManagerOp,
    /// The numbers of [`ListOp`].
    ListOp,
    /// The numbers of [`DictOp`].
    DictOp,
    /// The numbers of [`Part`].
    Part,
    /// The numbers of [`Number`].
    Number,
    /// The numbers of [`NamespaceOp`].
    NamespaceOp,
    /// The numbers of [`ValueOp`].
    ValueOp,
    /// The numbers of [`ArrayOp`].
    ArrayOp,
    /// The numbers of [`QueueOp`].
    QueueOp,
    /// The numbers of [`JoinableQueueOp`].
    JoinableQueueOp,
    /// The numbers of [`LockOp`].
    LockOp,
    /// The numbers of [`SemaphoreOp`].
    SemaphoreOp,
    /// The numbers of [`ConditionOp`].
    ConditionOp,
    /// The numbers of [`EventOp`].
    EventOp,
    /// The numbers of [`BarrierOp`].
    BarrierOp,
    /// The numbers of [`Kind`].
    Kind,
    /// The numbers of [`Reply`].
    Reply,
    /// The numbers of [`Fault`].
    Fault,
    /// The numbers of [`Table`].
    Table,
    /// The numbers of [`Room`].
    Room,
    /// The numbers of [`WaitFor`](report::WaitFor).
    WaitFor,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
