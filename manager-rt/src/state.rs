//! The objects of a manager, as a state machine without a clock, socket or thread.
//!
//! [`State`] receives events: a client connected, requested something, read answers, or ended; time passed. It returns
//! the answers in [`Effects`]. Nothing here waits: a call that has to wait is a record in a line, and ten thousand of
//! them only cost memory.
//!
//! 1. **Operations change, commits release, lines are served last.** An operation on an object changes it, and notes in
//!    the journal how to undo that. A commit releases what the changes replaced; an error undoes all changes of the
//!    transaction. The lines of the changed objects are served only after the commit, so a change that is undone wakes
//!    no waiter.
//! 2. **Every reference is counted**: those of clients, of stored values, and of transits. An object without a name
//!    ends with its last reference.
//! 3. **What a client holds ends with it**: locks, permits, leases, places in lines and at barriers, and references. An
//!    item that it certainly did not read returns to its queue.
//! 4. **Lines are fair**: the longest waiter is served first, and a newcomer never overtakes it.
//! 5. **Every event that can grant something has its own time**, and time never runs backwards. So a lease begins when
//!    the lock is granted, whatever caused the grant: a call, a timeout, or a death.

mod array;
mod asked;
mod backlog;
mod barrier;
mod bequests;
mod bodies;
mod charges;
mod claims;
mod clients;
mod commit;
mod condition;
mod contents;
mod context;
mod continued;
mod delivery;
mod dict;
mod ending;
mod event;
mod exchange;
mod fifo;
mod grants;
mod items;
mod joinable_queue;
mod journal;
mod kinds;
mod lines;
mod list;
mod lock;
mod manager;
mod memory;
mod namespace;
mod numbers;
mod observed;
mod page;
mod queue;
mod registry;
mod report;
mod semaphore;
mod sequence;
mod sessions;
pub(crate) mod snapshot;
mod snapshot_fault;
mod step;
mod table;
mod together;
mod undo;
mod unfinished;
mod value;
mod waiters;
mod waking;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use self::asked::Asked;
use self::asked::Snapshots;
use self::bodies::Bodies;
use self::charges::CLIENT_BYTES;
pub(crate) use self::clients::Activity;
use self::context::{Context, Core, Outcome, Target};
pub use self::snapshot_fault::SnapshotFault;
pub(crate) use self::step::Changes;
pub use self::step::{Answered, Caller, Claimed, ClientId, Departure, Effects, EncodedNames, Heard, Limits};
use crate::account::{Account, Share};
use crate::count::count_of;
use crate::limits::{
    DECODED_BYTES_MIN, DECODED_SHARE, HANDSHAKES_SHARE, SEALED_BYTES_MIN, SEALED_SHARE, TRANSACTION_OPS_MAX,
    UNFINISHED_DIVISOR, UNFINISHED_PARTS, VALUE_BYTES_MAX,
};
use crate::proto::{Call, Fault, Info, Op, Payload, Raw, Reply, Room, Step, Wait};

/// The objects of a manager.
#[derive(Debug)]
pub struct State {
    /// The objects themselves, by slot.
    bodies: Bodies,
    /// All state outside the objects.
    core: Core,
    /// What clients have asked to be written to files.
    snapshots: Snapshots,
    /// How many clients have ended.
    endings_begun: u64,
    has_ended: bool,
}

