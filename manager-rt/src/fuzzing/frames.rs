//! Frames of clients, in any form and cut anywhere, as the server receives them.

use bytes::Bytes;

use crate::fuzzing::bytes::Source;
use crate::fuzzing::world::{CLIENTS, World};
use crate::limits::TURN_BYTES;
use crate::wire::inbound::{Frame, Inbound};

/// The size of a shared buffer here. It is smaller than in the server, so that long frames are frequent.
const BUFFER_BYTES: usize = 512;
const _: () = assert!(BUFFER_BYTES <= TURN_BYTES);

/// Takes the input as the streams of three clients. The first byte says how the rest is cut into pieces, which belong
/// to the clients in turn. Some time passes between the pieces. A client that breaks the protocol is replaced, as in
/// the server.
///
/// # Panics
/// If an invariant does not hold, which is a finding.
pub(super) fn frames(input: &[u8]) {
    let mut source = Source::new(input);
    let piece = usize::from(source.byte()).max(1);
    // Most inputs have one client, so that long streams arrive whole.
    let speakers = if piece.is_multiple_of(4) { CLIENTS } else { 1 };
    let Some(mut world) = World::new() else { return };
    let mut inbounds = [Inbound::default(), Inbound::default(), Inbound::default()];
    let mut buffer = vec![0; BUFFER_BYTES];
    for (round, bytes) in input.get(1..).unwrap_or_default().chunks(piece).enumerate() {
        let who = round.checked_rem(speakers).unwrap_or(0);
        let Some(inbound) = inbounds.get_mut(who) else { return };
        if read(&mut world, who, inbound, &mut buffer, bytes).is_none() {
            *inbound = Inbound::default();
            world.replace(who, u64::try_from(round).unwrap_or(0) % 4);
        }
        world.pass(1);
    }
    world.end();
}

/// Reads the input in portions that fit into the buffer. Returns `None` if the stream can no longer be understood.
fn read(
    world: &mut World,
    who: usize,
    inbound: &mut Inbound,
    buffer: &mut [u8],
    mut bytes: &[u8],
) -> Option<()> {
    while !bytes.is_empty() {
        let start = inbound.restore(buffer);
        let place = buffer.get_mut(start..).unwrap_or_default();
        let (now, later) = bytes.split_at(bytes.len().min(place.len()));
        assert!(!now.is_empty(), "the kept bytes leave room");
        place.iter_mut().zip(now).for_each(|(place, byte)| *place = *byte);
        bytes = later;
        let mut rest = buffer.get(..start.saturating_add(now.len())).unwrap_or_default();
        hear(world, who, inbound, &mut rest)?;
        inbound.keep(rest, &Bytes::new()).ok()?;
    }
    Some(())
}

/// Processes all complete frames. Returns `None` if the stream can no longer be understood.
fn hear(world: &mut World, who: usize, inbound: &mut Inbound, bytes: &mut &[u8]) -> Option<()> {
    while let Some(frame) = inbound.next(bytes, BUFFER_BYTES).ok()? {
        let none = Bytes::new();
        match frame {
            Frame::Short(head, body) => {
                world.acknowledge(who, head.read % 4);
                world.hear(who, head.kind, head.call, body, &none);
            }
            Frame::Long(head, body) => {
                world.acknowledge(who, head.read % 4);
                world.hear(who, head.kind, head.call, &body, &body);
            }
            Frame::Refused(head, fault) => panic!("{head:?} was refused without an account: {fault}"),
        }
    }
    Some(())
}
