//! `JoinableQueue`: tasks that are leased and have to be done.
//!
//! A task is in one of three places: it waits, it is leased to a connection, or it has failed. The waiting and the
//! leased tasks are unfinished; that number is derived, so it cannot be wrong. A lease ends when its task is done or
//! requeued, or with its connection. An undone task then waits in front of all others, unless it was delivered as often
//! as it may be. A delivery that the client has not seen does not count.
//!
//! A leased task takes a part of its client's share until it is done, so a client that finishes nothing does not get all
//! tasks. A leased task may come back, so callers that wait for a task of a closed queue get the error only when no task is
//! unfinished.

mod saved;
mod undo;

use std::collections::BTreeMap;

use crate::count::{count_of, in_tree};
use crate::limits::FAILED_TASKS_MAX;
use crate::proto::{Answer, Fault, JoinableQueueOp, ObjectId, Payload, Raw, Reply};
use crate::state::contents::{Failure, Lease, Task};
use crate::state::context::{Context, Core, DONE, Outcome, check_range};
use crate::state::delivery::outside_of;
use crate::state::fifo::{Fifo, page_len};
use crate::state::grants::Granted;
use crate::state::step::ClientId;
use crate::state::undo::{TaskUndo, Undo};
use crate::state::waiters::{Line, WaiterId, Want};
use crate::state::work::ENTRY;

/// A queue of tasks.
#[derive(Debug)]
pub(super) struct JoinableQueue {
    fifo: Fifo<Task>,
    /// By owner and number.
    leases: BTreeMap<(ClientId, u64), Lease>,
    /// Failed tasks by the order in which they failed, from 0; at most [`FAILED_TASKS_MAX`].
    failed: BTreeMap<u64, Payload>,
    max_deliveries: u32,
    newest_lease: u64,
    next_failed: u64,
    joiners: Line,
}

/// A leased task, in bytes, without what the task owns.
const LEASE_BYTES: usize = in_tree::<((ClientId, u64), Lease)>();

/// Returns what a task takes of the share of the client that has it, in bytes.
fn lease_bytes(task: &Task) -> usize {
    LEASE_BYTES.saturating_add(outside_of(std::slice::from_ref(&task.payload)))
}

const fn undo_put(count: usize) -> Undo {
    Undo::JoinableQueue(TaskUndo::Put(count))
}

impl JoinableQueue {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(capacity: u64, max_deliveries: u32) -> Result<Self, Fault> {
        check_range(max_deliveries.into(), 1, u32::MAX.into())?;
        Ok(Self {
            fifo: Fifo::new(capacity)?,
            leases: BTreeMap::new(),
            failed: BTreeMap::new(),
            max_deliveries,
            newest_lease: 0,
            next_failed: 0,
            joiners: Line::new(),
        })
    }

    pub(super) fn apply(&mut self, op: JoinableQueueOp<Raw<'_>>, context: &mut Context<'_>) -> Outcome {
        let reply = match op {
            JoinableQueueOp::Put(task) => return self.fifo.put(task, context, undo_put),
            JoinableQueueOp::PutMany(tasks) => return self.fifo.put_many(tasks, context, undo_put),
            JoinableQueueOp::Get => return self.get(context),
            JoinableQueueOp::Join => return self.join(context),
            JoinableQueueOp::Done { lease } => return self.finish(lease, context).into(),
            JoinableQueueOp::Requeue { lease } => return self.requeue(lease, context).into(),
            JoinableQueueOp::Failed { at, take } => return self.failed_from(at, take, context).into(),
            JoinableQueueOp::Len => Reply::Count(self.fifo.len()),
            JoinableQueueOp::Capacity => Reply::Count(self.fifo.capacity()),
            JoinableQueueOp::Unfinished => Reply::Count(self.unfinished()),
            JoinableQueueOp::Close => {
                self.fifo.close(context.core);
                context.touch();
                Reply::Done
            }
            JoinableQueueOp::IsClosed => Reply::Bool(self.fifo.is_closed()),
        };
        Outcome::Answer(Ok(reply))
    }

    fn unfinished(&self) -> u64 {
        self.fifo.len().saturating_add(self.held())
    }

    /// Returns `true` if no task can ever be available again.
    fn is_over(&self) -> bool {
        self.fifo.is_closed() && self.unfinished() == 0
    }

    fn get(&mut self, context: &mut Context<'_>) -> Outcome {
        if !self.fifo.may_take(self.first_bytes()) {
            if self.is_over() {
                return Outcome::Answer(Err(Fault::Closed));
            }
            return context.park(&mut self.fifo.getters, Want::Items(None), Fault::Empty);
        }
        let (client, bytes) = (context.client, self.first_bytes());
        if let Err(fault) = context.core.check_bulk(client, bytes) {
            return self.fifo.stall_newcomer(None, (bytes, fault), context);
        }
        let Some((lease, task)) = self.lease(client, context.core) else {
            return Outcome::Answer(Err(Fault::Empty));
        };
        let deliveries = task.deliveries;
        let task = context.give(&task.payload);
        context.hold();
        let call = context.call;
        context.note(Undo::JoinableQueue(TaskUndo::Leased { client, call, lease }));
        context.touch();
        Outcome::Answer(Ok(Reply::Leased { lease, deliveries, task }))
    }

