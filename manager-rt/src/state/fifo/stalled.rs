//! Consumers that wait apart from the line, because their clients had no room for an item.
//!
//! The share is that of a client, so one of its consumers stands for all: only the longest waiter of a client is looked at,
//! and only for an item that is shorter than all for which the client had no room.

use std::collections::{BTreeMap, BTreeSet};

use crate::count::in_tree;
use crate::state::step::ClientId;
use crate::state::waiters::{Line, WaiterId};

/// What is kept for a client, and for a consumer, in bytes.
const CLIENT: usize = in_tree::<(ClientId, Consumers)>() + in_tree::<(usize, ClientId)>();
const WAITER: usize = in_tree::<(WaiterId, ClientId)>();

/// Consumers without room, by client.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    clients: BTreeMap<ClientId, Consumers>,
    /// The clients by the bytes for which they have no room.
    needs: BTreeSet<(usize, ClientId)>,
    waiters: BTreeMap<WaiterId, ClientId>,
    /// Consumers that are in the line again, and for whose clients they stand.
    standing: BTreeMap<WaiterId, ClientId>,
}

/// The consumers of one client.
#[derive(Debug)]
struct Consumers {
    line: Line,
    /// For so many bytes, the client had no room when it was looked at last.
    need: usize,
}

impl Stalled {
    /// Returns what they take, in bytes, in addition to a place in a line.
    pub(super) fn bytes(&self) -> usize {
        let of_waiters = self.waiters.len().saturating_add(self.standing.len()).saturating_mul(WAITER);
        self.clients.len().saturating_mul(CLIENT).saturating_add(of_waiters)
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Adds a consumer whose client has no room for this many bytes.
    pub(super) fn insert(&mut self, waiter: WaiterId, client: ClientId, bytes: usize) {
        self.waiters.insert(waiter, client);
        self.clients
            .entry(client)
            .or_insert_with(|| Consumers { line: Line::new(), need: bytes })
            .line
            .insert(waiter);
        self.needs_now(client, bytes);
    }

    /// Removes a consumer. The others of its client are looked at again: it has stood for them.
    pub(super) fn remove(&mut self, waiter: WaiterId) -> bool {
        let Some(client) = self.waiters.remove(&waiter) else { return false };
        self.needs_now(client, usize::MAX);
        if let Some(consumers) = self.clients.get_mut(&client) {
            consumers.line.remove(&waiter);
            if consumers.line.is_empty() {
                self.needs.remove(&(consumers.need, client));
                self.clients.remove(&client);
            }
        }
        true
    }

    /// Records for how many bytes a client has no room.
    pub(super) fn needs_now(&mut self, client: ClientId, bytes: usize) {
        if let Some(consumers) = self.clients.get_mut(&client) {
            self.needs.remove(&(std::mem::replace(&mut consumers.need, bytes), client));
            self.needs.insert((bytes, client));
        }
    }

    /// Returns a client that may have room for this many bytes, and its longest waiter.
    pub(super) fn next_for(&self, bytes: usize) -> Option<(ClientId, WaiterId)> {
        let least = ClientId { slot: 0, serial: 0 };
        let (_, client) = *self.needs.range((bytes.saturating_add(1), least)..).next()?;
        let first = self.clients.get(&client)?.line.first()?;
        Some((client, *first))
    }

    /// Removes a consumer that is in the line again and stands for the others of its client, which wait for it.
    pub(super) fn stands(&mut self, waiter: WaiterId, client: ClientId) {
        if self.remove(waiter) {
            self.needs_now(client, 0);
            self.standing.insert(waiter, client);
        }
    }

    /// Lets the others of its client be looked at, if this consumer has stood for them and is no longer in the line.
    pub(super) fn has_left(&mut self, waiter: WaiterId) {
        if let Some(client) = self.standing.remove(&waiter) {
            self.needs_now(client, usize::MAX);
        }
    }

    /// Removes all consumers.
    pub(super) fn take(&mut self) -> Line {
        std::mem::take(self).waiters.into_keys().collect()
    }
}
