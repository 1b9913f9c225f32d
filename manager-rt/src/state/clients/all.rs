//! All connections.

use std::sync::Arc;

use slab::Slab;

use super::{CLIENT_BYTES, Client, FORGOTTEN_AT_ONCE, FORGOTTEN_LEAST};
use crate::account::{Account, Share};
use crate::state::step::ClientId;

/// All connections.
#[derive(Debug, Default)]
pub(in crate::state) struct Clients {
    all: Slab<Client>,
    serial: u64,
    /// How many of them are the holders of a bequest.
    heirs: usize,
}

impl Clients {
    pub(in crate::state) fn insert(&mut self, account: &Arc<Account>, share: Share, now: u64) -> ClientId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let client = Client::new(serial, now, account.charge(CLIENT_BYTES), share);
        ClientId { slot: self.all.insert(client), serial }
    }

    pub(in crate::state) fn contains(&self, id: ClientId) -> bool {
        self.get(id).is_some()
    }

    pub(in crate::state) fn get(&self, id: ClientId) -> Option<&Client> {
        self.all.get(id.slot).filter(|client| client.serial == id.serial)
    }

    /// Returns `true` if an operation of a client goes on in later steps.
    pub(in crate::state) fn is_unfinished(&self, id: ClientId) -> bool {
        self.get(id).is_some_and(|client| client.unfinished.is_some())
    }

    #[inline]
    pub(in crate::state) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.all.get_mut(id.slot).filter(|client| client.serial == id.serial)
    }

    /// Adds what holds the references of a bequest, within the share of the client that made it. It is no client to anybody else.
    pub(in crate::state) fn insert_heir(&mut self, account: &Arc<Account>, share: Share) -> ClientId {
        let id = self.insert(account, share, 0);
        if let Some(client) = self.get_mut(id) {
            client.is_heir = true;
            self.heirs = self.heirs.saturating_add(1);
        }
        id
    }

    pub(in crate::state) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.get_mut(id)?;
        let removed = self.all.try_remove(id.slot)?;
        if removed.is_heir {
            self.heirs = self.heirs.saturating_sub(1);
        }
        Some(removed)
    }

    /// Returns the number of clients.
    pub(in crate::state) fn len(&self) -> usize {
        self.all.len().saturating_sub(self.heirs)
    }

    /// Returns the number of bequests.
    pub(in crate::state) const fn heirs(&self) -> usize {
        self.heirs
    }

    pub(in crate::state) fn slots(&self) -> usize {
        self.all.capacity()
    }

    /// Returns the client in a slot, unless it is a bequest.
    pub(in crate::state) fn in_slot(&self, slot: usize) -> Option<&Client> {
        self.all.get(slot).filter(|client| !client.is_heir)
    }

    #[cfg(test)]
    pub(in crate::state) fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.all.iter().map(|(slot, client)| (ClientId { slot, serial: client.serial }, client))
    }

    /// Forgets the deliveries of answers that the client has read. If they are many, the next calls forget the others.
    pub(in crate::state) fn acknowledge(&mut self, id: ClientId, read: u64) {
        let Some(client) = self.get_mut(id) else { return };
        client.read = client.read.max(read);
        client.forget_grants(read);
        let mut left = FORGOTTEN_AT_ONCE;
        while left > 0
            && let Some(delivery) = client.deliveries.pop_read(read)
        {
            client.forget(&delivery);
            left = left.saturating_sub(delivery.items.len().max(FORGOTTEN_LEAST));
        }
    }
}
