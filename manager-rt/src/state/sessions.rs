//! Clients that connect again before the server knows that their earlier connection is broken.
//!
//! Between hosts, a connection that breaks is seen by one side first. A client that sees it connects again, and would then wait
//! for its own locks, until the server sees it, too. So each client says a secret number over each of its connections, and the
//! newest one ends the one before. Whoever does not know the number, which is sent encrypted, cannot end anything.
//!
//! What a client said over a connection that it has given up may arrive after what it said over the next one. So it also numbers
//! its connections: the one with the greater number stays, in whatever order the server hears of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::proto::Fault;
use crate::state::step::ClientId;

/// The newest connection of each client that has said a number. Each connection has one number at most, so this takes no more
/// than the records of clients pay for.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    newest: HashMap<u128, Newest>,
    /// The session and the serial number of each connection.
    numbers: HashMap<ClientId, (u128, u64)>,
    /// Connections that have a successor, and have to be closed.
    superseded: Vec<ClientId>,
}

/// The newest connection of a session.
#[derive(Debug, Clone, Copy)]
struct Newest {
    serial: u64,
    client: ClientId,
}

impl Sessions {
    /// Records that a connection belongs to a session, and which of its connections it is.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it said otherwise before.
    pub(super) fn begin(&mut self, session: u128, serial: u64, client: ClientId) -> Result<(), Fault> {
        if *self.numbers.entry(client).or_insert((session, serial)) != (session, serial) {
            return Err(Fault::Malformed);
        }
        let this = Newest { serial, client };
        match self.newest.entry(session) {
            Entry::Vacant(place) => drop(place.insert(this)),
            Entry::Occupied(place) if place.get().client == client => {}
            Entry::Occupied(mut place) if place.get().serial < serial => {
                self.superseded.push(place.insert(this).client);
            }
            // Its client has given it up for a later one.
            Entry::Occupied(_) => self.superseded.push(client),
        }
        Ok(())
    }

    /// Forgets a connection that has ended. Its session goes on with a successor, if there is one.
    pub(super) fn end(&mut self, client: ClientId) {
        if let Some((session, _)) = self.numbers.remove(&client)
            && self.newest.get(&session).is_some_and(|newest| newest.client == client)
        {
            self.newest.remove(&session);
        }
    }

    /// Returns the next connection to close.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<ClientId> {
        self.superseded.pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.newest.len().max(self.numbers.len())
    }
}
