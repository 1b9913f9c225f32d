//! Bequests: what a process has at the moment of a fork, and its children inherit.
//!
//! A bequest has a reference to each object to which the process had one. It ends with the socket that claims it, which
//! every process that inherited it holds. The notice of a bequest comes over the connection of the process, and the claim
//! over another one, so they may arrive in either order. A bequest that nobody claims ends like a transit.

use crate::count::{count_of, nanos_of};
use crate::limits::TRANSIT_GRACE;
use crate::proto::Fault;
use crate::state::charges::{CLIENT_BYTES, REFERENCE_BYTES};
use crate::state::unfinished::Rest;
use crate::state::waiters::Timer;
use crate::state::{Caller, ClientId, State};

/// What a bequest takes in addition to its references, in bytes. Its place among those that nobody has claimed is small
/// beside the record of a client.
const BEQUEST_BYTES: usize = 2 * CLIENT_BYTES;

impl State {
    /// Begins to make a bequest of all references of the caller.
    pub(super) fn bequeath(&mut self, caller: Caller<'_>, bequest: u128) -> Result<Rest, Fault> {
        let client = self.core.clients.get_mut(caller.client).ok_or(Fault::Unauthorised)?;
        let references = client.references();
        let limit = self.core.limits.bequests;
        if self.core.clients.heirs() >= limit {
            return Err(Fault::TooMany { limit: count_of(limit) });
        }
        if self.core.bequests.contains_key(&bequest) {
            return Err(Fault::Malformed);
        }
        let bytes = references.saturating_mul(REFERENCE_BYTES).saturating_add(BEQUEST_BYTES);
        self.core.memory.account.check_reserve(bytes)?;
        let heirs = self.core.clients.insert_heir(&self.core.memory.account);
        let lapses = self.core.after(nanos_of(TRANSIT_GRACE));
        let timer = self.core.waiters.add_timer(lapses, Timer::Bequest(bequest));
        self.core.bequests.insert(bequest, (heirs, timer));
        Ok(Rest::Bequeath { heirs, after: None })
    }

    /// Lets a connection have a bequest, until it [disconnects](Self::disconnect). Returns `None` if there is none with
    /// this number, or another connection has it.
    pub fn claim(&mut self, bequest: u128) -> Option<ClientId> {
        let (heirs, timer) = self.core.bequests.remove(&bequest)?;
        self.core.waiters.remove_timer(timer);
        Some(heirs)
    }

    /// Ends a bequest that nobody has claimed in time.
    pub(super) fn lapse(&mut self, bequest: u128) {
        if let Some((heirs, _)) = self.core.bequests.remove(&bequest) {
            self.begin_ending(heirs, (u64::MAX, u64::MAX));
        }
    }
}
