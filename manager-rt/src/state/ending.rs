//! The ends of clients, in steps.
//!
//! A client that has ended is no longer connected at once: it gets nothing any more, and lines pass over its calls. What
//! it leaves is released in this order: what an operation has not finished; what it had not learned of; locks, permits, leases and registrations; items that
//! it did not read, before others take their room in the queue; its places in lines; references. Clients that have ended
//! earlier come first.
//!
//! A call that would be refused because of what an ended client still has waits until that is released: see
//! [`State::has_released`].

use crate::proto::ObjectId;
use crate::state::State;
use crate::state::grants::{Grant, Granted};
use crate::state::kinds::Body;
use crate::state::step::{ClientId, Departure, Effects};
use crate::state::work::{CALLER, Ending, Frozen, REFERENCE, VALUE};

impl State {
    /// Ends a client: what it held passes on, and its waiting calls end. If it has much, [`tidy`](Self::tidy) continues
    /// with the rest.
    pub fn disconnect(&mut self, departure: Departure, effects: &mut Effects) {
        let Departure { client, now, unread, doubtful } = departure;
        self.begin(now);
        self.begin_ending(client, (unread, doubtful));
        self.settle(effects);
    }

    /// Ends a client within a step. It did not read its answers from `unread` on, and perhaps not those from `doubtful` on.
    pub(super) fn begin_ending(&mut self, id: ClientId, (unread, doubtful): (u64, u64)) {
        let Some(client) = self.core.clients.remove(id) else { return };
        self.core.sessions.end(id);
        let is_next = self.core.work.ending.is_empty();
        self.core.work.ending.push_back(Ending { id, client, unread, doubtful });
        self.endings_begun = self.endings_begun.wrapping_add(1);
        if is_next {
            self.continue_endings();
        }
    }

    /// Returns how many clients have ended so far, for [`has_released`](Self::has_released).
    #[must_use]
    pub const fn endings(&self) -> u64 {
        self.endings_begun
    }

    /// Returns `true` if everything that the first `endings` clients that ended had is released.
    #[must_use]
    pub fn has_released(&self, endings: u64) -> bool {
        let left = u64::try_from(self.core.work.ending.len()).unwrap_or(u64::MAX);
        self.endings_begun.saturating_sub(left) >= endings
    }

    /// Continues with the ends of clients as far as the step allows.
    pub(super) fn continue_endings(&mut self) {
        while !self.core.work.is_over()
            && let Some(mut ending) = self.core.work.ending.pop_front()
        {
            if !self.continue_ending(&mut ending) {
                self.core.work.ending.push_front(ending);
                return;
            }
            self.core.work.frozen = Frozen::None;
        }
    }

    /// Returns `true` once nothing is left of the client.
    fn continue_ending(&mut self, ending: &mut Ending) -> bool {
        self.finish_for_others(ending)
            && self.settle_grants(ending)
            && self.release_holds(ending)
            && self.return_deliveries(ending)
            && self.leave_lines(ending)
            && self.drop_references(ending)
    }

    /// Tasks that the client may not have seen do not count as delivered, and notifications that it has not learned of go
    /// to other waiters.
    fn settle_grants(&mut self, Ending { id, client, unread, doubtful }: &mut Ending) -> bool {
        while !self.core.work.is_over() {
            let Some(Grant { number, object, what, .. }) = client.pop_grant() else { return true };
            self.core.work.charge(CALLER);
            match what {
                Granted::Task { lease } if number >= *doubtful => {
                    if let Some(Body::JoinableQueue(queue)) = self.body(object) {
                        queue.was_not_seen(*id, lease);
                    }
                }
                Granted::LockAgain { notified_by: Some(condition), .. } if number >= *unread => {
                    self.pass_notification_on(condition);
                }
                _ => {}
            }
        }
        false
    }

    fn release_holds(&mut self, Ending { id, client, .. }: &mut Ending) -> bool {
        while let Some(object) = client.first_hold() {
            if self.core.work.is_over() {
                return false;
            }
            let body = self.core.registry.slot(object).and_then(|slot| self.bodies.get_mut(slot));
            if !body.is_none_or(|body| body.release_client(object, *id, &mut self.core)) {
                // Nobody sees a part of its tasks come back.
                self.core.work.frozen = Frozen::One(object);
                return false;
            }
            self.core.work.frozen = Frozen::None;
            self.core.work.charge(CALLER);
            client.remove_hold(object);
        }
        true
    }

    fn leave_lines(&mut self, Ending { client, .. }: &mut Ending) -> bool {
        while let Some((call, waiter)) = client.first_waiter() {
            if self.core.work.is_over() {
                return false;
            }
            self.core.work.charge(CALLER);
            self.withdraw(waiter);
            client.remove_waiter(call);
        }
        true
    }

    fn return_deliveries(&mut self, Ending { client, unread, .. }: &mut Ending) -> bool {
        while let Some(delivery) = client.pop_delivery() {
            self.core.work.charge(delivery.items.len().saturating_add(1).saturating_mul(VALUE));
            if delivery.number >= client.read.max(*unread) {
                self.take_back(delivery);
            }
            if self.core.work.is_over() {
                // The newest item has come back first. Nobody sees a part of the items.
                self.core.work.frozen = Frozen::Queues;
                return false;
            }
        }
        self.core.work.frozen = Frozen::None;
        true
    }

    fn drop_references(&mut self, Ending { client, .. }: &mut Ending) -> bool {
        while let Some((object, count)) = client.pop_reference() {
            self.core.work.charge(REFERENCE);
            self.core.registry.release(object, count);
            if self.core.work.is_over() {
                return false;
            }
        }
        true
    }

    /// Returns `true` if an object takes no operation now, because earlier ones are not finished.
    pub(super) fn is_held_up(&self, object: ObjectId) -> bool {
        let work = &self.core.work;
        if !work.holds_up_any() {
            return false;
        }
        work.holds_up(object) || self.is_frozen(object)
    }

    pub(super) fn is_frozen(&self, object: ObjectId) -> bool {
        use crate::proto::Kind::{JoinableQueue, Queue};

        match self.core.work.frozen {
            Frozen::None => false,
            Frozen::One(frozen) => frozen == object,
            Frozen::Queues => {
                let entry = self.core.registry.entry(object);
                entry.is_some_and(|entry| matches!(entry.kind, Queue | JoinableQueue))
            }
        }
    }
}
