//! Writing to connections, and closing them.

use mio::unix::SourceFd;
use mp_sys::deadline::now_nanos;

use super::EventLoop;
use super::relief::take_too_much;
use crate::server::peer::Phase;
use crate::state::{Activity, Departure};

impl EventLoop {
    /// Writes the pending answers. In the middle of a long pipeline, they wait until they are worth a write, unless this was
    /// the last round, or the server is about to disconnect those that do not read their answers.
    pub(super) fn flush(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            if let Some(peer) = self.peers.get_mut(slot) {
                if peer.may_write_later(self.frame_at)
                    && !self.is_ending
                    && !self.state.has_ended()
                    && !take_too_much(&self.unsent)
                {
                    self.later.push(slot);
                    continue;
                }
                peer.is_dirty = false;
                self.write(slot);
            }
        }
        std::mem::swap(&mut self.dirty, &mut self.later);
    }

    /// Writes all pending answers now, as far as their sockets have room, before the objects are saved: what a file says has
    /// been done is also said to whoever asked for it.
    pub(super) fn flush_all(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            if let Some(peer) = self.peers.get_mut(slot) {
                peer.is_dirty = false;
                self.write(slot);
            }
        }
    }

    /// Writes the pending answers of one connection, as far as its socket has room.
    pub(super) fn write(&mut self, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let unsent = peer.outbound.len();
        let done = peer.flush();
        self.crowd.moves(unsent.saturating_sub(peer.outbound.len()));
        peer.charge_sealed();
        if let Some(client) = peer.client() {
            self.state.has_written(client);
        }
        let number = peer.number();
        let is_cut_short = std::mem::take(&mut peer.is_cut_short);
        if peer.awaits_room == done || is_cut_short {
            peer.awaits_room = !done;
            if let Err(error) = self.register(number, slot, !done, false) {
                tracing::error!(%error, "a connection can no longer be watched");
                self.close(slot, false);
                return;
            }
        }
        if let Some(peer) = self.peers.get(slot)
            && peer.is_paused
            && !peer.is_too_far_behind()
        {
            self.make_ready(slot);
        }
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, slot: usize, was_reset: bool) {
        let Some(peer) = self.peers.try_remove(slot) else { return };
        if self.activity_of(&peer) != Activity::Looks
            && let Some(idle) = &mut self.idle
        {
            idle.has_left();
        }
        let number = peer.number();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&number)) {
            tracing::debug!(%error, "a connection was not watched");
        }
        match peer.client() {
            Some(client) => {
                let (unread, doubtful) = peer.first_unread(was_reset);
                let departure = Departure { client, now: now_nanos(), unread, doubtful };
                self.state.disconnect(departure, &mut self.effects);
                self.distribute();
            }
            None => {
                if let Phase::Claiming(bequest) = peer.phase {
                    self.claim_no_longer(bequest);
                }
                self.arrivals.forget(slot);
            }
        }
        self.arrivals.has_room();
    }
}
