//! Calls that wait until their clients have room in their shares.

use super::Core;
use crate::proto::ObjectId;
use crate::state::step::ClientId;
use crate::state::waiters::WaiterId;
use crate::state::work::CALLER;

impl Core {
    /// Lets a waiter, which has left its line, wait until its client has this many bytes of room in its share.
    pub(in crate::state) fn stall(&mut self, id: WaiterId, bytes: usize) {
        let Some(waiter) = self.waiters.get_mut(id) else { return };
        if let Some(client) = self.clients.get_mut(waiter.client) {
            waiter.stalled_for = bytes;
            client.stall(id, bytes);
        }
    }

    /// Takes [`stall`](Self::stall) back.
    pub(in crate::state) fn unstall(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiters.get_mut(id) else { return };
        let bytes = std::mem::take(&mut waiter.stalled_for);
        if let Some(client) = self.clients.get_mut(waiter.client) {
            client.go_on(id, bytes);
        }
    }

    /// Records that a client may have more room in its share than before. Its stalled calls are looked at later, and those
    /// of nobody else: others may be many.
    #[inline]
    pub(in crate::state) fn may_have_room(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && client.has_stalled()
            && !std::mem::replace(&mut client.is_roomier, true)
        {
            self.roomier.push_back(id);
        }
    }

    /// Returns `true` if a call that has waited for room in its client's share may find it now.
    pub(in crate::state) fn may_any_go_on(&self) -> bool {
        !self.roomier.is_empty()
    }

    /// Removes and returns a call that has waited for room and finds it now, with its object, as far as the step allows.
    pub(in crate::state) fn next_with_room(&mut self) -> Option<(WaiterId, ObjectId)> {
        while !self.work.is_over()
            && let Some(id) = self.roomier.front().copied()
        {
            self.work.charge(CALLER);
            let found = self.clients.get(id).and_then(|client| client.with_room());
            if let Some(waiter) = found {
                self.unstall(waiter);
                let object = self.waiters.get(waiter)?.object;
                return Some((waiter, object));
            }
            self.roomier.pop_front();
            if let Some(client) = self.clients.get_mut(id) {
                client.is_roomier = false;
            }
        }
        None
    }
}
