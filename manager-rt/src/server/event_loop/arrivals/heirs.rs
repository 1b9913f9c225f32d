//! Connections that claim a bequest.

use super::frame_of;
use crate::proto::{ManagerOp, Raw, Travels};
use crate::server::event_loop::EventLoop;
use crate::server::peer::Phase;
use crate::state::Claimed;

impl EventLoop {
    /// Lets connections have the bequests that they have waited for, and that were made or refused in this round. Nothing is
    /// done for those that go on waiting.
    pub(in crate::server::event_loop) fn let_heirs_in(&mut self) {
        while let Some(bequest) = self.state.next_claimable() {
            if let Some(slot) = self.arrivals.claims.remove(&bequest)
                && !self.claim(slot, bequest)
            {
                self.close(slot, false);
            }
        }
    }

    /// Forgets that a connection waits for a bequest.
    pub(in crate::server::event_loop) fn claim_no_longer(&mut self, bequest: u128) {
        self.arrivals.claims.remove(&bequest);
        self.state.await_no_longer(bequest);
    }

    /// Lets the processes that hold the other side of a connection have a bequest. If it was not made yet, the connection
    /// waits for it as long as a handshake may take. If it was refused, they are told why: returns `false`, and the
    /// connection has to be closed. So it has if another one waits for the same bequest.
    pub(in crate::server::event_loop) fn claim(&mut self, slot: usize, bequest: u128) -> bool {
        let Some(peer) = self.peers.get_mut(slot) else { return true };
        if self.arrivals.claims.contains_key(&bequest) {
            return false;
        }
        match self.state.claim(bequest) {
            Claimed::Heirs(heirs) => {
                peer.phase = Phase::Heirs(heirs);
                // The record of the heirs pays for it from now on.
                peer.handshake = None;
                let was_ready = std::mem::take(&mut peer.is_ready);
                self.arrivals.forget(slot);
                // Its end may have been seen before, and is not reported again.
                if was_ready {
                    self.make_ready(slot);
                }
            }
            Claimed::Refused(fault) => {
                tracing::warn!(%fault, "a bequest was refused");
                // Their version is not known, apart from that it has bequests.
                peer.outbound
                    .say(&frame_of(fault.known_to(ManagerOp::<Raw<'_>>::Bequeath { bequest }.since())));
                peer.flush();
                return false;
            }
            Claimed::Nothing => {
                peer.phase = Phase::Claiming(bequest);
                self.arrivals.claims.insert(bequest, slot);
            }
        }
        true
    }
}
