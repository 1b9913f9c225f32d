//! Bequests: what a process has at the moment of a fork, and its children inherit.
//!
//! A bequest has a reference to each object to which the process had one. It ends with the socket that claims it, which
//! every process that inherited it holds. The notice of a bequest comes over the connection of the process, and the claim
//! over another one, so they may arrive in either order. A bequest that nobody claims ends like a transit.
//!
//! A claim that comes first costs nothing while it waits: whatever number it names, nothing is searched until that bequest is made
//! or refused.
//!
//! Nobody waits for the answer to the notice. So a refusal is kept until the claim comes, and is told to its holders.

use crate::count::{count_of, nanos_of};
use crate::limits::TRANSIT_GRACE;
use crate::proto::Fault;
use crate::state::charges::{CLIENT_BYTES, REFERENCE_BYTES};
use crate::state::unfinished::Rest;
use crate::state::waiters::Timer;
use crate::state::{Caller, Claimed, State};

/// The most refusals that are kept. Beyond that, the oldest is forgotten, and its holders only learn that their socket was
/// closed.
pub(super) const REFUSALS_MAX: usize = 1_024;

/// What a bequest takes in addition to its references, in bytes. Its place among those that nobody has claimed is small
/// beside the record of a client.
const BEQUEST_BYTES: usize = 2 * CLIENT_BYTES;

impl State {
    /// Begins to make a bequest of all references of the caller. If it is refused, whoever claims it learns why.
    pub(super) fn bequeath(&mut self, caller: Caller<'_>, bequest: u128) -> Result<Rest, Fault> {
        let begun = self.begin_bequest(caller, bequest);
        if let Err(fault) = begun {
            let refused = &mut self.core.refused_bequests;
            if refused.len() >= REFUSALS_MAX {
                refused.pop_front();
            }
            refused.push_back((bequest, fault));
        }
        if self.core.claims.awaited.remove(&bequest) {
            self.core.claims.claimable.push(bequest);
        }
        begun
    }

    fn begin_bequest(&mut self, caller: Caller<'_>, bequest: u128) -> Result<Rest, Fault> {
        let client = self.core.clients.get_mut(caller.client).ok_or(Fault::Unauthorised)?;
        let (references, share) = (client.references(), client.share().clone());
        let limit = self.core.limits.bequests;
        if self.core.clients.heirs() >= limit {
            return Err(Fault::TooMany { limit: count_of(limit) });
        }
        if self.core.bequests.contains_key(&bequest) {
            return Err(Fault::Malformed);
        }
        let bytes = references.saturating_mul(REFERENCE_BYTES).saturating_add(BEQUEST_BYTES);
        share.check_records(bytes)?;
        let heirs = self.core.clients.insert_heir(&self.core.memory.account, share);
        let lapses = self.core.after(nanos_of(TRANSIT_GRACE));
        let timer = self.core.waiters.add_timer(lapses, Timer::Bequest(bequest));
        self.core.bequests.insert(bequest, (heirs, timer));
        Ok(Rest::Bequeath { heirs, after: None })
    }

    /// Lets a connection have a bequest. If the bequest has not been made yet, [`next_claimable`](Self::next_claimable) returns it
    /// once it is made or refused.
    pub fn claim(&mut self, bequest: u128) -> Claimed {
        #[cfg(test)]
        {
            self.core.claims.searched = self.core.claims.searched.saturating_add(1);
        }
        if let Some((heirs, timer)) = self.core.bequests.remove(&bequest) {
            self.core.waiters.remove_timer(timer);
            return Claimed::Heirs(heirs);
        }
        let refused = &mut self.core.refused_bequests;
        let place = refused.iter().position(|(number, _)| *number == bequest);
        match place.and_then(|place| refused.remove(place)) {
            Some((_, fault)) => Claimed::Refused(fault),
            None => {
                self.core.claims.awaited.insert(bequest);
                Claimed::Nothing
            }
        }
    }

    /// Removes and returns a bequest that can be claimed now, and could not be claimed before.
    pub fn next_claimable(&mut self) -> Option<u128> {
        self.core.claims.claimable.pop()
    }

    /// Forgets that a connection waits for a bequest.
    pub fn await_no_longer(&mut self, bequest: u128) {
        self.core.claims.awaited.remove(&bequest);
    }

    /// Returns how often a bequest was searched.
    #[cfg(test)]
    pub(crate) const fn claims_searched(&self) -> usize {
        self.core.claims.searched
    }

    /// Ends a bequest that nobody has claimed in time.
    pub(super) fn lapse(&mut self, bequest: u128) {
        if let Some((heirs, _)) = self.core.bequests.remove(&bequest) {
            self.begin_ending(heirs, (u64::MAX, u64::MAX));
        }
    }
}
