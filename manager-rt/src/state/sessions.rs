//! Clients that connect again before the server knows that their earlier connection is broken.
//!
//! Between hosts, a connection that breaks is seen by one side first. A client that sees it connects again, and would then wait
//! for its own locks, until the server sees it, too. So each client says a secret number over each of its connections, and the
//! newest one ends the one before. Whoever does not know the number, which is sent encrypted, cannot end anything.

use std::collections::HashMap;

use crate::proto::Fault;
use crate::state::step::ClientId;

/// The newest connection of each client that has said a number. Each connection has one number at most, so this takes no more
/// than the records of clients pay for.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    newest: HashMap<u128, ClientId>,
    numbers: HashMap<ClientId, u128>,
    /// Connections that have a successor, and have to be closed.
    superseded: Vec<ClientId>,
}

impl Sessions {
    /// Records that a connection belongs to a session.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it belongs to another one.
    pub(super) fn begin(&mut self, session: u128, client: ClientId) -> Result<(), Fault> {
        if *self.numbers.entry(client).or_insert(session) != session {
            return Err(Fault::Malformed);
        }
        if let Some(earlier) = self.newest.insert(session, client)
            && earlier != client
        {
            self.superseded.push(earlier);
        }
        Ok(())
    }

    /// Forgets a connection that has ended. Its session goes on with a successor, if there is one.
    pub(super) fn end(&mut self, client: ClientId) {
        if let Some(session) = self.numbers.remove(&client)
            && self.newest.get(&session) == Some(&client)
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
