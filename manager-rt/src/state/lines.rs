//! Lines: serving them after a commit, and leaving them by timeout, cancellation or death.

use crate::proto::{Call, ConditionOp, Fault, LockOp, ObjectId, Op, Raw};
use crate::state::delivery::Delivery;
use crate::state::grants::{Grant, Granted};
use crate::state::kinds::Body;
use crate::state::step::ClientId;
use crate::state::waiters::{WaiterId, Want};
use crate::state::work::{OBJECT, VALUE};
use crate::state::{Effects, State};

impl State {
    /// Returns an object if it exists.
    pub(super) fn body(&mut self, id: ObjectId) -> Option<&mut Body> {
        let slot = self.core.registry.slot(id)?;
        self.bodies.get_mut(slot)
    }

    /// Returns `true` if the call may let a waiter go on. The waiter must not be one that has already ended: a dead one
    /// would use up a notification, and would leave a lock as if it had died with it.
    pub(super) fn hands_over(&mut self, call: &Call<Raw<'_>>) -> bool {
        let waited_for = match call.op {
            Op::Lock(LockOp::Release { .. }) | Op::Condition(ConditionOp::Notify(_)) => call.object,
            Op::Condition(ConditionOp::Wait { lock, .. }) => lock,
            _ => return false,
        };
        match self.body(waited_for) {
            Some(Body::Lock(lock)) => !lock.line().is_empty(),
            Some(Body::Condition(line)) => !line.is_empty(),
            _ => false,
        }
    }

