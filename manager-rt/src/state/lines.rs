//! Lines: serving them after a commit, and leaving them by timeout, cancellation or death.

use crate::proto::{Call, ConditionOp, Fault, LockOp, ObjectId, Op, Raw};
use crate::state::clients::Delivery;
use crate::state::kinds::Body;
use crate::state::memory::BURIED_AT_ONCE;
use crate::state::waiters::{WaiterId, Want};
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
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        // One budget for the whole step: an object that ends because a value was released may itself have many values.
        let mut left = BURIED_AT_ONCE;
        loop {
            while let Some(object) = self.core.touched.pop() {
                let Some(slot) = self.core.registry.slot(object) else { continue };
                if let Some(body) = self.bodies.get_mut(slot) {
                    body.serve(object, &mut self.core);
                }
                self.bodies.recharge(slot, &mut self.core.memory.containers);
            }
            if self.core.has_retired() {
                self.core.bury(&mut left);
            }
            if !self.drop_unreferenced() {
                break;
            }
        }
        effects.answers.append(&mut self.core.outbox);
    }

    /// Ends objects without references. Returns `true` if there was one.
    pub(super) fn drop_unreferenced(&mut self) -> bool {
        let mut dropped = false;
        while let Some(object) = self.core.registry.pop_unreferenced() {
            self.end_object(object);
            dropped = true;
        }
        dropped
    }

    /// Ends a wait before what it waited for happened.
    pub(super) fn expire(&mut self, waiter: WaiterId, why: Fault) {
        let Some(waits) = self.core.waiters.get(waiter) else { return };
        let object = waits.object;
        if let Want::Notification { .. } = waits.want {
            // However the wait ends, the caller has its lock again.
            if let Some(body) = self.body(object) {
                body.leave(waiter);
            }
            self.line_up_for_lock(waiter, true);
            return;
        }
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        self.core.answer(gone.client, gone.call, Err(why));
        self.forget_waiter(waiter, gone.object, gone.want);
    }

    /// Removes a waiter that has ended.
    pub(super) fn withdraw(&mut self, waiter: WaiterId) {
        let Some(gone) = self.core.take_waiter(waiter) else { return };
        let notified_by = match &gone.want {
            Want::Lock(want) => want.notified_by,
            _ => None,
        };
        self.forget_waiter(waiter, gone.object, gone.want);
        if let Some(condition) = notified_by {
            self.pass_notification_on(condition);
        }
    }

    fn forget_waiter(&mut self, waiter: WaiterId, object: ObjectId, want: Want) {
        if let Some(body) = self.body(object) {
            body.leave(waiter);
        }
        match want {
            Want::Room(items) => items.into_iter().for_each(|item| self.core.let_go(item)),
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
