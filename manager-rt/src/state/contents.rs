//! What objects contain besides plain values.

use crate::account::Charge;
use crate::proto::Payload;

/// An attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    /// The fingerprint of the type.
    pub(super) print: u64,
    pub(super) value: Payload,
}

impl From<Attribute> for Payload {
    fn from(attribute: Attribute) -> Self {
        attribute.value
    }
}

/// A task, and how often it was delivered.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) payload: Payload,
    pub(super) deliveries: u32,
}

impl From<Payload> for Task {
    fn from(payload: Payload) -> Self {
        Self { payload, deliveries: 0 }
    }
}

impl From<Task> for Payload {
    fn from(task: Task) -> Self {
        task.payload
    }
}

/// A task that a client has and has not finished.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) task: Task,
    /// What it takes of the client's share. The manager's account has the task and the container anyway.
    pub(super) _share: Option<Charge>,
}

impl From<Lease> for Payload {
    fn from(lease: Lease) -> Self {
        lease.task.payload
    }
}

/// A task that has just failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) number: u64,
    pub(super) deliveries: u32,
    /// The oldest failed task, if it was dropped for this one.
    pub(super) dropped: Option<(u64, Payload)>,
}
