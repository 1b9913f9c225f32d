//! One turn of a connection: reading what it has sent.

use bytes::Bytes;
use mp_sys::deadline::now_nanos;

use super::EventLoop;
use crate::server::peer::{Phase, Read};
use crate::wire::frame::claimed_bequest;
use crate::wire::inbound::Garbage;

/// How the turn of a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Everything that had arrived was read.
    Over,
    /// There may be more to read.
    More,
    /// The client is gone.
    Gone {
        /// Whether it left answers unread.
        was_reset: bool,
    },
    /// The input cannot be understood.
    Garbage(Garbage),
    /// A call cannot be answered until everything that has arrived is done.
    Unsettled,
}

/// A connection with a call that depends on what other clients hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsettled {
    pub(super) slot: usize,
    /// The round in which the call arrived.
    round: u64,
    /// How many clients had ended once all sockets had been looked at.
    endings: Option<u64>,
}

impl EventLoop {
    /// Reads what one connection has sent, up to the limit of a turn. If it was read between two turns already,
    /// `caught` says so, and the bytes are at the front of the buffer.
    pub(super) fn turn(&mut self, slot: usize, caught: Option<Read>) {
        if let Some(peer) = self.peers.get_mut(slot) {
            self.crowd.count(slot, &mut peer.newest, now_nanos());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = match caught {
            Some(read) => self.hear_read(slot, &buffer, (0, read), buffer.len()),
            None => self.read_turn(slot, &mut buffer),
        };
        self.buffer = buffer;
        self.end_turn(slot, outcome);
    }

    /// Runs the calls that waited until everything that had arrived was done. That includes the ends of clients that had
    /// hung up by then, which come after everything they sent. Clients that hang up later are not waited for, so that no
    /// stream of them keeps a call waiting.
    pub(super) fn resume(&mut self, unsettled: Vec<Unsettled>) {
        let oldest_end = self.oldest_end();
        for waits in unsettled {
            let Some(peer) = self.peers.get_mut(waits.slot) else { continue };
            // Another connection may have taken the slot.
            if !peer.is_unsettled {
                continue;
            }
            // The round after the call is the one that has looked at all sockets.
            let ends = oldest_end <= waits.round.saturating_add(1);
            let endings = waits.endings.or_else(|| (!ends).then(|| self.state.endings()));
            let waits = Unsettled { endings, ..waits };
            let are_released = waits.endings.is_some_and(|endings| self.state.has_released(endings));
            if peer.hung_up_in.is_none() && !are_released {
                self.unsettled.push(waits);
                continue;
            }
            peer.is_unsettled = false;
            let mut buffer = std::mem::take(&mut self.buffer);
            let rest = peer.inbound.restore(&mut buffer);
            let bytes = buffer.get(..rest).unwrap_or_default();
            let memory = (buffer.len(), &Bytes::new());
            let outcome = self.hear(waits.slot, true, bytes, memory);
            self.buffer = buffer;
            // Nothing was read since, and no event will report it again.
            self.end_turn(waits.slot, outcome.err().unwrap_or(Turn::More));
        }
    }

    /// Returns the first round in which a client hung up whose end is still to be read, or [`u64::MAX`].
    ///
    /// One that only sends nothing more (SHUT_WR), and whose frames are left because it reads no answers, does not count: it lives, and may
    /// never read. Its frames have not been run, so whoever looks now sees what was acknowledged. If it dies, it can no longer be
    /// written to, and is read to its end.
    pub(super) fn oldest_end(&self) -> u64 {
        let hung_up = self.ready.iter().filter_map(|slot| self.peers.get(*slot)?.hung_up_in);
        hung_up.min().unwrap_or(u64::MAX)
    }

    fn end_turn(&mut self, slot: usize, outcome: Turn) {
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.charge_sealed();
        }
        match outcome {
            Turn::Over => {}
            Turn::More => self.make_ready(slot),
            Turn::Unsettled => {
                if let Some(peer) = self.peers.get_mut(slot) {
                    peer.is_unsettled = true;
                    self.unsettled.push(Unsettled { slot, round: self.rounds, endings: None });
                }
            }
            Turn::Gone { was_reset } => self.close(slot, was_reset),
            Turn::Garbage(garbage) => {
                tracing::warn!(?garbage, "a client does not speak the protocol: its connection is closed");
                self.close(slot, false);
            }
        }
    }

    fn read_turn(&mut self, slot: usize, buffer: &mut [u8]) -> Turn {
        let Some(peer) = self.peers.get_mut(slot) else { return Turn::Over };
        peer.is_ready = false;
        if peer.is_too_far_behind() {
            peer.is_paused = true;
            return Turn::Over;
        }
        if peer.is_unsettled {
            return Turn::Over;
        }
        if std::mem::take(&mut peer.is_late) {
            let rest = peer.inbound.take();
            return self.hear(slot, false, &rest, (buffer.len(), &rest)).err().unwrap_or(Turn::More);
        }
        if peer.ended.is_none()
            && let Some((read, is_filled)) = peer.read_long()
        {
            return self.hear_long(slot, buffer, read, is_filled);
        }
        let rest = peer.inbound.restore(buffer);
        let end = peer.inbound.share_of(buffer.len(), rest);
        // What was kept may fill the buffer: a long frame and what followed were read, and the frame made the client wait.
        let free = buffer.get_mut(rest..end).filter(|free| !free.is_empty());
        let read = peer.ended.unwrap_or_else(|| free.map_or(Read::Bytes(0), |free| peer.read(free)));
        let outcome = self.hear_read(slot, buffer, (rest, read), end);
        // The beginning of a long frame was read, and the rest is there or will soon be.
        if outcome == Turn::More
            && let Some(peer) = self.peers.get_mut(slot)
            && !peer.is_late
            && let Some((read, is_filled)) = peer.read_long()
        {
            return self.hear_long(slot, buffer, read, is_filled);
        }
        outcome
    }

