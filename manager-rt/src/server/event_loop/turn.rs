//! One turn of a connection: reading, decoding and running what it has sent.

use bytes::Bytes;
use mp_sys::deadline::now_nanos;

use super::EventLoop;
use crate::server::dispatch;
use crate::server::peer::{Peer, Phase, Read};
use crate::state::{Caller, ClientId, Heard};
use crate::wire::frame::Head;
use crate::wire::inbound::{Frame, Garbage, Inbound};

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

/// The part of the received bytes that was not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// At most the beginning of a frame.
    Nothing,
    /// Frames that were left because too many answers are unread.
    Paused,
    /// Frames that were left because the first of them depends on what else has arrived.
    Unsettled,
}

impl EventLoop {
    /// Reads what one connection has sent, up to the limit of a turn. If it was read between two turns already,
    /// `caught` says so, and the bytes are at the front of the buffer.
    pub(super) fn turn(&mut self, slot: usize, caught: Option<Read>) {
        if let Some(peer) = self.peers.get_mut(slot) {
            self.crowd.count(&mut peer.newest, now_nanos());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = match caught {
            Some(read) => self.hear_read(slot, &buffer, (0, read)),
            None => self.read_turn(slot, &mut buffer),
        };
        self.buffer = buffer;
        self.end_turn(slot, outcome);
    }

    /// Runs the calls that waited until everything that had arrived was done. That includes the ends of clients that
    /// have hung up, which come after everything they sent.
    pub(super) fn resume(&mut self, unsettled: Vec<usize>) {
        let ends = self.ready.iter().any(|slot| self.peers.get(*slot).is_some_and(|peer| peer.has_hung_up));
        for slot in unsettled {
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            // Another connection may have taken the slot.
            if !peer.is_unsettled {
                continue;
            }
            if ends && !peer.has_hung_up {
                self.unsettled.push(slot);
                continue;
            }
            peer.is_unsettled = false;
            let mut buffer = std::mem::take(&mut self.buffer);
            let rest = peer.inbound.restore(&mut buffer);
            let bytes = buffer.get(..rest).unwrap_or_default();
            let outcome = self.hear(slot, true, bytes, buffer.len());
            self.buffer = buffer;
            // Nothing was read since, and no event will report it again.
            self.end_turn(slot, outcome.err().unwrap_or(Turn::More));
        }
    }

    fn end_turn(&mut self, slot: usize, outcome: Turn) {
        match outcome {
            Turn::Over => {}
            Turn::More => self.make_ready(slot),
            Turn::Unsettled => {
                if let Some(peer) = self.peers.get_mut(slot) {
                    peer.is_unsettled = true;
                    self.unsettled.push(slot);
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
        let rest = peer.inbound.restore(buffer);
        let read = peer.read(buffer.get_mut(rest..).unwrap_or_default());
        self.hear_read(slot, buffer, (rest, read))
    }

    /// Processes the bytes that were read, which follow the `rest` of earlier ones.
    fn hear_read(&mut self, slot: usize, buffer: &[u8], (rest, read): (usize, Read)) -> Turn {
        let Some(peer) = self.peers.get_mut(slot) else { return Turn::Over };
        let was_paused = std::mem::take(&mut peer.is_paused);
        let room = buffer.len().saturating_sub(rest);
        let (len, then) = match read {
            Read::Bytes(len) if len == room || peer.has_hung_up => (len, Turn::More),
            // The read did not fill the buffer, so nothing is left, and an event will report more.
            Read::Bytes(len) => (len, Turn::Over),
            Read::Nothing => (0, Turn::Over),
            Read::End => (0, Turn::Gone { was_reset: false }),
            Read::Reset => (0, Turn::Gone { was_reset: true }),
        };
        if len == 0 && !was_paused {
            peer.inbound.keep(buffer.get(..rest).unwrap_or_default());
            return then;
        }
        let bytes = buffer.get(..rest.saturating_add(len)).unwrap_or_default();
        match self.hear(slot, false, bytes, buffer.len()) {
            Ok(()) => then,
            Err(turn) => turn,
        }
    }

    /// Processes bytes of a connection.
    fn hear(&mut self, slot: usize, is_settled: bool, bytes: &[u8], buffer_len: usize) -> Result<(), Turn> {
        let Some(peer) = self.peers.get_mut(slot) else { return Ok(()) };
        match &mut peer.phase {
            Phase::Proving(side) => {
                let next = side.hear(self.terms.lent(), bytes);
                self.prove(slot, next)
            }
            Phase::Live(client) => {
                let client = *client;
                self.hear_frames(slot, client, is_settled, bytes, buffer_len)
            }
        }
    }

    fn hear_frames(
        &mut self,
        slot: usize,
        client: ClientId,
        is_settled: bool,
        bytes: &[u8],
        buffer_len: usize,
    ) -> Result<(), Turn> {
        let mut inbound = match self.peers.get_mut(slot) {
            Some(peer) => std::mem::take(&mut peer.inbound),
            None => return Ok(()),
        };
        let outcome = self.hear_all(&mut inbound, client, is_settled, bytes, buffer_len);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.inbound = inbound;
            peer.is_paused |= outcome == Ok(Left::Paused);
        }
        match outcome {
            Ok(Left::Unsettled) => Err(Turn::Unsettled),
            Ok(Left::Nothing | Left::Paused) => Ok(()),
            Err(garbage) => Err(Turn::Garbage(garbage)),
        }
    }

    /// Runs the received frames until one of them has to wait.
    fn hear_all(
        &mut self,
        inbound: &mut Inbound,
        client: ClientId,
        is_settled: bool,
        bytes: &[u8],
        buffer_len: usize,
    ) -> Result<Left, Garbage> {
        let mut bytes = bytes;
        let no_frame = Bytes::new();
        let mut from_here = bytes;
        while let Some(frame) = inbound.next(&mut bytes, buffer_len)? {
            let heard = match frame {
                Frame::Short(head, body) => self.run_frame(client, is_settled, head, body, &no_frame),
                // The frame carries a value, and no such call is refused because of something that a death would
                // change.
                Frame::Long(head, body) => self.run_frame(client, true, head, &body, &body),
            };
            if heard == Heard::Unsettled {
                inbound.keep(from_here);
                return Ok(Left::Unsettled);
            }
            from_here = bytes;
            self.distribute();
            let slot = self.slots.get(client.slot()).copied();
            if slot.and_then(|slot| self.peers.get(slot)).is_some_and(Peer::is_too_far_behind) {
                inbound.keep(bytes);
                return Ok(Left::Paused);
            }
        }
        inbound.keep(bytes);
        Ok(Left::Nothing)
    }

    /// Runs one frame of a client.
    fn run_frame(
        &mut self,
        client: ClientId,
        is_settled: bool,
        head: Head,
        body: &[u8],
        frame: &Bytes,
    ) -> Heard {
        self.peer_cpu = head.cpu;
        self.state.acknowledge(client, head.read);
        let caller = Caller { client, call: head.call, now: now_nanos(), frame, is_settled };
        dispatch::run(&mut self.state, caller, head.kind, body, &mut self.effects)
    }
}