impl State {
    /// Makes a manager without objects.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            bodies: Bodies::default(),
            core: Core::new(limits),
            snapshots: Snapshots::default(),
            endings_begun: 0,
            has_ended: false,
        }
    }

    /// Returns how many bytes the sequences of one frame may take once they are decoded.
    #[must_use]
    pub fn decoded_bytes_max(&self) -> usize {
        (self.core.limits.memory_bytes / DECODED_SHARE).max(DECODED_BYTES_MIN)
    }

    /// Returns the account of the answers that are not written, for all connections together.
    pub(crate) fn answer_account(&self) -> Arc<Account> {
        Arc::clone(&self.core.memory.answers)
    }

    /// Makes the account of the connections in the handshake.
    pub(crate) fn handshake_account(&self) -> Arc<Account> {
        let account = &self.core.memory.account;
        Account::part_of(account, Room::Reserve, account.reserve() / HANDSHAKES_SHARE)
    }

    /// Makes the account of the incomplete records of streams between hosts.
    pub(crate) fn sealed_account(&self) -> Arc<Account> {
        let limit = (self.core.limits.memory_bytes / SEALED_SHARE).max(SEALED_BYTES_MIN);
        Account::part_of(&self.core.memory.account, Room::Frames, limit)
    }

    /// Makes the account of the frames that have not arrived completely, for all connections together.
    pub(crate) fn frame_account(&self) -> Arc<Account> {
        let limit = (self.core.limits.memory_bytes / UNFINISHED_DIVISOR).saturating_mul(UNFINISHED_PARTS);
        Account::part_of(&self.core.memory.account, Room::Frames, limit)
    }

    /// Connects a client.
    ///
    /// # Errors
    /// [`Fault::TooMany`]; [`Fault::NoRoom`].
    pub fn connect(&mut self) -> Result<ClientId, Fault> {
        let limit = self.core.limits.clients;
        if self.core.clients.len() >= limit {
            return Err(Fault::TooMany { limit: limit.try_into().unwrap_or(u64::MAX) });
        }
        self.core.memory.account.check_reserve(CLIENT_BYTES)?;
        let share = Share::of(&self.core.memory.account, self.core.limits.client_memory_bytes);
        let now = self.core.now();
        Ok(self.core.clients.insert(&self.core.memory.account, share, now))
    }

    /// Returns `true` if there is a client.
    pub(crate) fn has_clients(&self) -> bool {
        self.core.clients.len() > 0
    }

    /// Returns what a client may take.
    pub(crate) fn share(&self, client: ClientId) -> Option<Share> {
        self.core.clients.get(client).map(|client| client.share().clone())
    }

    /// Records that a client has read this many answers.
    pub fn acknowledge(&mut self, client: ClientId, read: u64) {
        self.core.clients.acknowledge(client, read);
        self.core.may_have_room(client);
    }

    /// Records that answers to a client were written, which count in its share until then.
    pub(crate) fn has_written(&mut self, client: ClientId) {
        self.core.may_have_room(client);
    }

    /// Runs one operation of a client.
    pub fn apply(&mut self, caller: Caller<'_>, call: Call<Raw<'_>>, effects: &mut Effects) -> Heard {
        self.begin(caller.now);
        if self.has_to_wait(caller.client, &call)
            || !caller.is_settled && (kinds::tells_of_others(&call.op) || self.hands_over(&call))
        {
            return Heard::Unsettled;
        }
        match self.run(caller, call) {
            Outcome::Answer(Err(fault)) if !caller.is_settled && is_refusal_of_a_try(&fault) => {
                self.end_transaction(false);
                return Heard::Unsettled;
            }
            Outcome::Answer(answer) => {
                let answer = answer.and_then(|reply| self.core.admit(caller.client, reply));
                self.end_transaction(answer.is_ok());
                self.core.answer(caller.client, caller.call, answer);
            }
            Outcome::Parked => self.end_transaction(true),
        }
        self.settle(effects);
        Heard::Done
    }

    /// Refuses a request that is not an operation.
    pub fn refuse(&mut self, caller: Caller<'_>, fault: Fault, effects: &mut Effects) {
        self.begin(caller.now);
        self.core.answer(caller.client, caller.call, Err(fault));
        self.settle(effects);
    }

    /// Runs an operation of a client that expects no answer.
    pub fn notice(&mut self, caller: Caller<'_>, call: Call<Raw<'_>>, effects: &mut Effects) -> Heard {
        self.begin(caller.now);
        // Only operations whose answers carry nothing that has to be received.
        if !kinds::may_be_told(&call.op) {
            tracing::debug!(object = %call.object, "a notice contains an operation that needs an answer");
            return Heard::Done;
        }
        if self.has_to_wait(caller.client, &call)
            || !caller.is_settled && (self.hands_over(&call) || kinds::tells_of_others(&call.op))
        {
            return Heard::Unsettled;
        }
        let ends = self.snapshots.ends();
        let outcome = self.run(caller, Call { wait: Wait::No, ..call });
        self.snapshots.keep_ends(ends);
        self.core.count_notice(caller.client);
        if matches!(outcome, Outcome::Parked)
            && let Some(client) = self.core.clients.get_mut(caller.client)
        {
            client.expects_no_answer();
        }
        self.end_transaction(!matches!(outcome, Outcome::Answer(Err(_))));
        self.settle(effects);
        Heard::Done
    }

    /// Runs several operations of a client as one.
    pub fn transaction(
        &mut self,
        caller: Caller<'_>,
        steps: Vec<Step<Raw<'_>>>,
        effects: &mut Effects,
    ) -> Heard {
        self.begin(caller.now);
        let has_to_wait = self.is_unfinished(caller.client)
            || steps.iter().any(|step| {
                self.is_held_up(step.object) || !caller.is_settled && kinds::tells_of_others(&step.op)
            });
        if has_to_wait {
            return Heard::Unsettled;
        }
        let answer = self.run_all(caller, steps).map(Reply::Transaction);
        let answer = answer.and_then(|reply| self.core.admit(caller.client, reply));
        self.end_transaction(answer.is_ok());
        if !caller.is_settled && answer.as_ref().is_err_and(is_refusal_of_a_try) {
            return Heard::Unsettled;
        }
        self.core.answer(caller.client, caller.call, answer);
        self.settle(effects);
        Heard::Done
    }

    fn run_all(
        &mut self,
        caller: Caller<'_>,
        steps: Vec<Step<Raw<'_>>>,
    ) -> Result<Vec<Reply<Payload>>, Fault> {
        if steps.len() > TRANSACTION_OPS_MAX {
            return Err(Fault::TooMany { limit: TRANSACTION_OPS_MAX.try_into().unwrap_or(u64::MAX) });
        }
        let (mut replies, mut bytes, mut memory) = (Vec::with_capacity(steps.len()), 0_usize, 0_usize);
        for Step { object, op } in steps {
            if !kinds::may_be_undone(&op) {
                return Err(Fault::NotInTransaction);
            }
            match self.run(caller, Call { object, thread: 0, wait: Wait::No, op }) {
                Outcome::Answer(answer) => {
                    let reply = answer?;
                    self.core.work.check()?;
                    reply.each_value(&mut |value| bytes = bytes.saturating_add(value.raw().bytes.len()));
                    memory = memory.saturating_add(reply.memory());
                    self.core.memory.account.check(memory)?;
                    replies.push(reply);
                    // All answers are sent in one frame.
                    if bytes > VALUE_BYTES_MAX {
                        return Err(Fault::TooLarge { limit: count_of(VALUE_BYTES_MAX) });
                    }
                }
                Outcome::Parked => return Err(Fault::NotInTransaction),
            }
        }
        Ok(replies)
    }

    /// Returns the time of the next [`advance`](Self::advance) that may change something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.core.waiters.next_timer()
    }

    /// Returns `true` if a client asked the manager to end.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Removes and returns a client whose process has connected again, so that its connection has to be closed.
    #[inline]
    pub(crate) fn pop_superseded(&mut self) -> Option<ClientId> {
        self.core.sessions.pop()
    }

    /// Returns what the manager holds.
    #[must_use]
    pub fn info(&self) -> Info {
        Info {
            objects: count_of(self.core.registry.len()),
            clients: count_of(self.core.clients.len()),
            waiters: count_of(self.core.waiters.len()),
            held: self.bodies.held(),
            bytes: count_of(self.core.memory_used()),
        }
    }

    /// Runs one operation, which may park the caller.
    fn run(&mut self, caller: Caller<'_>, call: Call<Raw<'_>>) -> Outcome {
        let Call { object, thread, wait, op } = call;
        let target = Target { object, thread, wait };
        if let Op::Manager(op) = op {
            return self.run_manager(caller, op);
        }
        // What was given to others since the last operation is not this caller's.
        self.core.memory.overdrawn = None;
        let outcome = self.run_on_object(caller, target, op);
        if let Some(full) = self.core.memory.overdrawn.take()
            && matches!(outcome, Outcome::Answer(Ok(_)))
        {
            // The caller has too many references already. What the operation did is undone.
            return Outcome::Answer(Err(full.into()));
        }
        outcome
    }

    fn run_on_object(&mut self, caller: Caller<'_>, target: Target, op: Op<Raw<'_>>) -> Outcome {
        let Some(slot) = self.core.registry.slot(target.object) else {
            return Outcome::Answer(Err(Fault::UnknownObject));
        };
        if let Op::Condition(op) = op {
            return self.run_condition(caller, target, &op);
        }
        if let Op::List(op) = &op
            && let Some(answer) = self.run_exchange(caller, target, op)
        {
            return Outcome::Answer(answer);
        }
        let Some(body) = self.bodies.get_mut(slot) else {
            return Outcome::Answer(Err(Fault::UnknownObject));
        };
        let mut context = Context::new(&mut self.core, caller, target);
        let outcome = body.apply(op, &mut context);
        self.bodies.recharge(slot, &mut self.core.memory.containers);
        outcome
    }

    /// Commits or undoes the changes since the last transaction.
    #[inline]
    fn end_transaction(&mut self, commits: bool) {
        // Most calls only read.
        if self.core.journal.is_empty() {
            return;
        }
        let mut journal = std::mem::take(&mut self.core.journal);
        if commits {
            journal.commit(&mut self.core);
        } else {
            journal.roll_back(&mut self.bodies, &mut self.core);
        }
        self.core.journal = journal;
        self.core.memory.taken = 0;
    }
}

/// Returns `true` if a call that may not wait was refused because of what others hold or have not done yet.
const fn is_refusal_of_a_try(fault: &Fault) -> bool {
    matches!(fault, Fault::WouldBlock | Fault::Empty | Fault::Full | Fault::TimedOut)
}
