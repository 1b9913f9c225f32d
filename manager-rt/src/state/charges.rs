//! What a manager charges for what it keeps besides values and their containers.
//!
//! The costs are those of the worst case: a tree whose nodes are as empty as they may be, on an allocator that rounds up.
//! So what is charged is never less than what is taken, and a limit is a limit.

use std::fmt;
use std::sync::Arc;

use crate::account::{Account, Charge, Full, Room};
use crate::count::in_tree;
use crate::limits::{UNSENT_BYTES_MAX, UNSENT_SHARE};
use crate::proto::{ObjectId, Payload};
use crate::state::step::{ClientId, Limits};

/// A connected client, in bytes: its record here, and its connection.
pub(super) const CLIENT_BYTES: usize = 1_024;
/// A reference of a client to one object, in bytes.
pub(super) const REFERENCE_BYTES: usize = in_tree::<(ObjectId, u64)>();
/// What a client may hold of one object, in bytes: here, and in the object.
pub(super) const HOLD_BYTES: usize = in_tree::<ObjectId>() + in_tree::<(ClientId, [u64; 2])>();
/// The name of an object in addition to twice its length, in bytes.
pub(super) const NAME_BYTES: usize = in_tree::<(Box<str>, ObjectId)>() + 2 * ALLOCATION_BYTES;
/// Items that a client may not have read, in addition to what they take in a list, in bytes.
pub(super) const DELIVERY_BYTES: usize = 224;
/// What left with an unread answer, apart from items, in bytes.
pub(super) const GRANT_BYTES: usize = 128;
/// What the allocator adds to an allocation and rounds up, in bytes.
const ALLOCATION_BYTES: usize = 32;

/// A container that an object no longer has, emptied step by step.
pub(super) struct Retired {
    pub(super) values: Box<dyn Iterator<Item = Payload> + Send>,
    pub(super) _container: Charge,
    /// The clients that have more room in their shares afterwards.
    pub(super) holders: Vec<ClientId>,
}

/// The memory of the manager.
pub(super) struct Memory {
    pub(super) account: Arc<Account>,
    /// The answers that are not written, of all clients.
    pub(super) answers: Arc<Account>,
    pub(super) retired: Vec<Retired>,
    /// The containers of all objects.
    pub(super) containers: Charge,
    /// The places for objects.
    pub(super) places: Charge,
    /// What the items take that the present transaction has taken out of queues, in bytes.
    pub(super) taken: usize,
    /// The limit that the references of the present operation have exceeded.
    pub(super) overdrawn: Option<Full>,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        let account = Account::new(limits.memory_bytes);
        let (containers, places) = (account.charge(0), account.charge(0));
        let unsent = (limits.memory_bytes / UNSENT_SHARE).max(UNSENT_BYTES_MAX);
        let answers = Account::part_of(&account, Room::Answers, unsent);
        Self { account, answers, retired: Vec::new(), containers, places, taken: 0, overdrawn: None }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("account", &self.account).finish_non_exhaustive()
    }
}
