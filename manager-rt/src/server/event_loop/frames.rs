//! Running the frames that one turn of a connection has read, until one of them has to wait.

use bytes::Bytes;
use mp_sys::deadline::now_nanos;

use super::EventLoop;
use super::turn::Turn;
use crate::proto::Fault;
use crate::server::dispatch;
use crate::server::event_loop::clock::UNITS_PER_LOOK;
use crate::server::peer::Peer;
use crate::state::{Caller, ClientId, Heard};
use crate::wire::frame::{FrameKind, Head};
use crate::wire::inbound::{Frame, Garbage, Inbound};

/// Out of this many frames that are little work, one is preceded by a look at the clock. They take a microsecond together, and
/// a look takes a tenth of what one of them does.
const LIGHT_FRAMES_PER_LOOK: u32 = 4;

/// The part of the received bytes that was not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// At most the beginning of a frame.
    Nothing,
    /// Frames that were left because too many answers are unread.
    Paused,
    /// Frames that were left because the first of them depends on what else has arrived.
    Unsettled,
    /// Frames that were left because the time of the turn is over.
    Late,
}

impl EventLoop {
    /// Runs frames of a client.
    pub(super) fn hear_frames(
        &mut self,
        slot: usize,
        client: ClientId,
        is_settled: bool,
        bytes: &[u8],
        memory: (usize, &Bytes),
    ) -> Result<(), Turn> {
        let mut inbound = match self.peers.get_mut(slot) {
            Some(peer) => std::mem::take(&mut peer.inbound),
            None => return Ok(()),
        };
        let outcome = self.hear_all(&mut inbound, client, is_settled, bytes, memory);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.inbound = inbound;
            peer.is_paused |= outcome == Ok(Left::Paused);
            peer.is_late |= outcome == Ok(Left::Late);
            if !peer.is_near() {
                // The number of its CPU says nothing here.
                self.peer_cpu = 0;
            }
        }
        match outcome {
            Ok(Left::Unsettled) => Err(Turn::Unsettled),
            Ok(Left::Late) => Err(Turn::More),
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
        (buffer_len, memory): (usize, &Bytes),
    ) -> Result<Left, Garbage> {
        let mut bytes = bytes;
        let no_frame = Bytes::new();
        let mut from_here = bytes;
        let mut clock = self.turn_clock();
        let mut light_frames = 0_u32;
        while let Some(frame) = inbound.next(&mut bytes, buffer_len)? {
            if light_frames.is_multiple_of(LIGHT_FRAMES_PER_LOOK) {
                self.frame_at = now_nanos();
            }
            let heard = match frame {
                Frame::Short(head, body) => self.run_frame(client, is_settled, head, body, &no_frame),
                Frame::Long(head, body) => {
                    let heard = self.run_frame(client, is_settled, head, &body, &body);
                    if heard == Heard::Unsettled {
                        inbound.put_back(head, body);
                        from_here = bytes;
                    }
                    heard
                }
                Frame::Refused(head, fault) => self.refuse_frame(client, head, fault),
            };
            if heard == Heard::Unsettled {
                self.keep(client, inbound, from_here, memory)?;
                return Ok(Left::Unsettled);
            }
            from_here = bytes;
            self.distribute();
            let slot = self.slots.get(client.slot()).copied();
            if slot.and_then(|slot| self.peers.get(slot)).is_some_and(Peer::is_too_far_behind) {
                self.keep(client, inbound, bytes, memory)?;
                return Ok(Left::Paused);
            }
            let units = self.state.units();
            light_frames = if units > UNITS_PER_LOOK { 0 } else { light_frames.wrapping_add(1) };
            if !bytes.is_empty() && clock.is_over(self.frame_at, units) {
                self.keep(client, inbound, bytes, memory)?;
                return Ok(Left::Late);
            }
        }
        self.keep(client, inbound, bytes, memory)?;
        Ok(Left::Nothing)
    }

    /// Keeps the rest of what was read for the next turn. An incomplete frame for which there is no memory is answered.
    fn keep(
        &mut self,
        client: ClientId,
        inbound: &mut Inbound,
        rest: &[u8],
        memory: &Bytes,
    ) -> Result<(), Garbage> {
        if let Some((head, fault)) = inbound.keep(rest, memory)? {
            self.refuse_frame(client, head, fault);
            self.distribute();
        }
        Ok(())
    }

    /// Answers a call for which there is no memory. A notice has no answer.
    fn refuse_frame(&mut self, client: ClientId, head: Head, fault: Fault) -> Heard {
        tracing::debug!(%fault, bytes = head.body_len, "a frame is refused");
        self.state.acknowledge(client, head.read);
        if head.kind != FrameKind::Notice {
            let (frame, now) = (&Bytes::new(), now_nanos());
            let caller = Caller { client, call: head.call, now, frame, is_settled: true };
            self.state.refuse(caller, fault, &mut self.effects);
        }
        Heard::Done
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
        #[cfg(test)]
        self.terms.check(head.kind, body);
        self.peer_cpu = head.cpu;
        self.state.acknowledge(client, head.read);
        let caller = Caller { client, call: head.call, now: self.frame_at, frame, is_settled };
        dispatch::run(&mut self.state, caller, head.kind, body, &mut self.effects)
    }
}
