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
use crate::wire::inbound::{Frame, Garbage, Inbound, Keeping};
use crate::wire::together::Together;

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
        let mut from_here = bytes;
        let mut clock = self.turn_clock();
        let mut light_frames = 0_u32;
        let mut no_room = None;
        while let Some(frame) = inbound.next(&mut bytes, buffer_len)? {
            if light_frames.is_multiple_of(LIGHT_FRAMES_PER_LOOK) {
                self.frame_at = now_nanos();
            }
            let rest = (from_here, bytes);
            if self.hear_frame((client, inbound), is_settled, frame, (rest, memory), no_room)? {
                return Ok(Left::Unsettled);
            }
            from_here = bytes;
            self.distribute();
            let slot = self.slots.get(client.slot()).copied();
            let is_behind = slot.and_then(|slot| self.peers.get(slot)).is_some_and(Peer::is_too_far_behind);
            // Without memory for the rest, its calls are refused.
            no_room = if is_behind { self.keep(client, inbound, bytes, memory)? } else { None };
            if is_behind && no_room.is_none() {
                return Ok(Left::Paused);
            }
            let units = self.state.units();
            light_frames = if units > UNITS_PER_LOOK { 0 } else { light_frames.wrapping_add(1) };
            if (!bytes.is_empty() || inbound.has_back()) && clock.is_over(self.frame_at, units) {
                // Without memory for the rest, its calls are refused here, too, and the turn soon ends.
                no_room = self.keep(client, inbound, bytes, memory)?;
                if no_room.is_none() {
                    return Ok(Left::Late);
                }
            }
        }
        self.keep(client, inbound, bytes, memory)?;
        Ok(Left::Nothing)
    }

    /// Runs a frame, or refuses it, if it is a call and there is no room for calls. If it has to wait, keeps it with all that
    /// follows, and returns `true`. The bytes are those from the frame on and those behind it.
    ///
    /// If there is no memory for that, a call is refused. A notice has no answer and may release something, so it is run at
    /// once. If even that has to wait, it is kept nevertheless, and the calls behind it are refused.
    fn hear_frame(
        &mut self,
        (client, inbound): (ClientId, &mut Inbound),
        is_settled: bool,
        frame: Frame<'_>,
        ((from_here, behind), memory): ((&[u8], &[u8]), &Bytes),
        no_room: Option<Fault>,
    ) -> Result<bool, Garbage> {
        let (head, short, long) = match frame {
            Frame::Short(head, body) => (head, body, Bytes::new()),
            Frame::Long(head, body) => (head, &[][..], body),
            Frame::Refused(head, fault) => {
                self.refuse_frame(client, head, fault);
                return Ok(false);
            }
        };
        let is_long = !long.is_empty();
        let body = if is_long { &long[..] } else { short };
        let is_notice = head.kind == FrameKind::Notice;
        if let Some(fault) = no_room.filter(|_| !is_notice) {
            self.refuse_frame(client, head, fault);
            return Ok(false);
        }
        match self.run_frame(client, is_settled, head, body, &long) {
            Heard::Done => return Ok(false),
            Heard::Partly { done, left } => {
                self.put_rest_back((client, inbound), head, body, (done, left));
                return Ok(false);
            }
            Heard::Unsettled => {}
        }
        let rest = if is_long { behind } else { from_here };
        let no_room = self.keep(client, inbound, rest, memory)?;
        match no_room {
            Some(fault) if !is_notice => {
                self.refuse_frame(client, head, fault);
                return Ok(false);
            }
            Some(_) if self.run_frame(client, true, head, body, &long) != Heard::Unsettled => {
                return Ok(false);
            }
            Some(fault) => self.keep_notices(client, inbound, (rest, behind), fault)?,
            None => {}
        }
        if is_long {
            inbound.put_back(head, long);
        }
        Ok(true)
    }

    /// Puts back those of several calls that were not run, so that they come next. Without memory for them, they are refused.
    fn put_rest_back(
        &mut self,
        (client, inbound): (ClientId, &mut Inbound),
        head: Head,
        body: &[u8],
        (done, left): (u16, usize),
    ) {
        let FrameKind::Calls(count) = head.kind else { return };
        let body = Together::of(body).map_or_else(Vec::new, |together| together.with_last(left));
        let (kind, call) =
            (FrameKind::Calls(count.saturating_sub(done)), head.call.wrapping_add(u64::from(done)));
        let head = Head { body_len: u32::try_from(body.len()).unwrap_or(u32::MAX), kind, call, ..head };
        if let Err(full) = inbound.put_rest_back(head, body) {
            self.refuse_frame(client, head, full.into());
        }
    }

    /// Keeps the rest of what was read for the next turn. An incomplete frame for which there is no memory is answered. Returns
    /// why nothing was kept, if the rest begins with a complete frame for which there is no memory.
    fn keep(
        &mut self,
        client: ClientId,
        inbound: &mut Inbound,
        rest: &[u8],
        memory: &Bytes,
    ) -> Result<Option<Fault>, Garbage> {
        match inbound.keep(rest, memory)? {
            Keeping::Kept => Ok(None),
            Keeping::Refused(head, fault) => {
                self.refuse_frame(client, head, fault);
                self.distribute();
                Ok(None)
            }
            Keeping::NoRoom(fault) => Ok(Some(fault)),
        }
    }

    /// Keeps the notices of the rest, which begins with one that has to wait, and refuses the calls.
    fn keep_notices(
        &mut self,
        client: ClientId,
        inbound: &mut Inbound,
        (rest, behind): (&[u8], &[u8]),
        fault: Fault,
    ) -> Result<(), Garbage> {
        let first = rest.get(..rest.len().saturating_sub(behind.len())).unwrap_or_default();
        for head in inbound.keep_notices(first, behind)? {
            // What they say to have read may be what a notice before them gives back.
            self.answer_refused(client, head, fault);
        }
        self.distribute();
        Ok(())
    }

    /// Answers a call for which there is no memory. A notice has no answer.
    fn refuse_frame(&mut self, client: ClientId, head: Head, fault: Fault) {
        self.state.acknowledge(client, head.read);
        self.answer_refused(client, head, fault);
    }

    fn answer_refused(&mut self, client: ClientId, head: Head, fault: Fault) {
        tracing::debug!(%fault, bytes = head.body_len, "a frame is refused");
        if head.kind != FrameKind::Notice {
            let (frame, now) = (&Bytes::new(), now_nanos());
            let caller = Caller { client, call: head.call, now, frame, is_settled: true };
            match head.kind {
                FrameKind::Calls(count) => {
                    self.state.refuse_together(caller, (fault, count), &mut self.effects);
                }
                _ => self.state.refuse(caller, fault, &mut self.effects),
            }
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mio::Events;

    use crate::limits::VALUES_AT_ONCE_MAX;
    use crate::proto::{Answer, ListOp, ManagerOp, ObjectId, Op, Raw, Room, Scan, Spec, Wait};
    use crate::server::event_loop::relief::tests::with_client;

    /// The calls are counted, and not their time.
    #[test]
    fn a_full_manager_refuses_the_calls_for_which_a_turn_has_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, (mut client, list)) = with_client(folder.path(), |client| {
            let list = client.open("l", Spec::List);
            client.open("removed", Spec::Event);
            let items = vec![Raw::plain(b"a value"); VALUES_AT_ONCE_MAX];
            client.ask(list, Op::List(ListOp::Extend(items))).unwrap();
            list
        });
        let memory = server.work.memory();
        let full = memory.charge((memory.limit() + memory.reserve()).saturating_sub(memory.used()));
        // Each of them takes longer than a turn.
        let scan = || Op::List(ListOp::Count(Scan { value: Raw::plain(b"a value"), from: 0, version: None }));
        let mut calls: Vec<u8> = (0..20).flat_map(|_| client.bytes_of(list, Wait::No, scan())).collect();
        let remove = Op::Manager(ManagerOp::Remove { name: "removed".to_owned() });
        calls.extend(client.notice_of(ObjectId::MANAGER, remove));
        client.stream.write_all(&calls).unwrap();
        assert_eq!(server.work.state.info().objects, 2);
        let mut events = Events::with_capacity(8);
        server.work.round(&mut events).unwrap();
        let answers: Vec<_> = (0..20).map(|_| client.answer().1).collect();
        assert!(answers[0].is_ok(), "{answers:?}");
        let is_refused =
            |answer: &Answer<_>| answer.as_ref().is_err_and(|fault| fault.full() == Some(Room::Reserve));
        assert!(answers[1..].iter().all(is_refused), "{answers:?}");
        assert_eq!(server.work.state.info().objects, 1, "a notice has no answer, so it was run");
        drop(full);
        let again = client.bytes_of(list, Wait::No, scan());
        client.stream.write_all(&again).unwrap();
        server.work.round(&mut events).unwrap();
        assert!(client.answer().1.is_ok(), "the connection goes on");
    }
}
