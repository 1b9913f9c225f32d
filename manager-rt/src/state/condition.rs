//! `Condition`: waiting for a notification, with a lock that is released meanwhile.
//!
//! A wait releases the lock and joins the condition's line in one step. A notification moves the longest waiter to the
//! lock's line, where it is answered once it has the lock again. A timeout does the same: however a wait ends, the
//! caller has its lock, at the same depth and with the same lease, which begins anew. A client that dies in either line is removed, and uses up no notification.

use crate::count::count_of;
use crate::proto::{ConditionOp, Fault, ObjectId, Reply, Wait};
use crate::state::context::{Context, Outcome, Target};
use crate::state::kinds::Body;
use crate::state::waiters::{LockWant, Waiter, WaiterId, Want};
use crate::state::work::CALLER;
use crate::state::{Caller, State};

impl State {
    /// Runs an operation of a condition, which may also concern a lock.
    pub(super) fn run_condition(&mut self, caller: Caller<'_>, target: Target, op: &ConditionOp) -> Outcome {
        let line = match self.body(target.object) {
            Some(Body::Condition(line)) => line,
            Some(other) => return Outcome::Answer(Err(Fault::WrongKind { found: other.kind() })),
            None => return Outcome::Answer(Err(Fault::UnknownObject)),
        };
        match *op {
            ConditionOp::Wait { lock, token } => self.wait_for_notification(caller, target, lock, token),
            ConditionOp::Waiting => Outcome::Answer(Ok(Reply::Count(count_of(line.len())))),
            ConditionOp::Notify(count) => {
                let count = count.min(count_of(line.len()));
                self.core.work.notify(target.object, count);
                self.core.touch(target.object);
                Outcome::Answer(Ok(Reply::Count(count)))
            }
        }
    }

    fn wait_for_notification(
        &mut self,
        caller: Caller<'_>,
        target: Target,
        lock: ObjectId,
        token: u64,
    ) -> Outcome {
        // Checked first: a caller that may not wait keeps the lock.
        if let Err(fault) = self.core.may_wait(caller.client, caller.call, &Want::Flag) {
            return Outcome::Answer(Err(fault));
        }
        let hold = match self.body(lock) {
            Some(Body::Lock(lock)) => lock.release_all(caller.client, token),
            Some(other) => Err(Fault::WrongKind { found: other.kind() }),
            None => Err(Fault::UnknownObject),
        };
        let hold = match hold {
            Ok(hold) => hold,
            Err(fault) => return Outcome::Answer(Err(fault)),
        };
        self.core.touch(lock);
        // A caller that does not want to wait nevertheless releases the lock and takes it again.
        let wait = if target.wait == Wait::No { Wait::For(0) } else { target.wait };
        let mut context = Context::new(&mut self.core, caller, Target { wait, ..target });
        let since = context.core.now();
        let parked = context.park_or(Want::Notification { lock, hold, since }, Fault::TimedOut);
        match (parked, self.body(target.object)) {
            (Ok(waiter), Some(Body::Condition(line))) => {
                line.insert(waiter);
                Outcome::Parked
            }
            (Ok(_), _) => Outcome::Parked,
            (Err((_, fault)), _) => Outcome::Answer(Err(fault)),
        }
    }

    /// Moves the notified waiters to the lines of their locks. Returns `false` if the step does not allow all of that.
    pub(super) fn serve_notified(&mut self, condition: ObjectId) -> bool {
        while self.core.work.is_notified(condition)
            && let Some(Body::Condition(line)) = self.body(condition)
        {
            let Some(waiter) = line.first().copied() else { break };
            if self.core.work.is_over() {
                return false;
            }
            self.core.work.charge(CALLER);
            if let Some(Body::Condition(line)) = self.body(condition) {
                line.remove(&waiter);
            }
            // One that has ended uses up no notification.
            if self.line_up_for_lock(waiter, false) {
                self.core.work.has_notified(condition);
            }
        }
        self.core.work.forget_notified(condition);
        true
    }

    /// Passes a notification to the next waiter, after a notified waiter died before it had its lock again.
    pub(super) fn pass_notification_on(&mut self, condition: ObjectId) {
        if matches!(self.body(condition), Some(Body::Condition(_))) {
            self.core.work.notify(condition, 1);
            self.core.touch(condition);
        }
    }

    /// Moves a waiter from a condition's line to that of the lock, where only getting the lock ends the wait. Returns
    /// `false` if the waiter is gone.
    pub(super) fn line_up_for_lock(&mut self, waiter: WaiterId, timed_out: bool) -> bool {
        let Some(gone) = self.core.take_waiter(waiter) else { return false };
        if !self.core.clients.contains(gone.client) {
            return false;
        }
        let Waiter { client, call, thread, object, want: Want::Notification { lock, hold, since }, .. } =
            gone
        else {
            return false;
        };
        if !matches!(self.body(lock), Some(Body::Lock(_))) {
            self.core.answer(client, call, Err(Fault::UnknownObject));
            return true;
        }
        let notified_by = (!timed_out).then_some(object);
        let want = Want::Lock(LockWant { hold, since, timed_out, notified_by });
        let waiter = self.core.park((client, call, thread), lock, want, None);
        let Some(waiter) = waiter else { return false };
        if let Some(Body::Lock(body)) = self.body(lock) {
            body.join_line(waiter);
        }
        self.core.touch(lock);
        true
    }
}