    /// Processes the bytes of a long frame that were read to where it stays. If they filled it, nothing is known of what
    /// follows. That is usually nothing, since the client waits for its answer, so it is found out now and not in a turn.
    fn hear_long(&mut self, slot: usize, buffer: &mut [u8], read: Read, is_filled: bool) -> Turn {
        let Read::Bytes(len) = read else {
            return self.hear_read(slot, buffer, (0, read), buffer.len());
        };
        self.crowd.moves(len);
        let Some(peer) = self.peers.get_mut(slot) else { return Turn::Over };
        let mut may_have_more = is_filled || peer.hung_up_in.is_some();
        let mut next = 0;
        if is_filled && peer.hung_up_in.is_none() {
            let end = peer.inbound.share_of(buffer.len(), 0);
            match peer.read(buffer.get_mut(..end).unwrap_or_default()) {
                Read::Bytes(len) => (next, may_have_more) = (len, len == end),
                Read::Nothing => may_have_more = false,
                // The frame is run first.
                ended => peer.ended = Some(ended),
            }
        }
        self.crowd.moves(next);
        let bytes = buffer.get(..next).unwrap_or_default();
        match self.hear(slot, false, bytes, (buffer.len(), &Bytes::new())) {
            Ok(()) if may_have_more => Turn::More,
            Ok(()) => Turn::Over,
            Err(turn) => turn,
        }
    }

    /// Processes the bytes that were read, which follow the `rest` of earlier ones, up to at most `end` of the buffer.
    fn hear_read(&mut self, slot: usize, buffer: &[u8], (rest, read): (usize, Read), end: usize) -> Turn {
        let Some(peer) = self.peers.get_mut(slot) else { return Turn::Over };
        let was_paused = std::mem::take(&mut peer.is_paused);
        if matches!(read, Read::End | Read::Reset) {
            // A second read would not report how the connection ended.
            peer.ended = Some(read);
        }
        let room = end.saturating_sub(rest);
        let (len, then) = match read {
            Read::Bytes(len) if len == room || peer.hung_up_in.is_some() => (len, Turn::More),
            // The read did not fill the buffer, so nothing is left, and an event will report more.
            Read::Bytes(len) => (len, Turn::Over),
            Read::Nothing => (0, Turn::Over),
            Read::End => (0, Turn::Gone { was_reset: false }),
            Read::Reset => (0, Turn::Gone { was_reset: true }),
        };
        self.crowd.moves(len);
        if len == 0 && !was_paused && room > 0 {
            peer.inbound.keep_again(buffer.get(..rest).unwrap_or_default());
            return then;
        }
        let bytes = buffer.get(..rest.saturating_add(len)).unwrap_or_default();
        match self.hear(slot, false, bytes, (buffer.len(), &Bytes::new())) {
            Ok(()) => then,
            Err(turn) => turn,
        }
    }

    /// Processes bytes of a connection. `memory` is the length of the shared buffer, and the memory that holds the bytes
    /// if that is not the shared buffer.
    fn hear(
        &mut self,
        slot: usize,
        is_settled: bool,
        bytes: &[u8],
        memory: (usize, &Bytes),
    ) -> Result<(), Turn> {
        let Some(peer) = self.peers.get_mut(slot) else { return Ok(()) };
        if matches!(peer.phase, Phase::Proving(_))
            && let Some((bequest, rest)) = claimed_bequest(bytes)
        {
            if !self.claim(slot, bequest) {
                return Err(Turn::Gone { was_reset: false });
            }
            return if rest.is_empty() { Ok(()) } else { Err(Turn::Garbage(Garbage::NoHead)) };
        }
        let (generation, key, is_remote) = (peer.generation_of_keys, peer.key_number(), peer.is_remote());
        match &mut peer.phase {
            Phase::Proving(side) => {
                // Another host has proved that it has this key.
                let others = (!is_remote).then(|| self.terms.keys.others_of(generation));
                let next =
                    side.hear_any(self.terms.lent(generation, key), others.into_iter().flatten(), bytes);
                self.prove(slot, next)
            }
            // Whoever holds a bequest only holds it.
            Phase::Claiming(_) | Phase::Heirs(_) => Err(Turn::Garbage(Garbage::NoHead)),
            Phase::Live(client) => {
                let client = *client;
                self.hear_frames(slot, client, is_settled, bytes, memory)
            }
        }
    }
}
