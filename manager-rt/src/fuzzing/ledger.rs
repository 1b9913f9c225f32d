//! A record of the waiting calls, and of what must be true of the objects meanwhile: no call waits that could be
//! served.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::{
    BarrierOp, Call, ConditionOp, EventOp, JoinableQueueOp, LockOp, ObjectId, Op, QueueOp, Raw, SemaphoreOp,
    Wait,
};
use crate::state::ClientId;

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Lock,
    Permit,
    Flag,
    Parties,
    Item,
    /// Room for this many items.
    Room(u64),
    Task,
    /// Room for this many tasks.
    TaskRoom(u64),
    AllDone,
    /// A notification, and then this lock.
    Notification(ObjectId),
}

/// A call that has not been answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) client: ClientId,
    pub(super) call: u64,
    /// What the call waits for, once it is known to wait.
    pub(super) waits: Option<Waits>,
}

/// A wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    pub(super) object: ObjectId,
    pub(super) what: What,
    /// When the wait is over.
    pub(super) deadline: Option<u64>,
}

impl Waits {
    /// Returns what a call waits for if it is not answered at once, or `None` if it has to be answered at once.
    pub(super) fn of(call: &Call<Raw<'_>>, now: u64) -> Option<Self> {
        let is_condition = matches!(call.op, Op::Condition(_));
        let deadline = match call.wait {
            // A call that waits for a notification then has to wait for its lock, however long that takes.
            _ if is_condition => None,
            Wait::No => return None,
            Wait::For(nanos) => Some(now.saturating_add(nanos)),
            Wait::Forever => None,
        };
        let count = |items: &Vec<Raw<'_>>| u64::try_from(items.len()).unwrap_or(u64::MAX);
        let what = match &call.op {
            Op::Lock(LockOp::Acquire { .. }) => What::Lock,
            Op::Semaphore(SemaphoreOp::Acquire | SemaphoreOp::Take) => What::Permit,
            Op::Event(EventOp::Wait) => What::Flag,
            Op::Barrier(BarrierOp::Wait { .. }) => What::Parties,
            Op::Queue(QueueOp::Get | QueueOp::GetMany(_)) => What::Item,
            Op::Queue(QueueOp::Put(_)) => What::Room(1),
            Op::Queue(QueueOp::PutMany(items)) => What::Room(count(items)),
            Op::JoinableQueue(JoinableQueueOp::Get) => What::Task,
            Op::JoinableQueue(JoinableQueueOp::Put(_)) => What::TaskRoom(1),
            Op::JoinableQueue(JoinableQueueOp::PutMany(items)) => What::TaskRoom(count(items)),
            Op::JoinableQueue(JoinableQueueOp::Join) => What::AllDone,
            Op::Condition(ConditionOp::Wait { lock, .. }) => What::Notification(*lock),
            _ => return None,
        };
        Some(Self { object: call.object, what, deadline })
    }
}

/// The calls that have not been answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pending: Vec<Pending>,
}

impl Ledger {
    pub(super) fn begin(&mut self, client: ClientId, call: u64) {
        self.pending.push(Pending { client, call, waits: None });
    }

    /// Returns the later one of two calls with the same number. Only that one may be refused instead of waiting.
    pub(super) fn newest(&mut self, client: ClientId, call: u64) -> Option<&mut Pending> {
        self.pending.iter_mut().rev().find(|pending| (pending.client, pending.call) == (client, call))
    }

    /// Records that an answer has arrived.
    ///
    /// # Panics
    /// If no call waits for it, which is a finding.
    pub(super) fn answered(&mut self, client: ClientId, call: u64) {
        let of = |pending: &Pending| (pending.client, pending.call) == (client, call);
        let at = self.pending.iter().rposition(of);
        assert!(
            at.map(|at| self.pending.remove(at)).is_some(),
            "call {call} of {client:?} was answered twice"
        );
    }

    pub(super) fn leave(&mut self, client: ClientId) {
        self.pending.retain(|pending| pending.client != client);
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.pending.len()).unwrap_or(u64::MAX)
    }

    /// # Panics
    /// If a call waits although it need not, or waits too long, which is a finding.
    pub(super) fn check_times(&self, now: u64) {
        for pending in &self.pending {
            let Some(waits) = pending.waits else { panic!("{pending:?} is neither answered nor waits") };
            assert!(waits.deadline.is_none_or(|at| at > now), "{pending:?} waits longer than its timeout");
        }
    }

    /// Returns what the calls wait for. Of those that wait for room, only the first in each line counts.
    pub(super) fn wants(&self) -> Vec<(ObjectId, What)> {
        let mut rooms = BTreeSet::new();
        let waits = self.pending.iter().filter_map(|pending| pending.waits);
        let first_rooms = waits.filter(|waits| {
            !matches!(waits.what, What::Room(_) | What::TaskRoom(_)) || rooms.insert(waits.object)
        });
        let wants: BTreeSet<_> = first_rooms.map(|waits| (waits.object, waits.what)).collect();
        wants.into_iter().collect()
    }

    /// Returns the number of waiters for a notification, by condition and lock.
    pub(super) fn notifications(&self) -> BTreeMap<(ObjectId, ObjectId), u64> {
        let mut counts = BTreeMap::new();
        for waits in self.pending.iter().filter_map(|pending| pending.waits) {
            if let What::Notification(lock) = waits.what {
                let count: &mut u64 = counts.entry((waits.object, lock)).or_default();
                *count = count.saturating_add(1);
            }
        }
        counts
    }
}
