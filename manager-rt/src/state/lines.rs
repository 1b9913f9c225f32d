//! Lines: serving them after a commit, and leaving them by timeout, cancellation or death.

use crate::proto::{Call, ConditionOp, Fault, LockOp, ObjectId, Op, Raw};
use crate::state::clients::Delivery;
use crate::state::kinds::Body;
use crate::state::waiters::{WaiterId, Want};
use crate::state::work::OBJECT;
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

    /// Ends a wait before what it waited for happened.
    pub(super) fn expire(&mut self, waiter: WaiterId, why: Fault) {
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
        self.core.answer(gone.client, gone.call, Err(why));
        self.forget_waiter(gone.object, gone.want);
    }

    /// Removes a waiter that has ended.
    pub(super) fn withdraw(&mut self, waiter: WaiterId) {
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        let notified_by = match &gone.want {
            Want::Lock(want) => want.notified_by,
            _ => None,
        };
        if !self.body(gone.object).is_some_and(|body| body.leave(waiter)) {
            // What it waited for happened before the client ended.
            if let Want::Room(items) = gone.want {
                self.core.let_go_all(items);
            }
            return;
        }
        self.forget_waiter(gone.object, gone.want);
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