    /// After a commit: serves the lines of changed objects, ends objects without references, and hands out the answers.
    /// What the step does not allow is left for [`tidy`](Self::tidy).
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        loop {
            self.serve_touched();
            if self.core.work.has_backlog {
                break;
            }
            self.core.wake();
            self.core.bury();
            if self.core.work.is_over() || !self.drop_unreferenced() {
                break;
            }
        }
        effects.answers.append(&mut self.core.outbox);
    }

    /// Serves the lines of the objects that have changed. Objects for which there is no time are held up.
    pub(super) fn serve_touched(&mut self) {
        loop {
            for condition in std::mem::take(&mut self.core.work.passing_on) {
                self.pass_notification_on(condition);
            }
            let Some(object) = self.core.touched.pop() else { return };
            // One that is held up is served in its turn.
            if !self.core.work.holds_up(object) && !self.serve(object) {
                self.core.work.hold_up(object);
            }
        }
    }

    /// Serves the lines of an object. Returns `false` if the step does not allow all of that.
    fn serve(&mut self, object: ObjectId) -> bool {
        if self.is_frozen(object) {
            return false;
        }
        let Some(slot) = self.core.registry.slot(object) else { return true };
        let are_served = match self.bodies.get_mut(slot) {
            Some(Body::Condition(_)) => self.serve_notified(object),
            Some(body) => body.serve(object, &mut self.core),
            None => true,
        };
        self.bodies.recharge(slot, &mut self.core.memory.containers);
        are_served
    }

    /// Continues to serve the lines of objects that are held up, each of them once.
    pub(super) fn serve_held_up(&mut self) {
        for _ in 0..self.core.work.held_up() {
            if self.core.work.is_over() {
                return;
            }
            let Some(object) = self.core.work.next_held_up() else { return };
            if !self.serve(object) {
                self.core.work.hold_up(object);
            }
        }
    }

    /// Ends objects without references, as far as the step allows. Returns `true` if there was one.
    pub(super) fn drop_unreferenced(&mut self) -> bool {
        let (mut dropped, mut later) = (false, Vec::new());
        while !self.core.work.is_over()
            && let Some(object) = self.core.registry.pop_unreferenced()
        {
            if self.core.work.holds_up(object) {
                // The callers that it has to answer come first.
                later.push(object);
                continue;
            }
            self.core.work.charge(OBJECT);
            self.end_object(object);
            dropped = true;
        }
        later.into_iter().for_each(|object| self.core.registry.release(object, 0));
        dropped
    }

    /// Ends a wait whose time is over.
    pub(super) fn expire(&mut self, waiter: WaiterId) {
        let Some(waits) = self.core.waiters.get(waiter) else { return };
        let (object, is_notification) = (waits.object, matches!(waits.want, Want::Notification { .. }));
        if !self.body(object).is_some_and(|body| body.leave(waiter)) {
            // It happened, and the answer is on its way.
            return;
        }
        if is_notification {
            // However the wait ends, the caller has its lock again.
            self.line_up_for_lock(waiter, true);
            return;
        }
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        self.core.answer(gone.client, gone.call, Err(Fault::TimedOut));
        self.forget_waiter(gone.object, gone.want);
    }

    /// Ends a call that its client has given up. Whatever it was granted goes to others: nobody will use its answer, and
    /// the client may not read that for a long time.
    pub(super) fn give_up(&mut self, client: ClientId, call: u64) {
        let waiter = self.core.clients.get_mut(client).and_then(|client| client.waiter(call));
        match waiter {
            Some(waiter) => self.stop_waiting(waiter),
            None => self.reject(client, call),
        }
    }

    fn stop_waiting(&mut self, waiter: WaiterId) {
        let object = self.core.waiters.get(waiter).map(|waits| waits.object);
        if !object.and_then(|object| self.body(object)).is_some_and(|body| body.leave(waiter)) {
            // What it waits for has happened, and the answer, which grants nothing, is on its way.
            return;
        }
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        self.core.answer(gone.client, gone.call, Err(Fault::Cancelled));
        self.has_left(gone.object, gone.want);
    }

    /// Takes back what a call was granted, if its answer is unread.
    pub(super) fn reject(&mut self, client: ClientId, call: u64) {
        let answer = self.core.clients.get(client).and_then(|client| client.delivered_to(call));
        while let Some(answer) = answer
            && let Some(of) = self.core.clients.get_mut(client)
            && let Some(delivery) = of.take_delivery(call, answer)
        {
            self.core.work.charge(delivery.items.len().saturating_add(1).saturating_mul(VALUE));
            self.take_back(delivery);
        }
        while let Some(of) = self.core.clients.get_mut(client)
            && let Some(grant) = of.take_grant(call)
        {
            self.take_back_grant(client, grant);
        }
    }

    fn take_back_grant(&mut self, client: ClientId, Grant { object, what, .. }: Grant) {
        if let Some(body) = self.body(object) {
            body.take_back_grant(client, what);
        }
        self.core.touch(object);
        if let Granted::LockAgain { notified_by: Some(condition), .. } = what {
            self.pass_notification_on(condition);
        }
    }

    /// Removes a waiter that has ended.
    pub(super) fn withdraw(&mut self, waiter: WaiterId) {
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        if !self.body(gone.object).is_some_and(|body| body.leave(waiter)) {
            // What it waited for happened before the client ended.
            if let Want::Room(items) = gone.want {
                self.core.let_go_all(items);
            }
            return;
        }
        self.has_left(gone.object, gone.want);
    }

    /// Handles the object whose line a waiter has left, and passes on a notification that it has not used.
    fn has_left(&mut self, object: ObjectId, want: Want) {
        let notified_by = match &want {
            Want::Lock(want) => want.notified_by,
            _ => None,
        };
        self.forget_waiter(object, want);
        if let Some(condition) = notified_by {
            self.pass_notification_on(condition);
        }
    }

    /// Handles the object whose line a waiter has left.
    fn forget_waiter(&mut self, object: ObjectId, want: Want) {
        match want {
            Want::Room(items) => self.core.let_go_all(items),
            Want::Parties { .. } => {
                let slot = self.core.registry.slot(object);
                if let Some(body) = slot.and_then(|slot| self.bodies.get_mut(slot)) {
                    body.party_left(&mut self.core);
                }
            }
            _ => {}
        }
        // The waiters after it may be able to go on now.
        self.core.touch(object);
    }

    /// Returns items that a client certainly did not read to their queue.
    pub(super) fn take_back(&mut self, delivery: Delivery) {
        let slot = self.core.registry.slot(delivery.queue);
        let Some(body) = slot.and_then(|slot| self.bodies.get_mut(slot)) else { return };
        // They were released when they were delivered, so they are stored again.
        let kept: Vec<_> = delivery.items.into_iter().map(|item| self.core.keep_again(item)).collect();
        body.take_back(kept, &mut self.core);
        self.core.touch(delivery.queue);
    }
}