    /// Leases the first task to a client.
    fn lease(&mut self, client: ClientId, core: &Core) -> Option<(u64, &Task)> {
        let mut task = self.fifo.items.pop_front()?;
        task.deliveries = task.deliveries.saturating_add(1);
        self.newest_lease = self.newest_lease.saturating_add(1);
        let lease = self.newest_lease;
        self.insert_lease((client, lease), task, core);
        Some((lease, &self.leases.get(&(client, lease))?.task))
    }

    /// Records that a client has a task, which takes a part of its share until it is done or comes back.
    fn insert_lease(&mut self, (client, lease): (ClientId, u64), task: Task, core: &Core) {
        let bytes = lease_bytes(&task);
        let share = core.clients.get(client).map(|client| client.share().charge_bulk(bytes));
        self.leases.insert((client, lease), Lease { task, _share: share });
    }

    /// Returns how much of a client's share the first task would take, in bytes.
    fn first_bytes(&self) -> usize {
        self.fifo.items.get(0).map_or(0, lease_bytes)
    }

    fn join(&mut self, context: &mut Context<'_>) -> Outcome {
        if self.unfinished() == 0 {
            return DONE.into();
        }
        context.park(&mut self.joiners, Want::AllDone, Fault::TimedOut)
    }

    fn finish(&mut self, lease: u64, context: &mut Context<'_>) -> Answer<Payload> {
        let client = context.client;
        let task = self.leases.remove(&(client, lease)).ok_or(Fault::NotOwned)?;
        context.note(Undo::JoinableQueue(TaskUndo::Done { client, lease, task }));
        context.touch();
        DONE
    }

    fn requeue(&mut self, lease: u64, context: &mut Context<'_>) -> Answer<Payload> {
        let client = context.client;
        let Lease { task, .. } = self.leases.remove(&(client, lease)).ok_or(Fault::NotOwned)?;
        let failure = self.give_back(task);
        context.note(Undo::JoinableQueue(TaskUndo::Requeued { client, lease, failure }));
        context.touch();
        DONE
    }

    /// Ends a lease whose task is not done.
    fn give_back(&mut self, task: Task) -> Option<Failure> {
        if task.deliveries < self.max_deliveries {
            self.fifo.put_back(std::iter::once(task));
            return None;
        }
        let deliveries = task.deliveries;
        let number = self.next_failed;
        self.next_failed = self.next_failed.saturating_add(1);
        let dropped = self.put_aside(number, task.payload);
        Some(Failure { number, deliveries, dropped })
    }

    /// Puts a failed task aside. If there are too many, returns the oldest of them, which no client has taken.
    fn put_aside(&mut self, number: u64, payload: Payload) -> Option<(u64, Payload)> {
        self.failed.insert(number, payload);
        if self.failed.len() <= FAILED_TASKS_MAX {
            return None;
        }
        tracing::warn!("a queue has too many failed tasks: the oldest is dropped");
        self.failed.pop_first()
    }

    /// Returns a page of failed tasks, and the number of the first one after it.
    fn failed_from(&mut self, at: u64, take: bool, context: &mut Context<'_>) -> Answer<Payload> {
        let room = if take { context.core.bulk_room(context.client) } else { usize::MAX };
        let count = page_len(self.failed.range(at..).map(|(_, task)| task), u64::MAX, room);
        let page = self.failed.range(at..).take(count);
        let page: Vec<_> = page.map(|(number, task)| (*number, task.clone())).collect();
        if take {
            let tasks: Vec<_> = page.iter().map(|(_, task)| task.clone()).collect();
            context.core.check_items(context.client, &tasks)?;
        }
        let version = page.last().map_or(at, |(number, _)| number.saturating_add(1));
        let values = page.iter().map(|(_, task)| context.give(task)).collect();
        if take {
            for (number, _) in &page {
                self.failed.remove(number);
            }
            let (client, call) = (context.client, context.call);
            context.note(Undo::JoinableQueue(TaskUndo::TookFailed { client, call, tasks: page }));
        }
        Ok(Reply::Values { values, version })
    }

    /// Serves the lines. Returns `false` if the step does not allow all of that.
    pub(super) fn serve(&mut self, id: ObjectId, core: &mut Core) -> bool {
        while self.fifo.admit(core) || self.serve_getters(id, core) {}
        if core.work.is_over() && self.fifo.has_to_serve(self.first_bytes(), core) {
            return false;
        }
        if self.unfinished() == 0 {
            core.answer_all(&mut self.joiners, &DONE);
        }
        if self.is_over() {
            self.fifo.answer_getters(core, &Err(Fault::Closed));
        }
        true
    }

    fn serve_getters(&mut self, id: ObjectId, core: &mut Core) -> bool {
        let mut has_served = false;
        while !self.fifo.items.is_empty()
            && !core.work.is_over()
            && let Some(first) = self.fifo.next_getter(self.first_bytes(), core)
            && let Some(client) = core.waiters.get(first).map(|waiter| waiter.client)
        {
            let bytes = self.first_bytes();
            // Until it has finished some of its tasks, the next one in the line gets it.
            if core.check_bulk(client, bytes).is_err() {
                self.fifo.stall(first, bytes, core);
                continue;
            }
            let Some(waiter) = self.fifo.take_getter(core) else { break };
            let Some((lease, task)) = self.lease(waiter.client, core) else { break };
            let deliveries = task.deliveries;
            let task = core.give(waiter.client, &task.payload);
            core.hold(waiter.client, id);
            core.note_grant(waiter.client, waiter.call, id, Granted::Task { lease });
            core.answer(waiter.client, waiter.call, Ok(Reply::Leased { lease, deliveries, task }));
            has_served = true;
        }
        has_served
    }

    /// Records that a client has not seen a task that was leased to it, so this delivery does not count.
    pub(super) fn was_not_seen(&mut self, client: ClientId, lease: u64) {
        if let Some(Lease { task, .. }) = self.leases.get_mut(&(client, lease)) {
            task.deliveries = task.deliveries.saturating_sub(1);
        }
    }

    /// Takes back a task that its client has not seen, and will not see.
    pub(super) fn take_back_lease(&mut self, client: ClientId, lease: u64) {
        self.was_not_seen(client, lease);
        if let Some(Lease { task, .. }) = self.leases.remove(&(client, lease)) {
            self.fifo.put_back(std::iter::once(task));
        }
    }

    /// Ends a client: its tasks wait for others, in the order in which it got them. Returns `false` if the step does not
    /// allow all of that. The newest task has come back first then, so the queue must not be used until the others have.
    pub(super) fn release_client(&mut self, client: ClientId, core: &mut Core) -> bool {
        while let Some((key, _)) = self.leases.range((client, 0)..=(client, u64::MAX)).next_back() {
            if core.work.is_over() {
                return false;
            }
            core.work.charge(ENTRY);
            let key = *key;
            let Some(Lease { task, .. }) = self.leases.remove(&key) else { return true };
            if let Some(Failure { dropped: Some((_, payload)), .. }) = self.give_back(task) {
                core.let_go(payload);
            }
        }
        true
    }

    /// Puts failed tasks back that a client took and certainly did not read. They count as the newest.
    pub(super) fn take_back(&mut self, tasks: Vec<Payload>, core: &mut Core) {
        for task in tasks {
            let number = self.next_failed;
            self.next_failed = self.next_failed.saturating_add(1);
            if let Some((_, payload)) = self.put_aside(number, task) {
                core.let_go(payload);
            }
        }
    }

    /// Puts a caller back into its line, whose client has room again.
    pub(super) fn resume(&mut self, waiter: WaiterId) {
        self.fifo.resume(waiter);
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.fifo.leave(waiter) || self.joiners.remove(&waiter)
    }

    pub(super) fn end(mut self, core: &mut Core) {
        core.answer_all(&mut self.joiners, &Err(Fault::UnknownObject));
        let bytes = self.bytes().saturating_sub(self.fifo.bytes());
        let mut holders: Vec<ClientId> = Vec::new();
        while let Some(((client, _), _)) = match holders.last() {
            None => self.leases.first_key_value(),
            Some(last) => self.leases.range((*last, u64::MAX)..).next(),
        } && holders.last() != Some(client)
        {
            holders.push(*client);
        }
        let tasks = self.leases.into_values().map(Payload::from).chain(self.failed.into_values());
        core.retire_of(tasks, bytes, holders);
        self.fifo.end(core);
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Payload> {
        let leased = self.leases.values().map(|lease| &lease.task);
        let tasks = self.fifo.items.range(0, usize::MAX).chain(leased).map(|task| &task.payload);
        tasks.chain(self.failed.values())
    }

    pub(super) fn len(&self) -> u64 {
        self.fifo.len()
    }

    /// Returns the number of tasks that were delivered and are not done, and of those that failed.
    pub(super) fn taken_or_failed(&self) -> u64 {
        count_of(self.leases.len()).saturating_add(count_of(self.failed.len()))
    }

    pub(super) fn waiting(&self) -> usize {
        self.fifo.waiting().saturating_add(self.joiners.len())
    }

    /// Returns what the containers take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let leases = self.leases.len().saturating_mul(LEASE_BYTES);
        let failed = self.failed.len().saturating_mul(in_tree::<(u64, Payload)>());
        self.fifo.bytes().saturating_add(leases).saturating_add(failed)
    }

    /// Returns what the leases take of the shares of their clients, in bytes.
    #[cfg(test)]
    pub(super) fn lease_shares(&self) -> impl Iterator<Item = (ClientId, usize)> {
        self.leases.iter().map(|((client, _), lease)| (*client, lease_bytes(&lease.task)))
    }

    /// Returns the number of leases.
    pub(super) fn held(&self) -> u64 {
        count_of(self.leases.len())
    }
}
