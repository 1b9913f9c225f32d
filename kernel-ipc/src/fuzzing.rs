//! Entry points for fuzzers: each takes what a peer may send, as bytes. It returns for every input; a panic is a finding.
//!
//! They are not part of the interface: everything here may change.

mod seeds;

use std::os::fd::{AsFd, OwnedFd};

use mp_sys::handoff::say;
use mp_sys::handshake::{Connecting, Listening, Next, Offer, Terms, Versions};
use mp_sys::{payload, travel};

use crate::listener::PROTOCOL;
use crate::{Connection, Descriptor, Receiver, RecvError, Sender, pipe};

/// One entry point: a name, a function, and valid inputs to start from.
#[derive(Debug)]
pub struct Entry {
    /// The name of the entry point.
    pub name: &'static str,
    /// Runs the entry point with one input.
    pub run: fn(&[u8]),
    /// Returns inputs that an honest peer could send, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All entry points.
pub const ENTRIES: [Entry; 5] = [
    Entry { name: "frames", run: frames, seeds: seeds::frames },
    Entry { name: "value", run: value, seeds: seeds::value },
    Entry { name: "handshake", run: handshake, seeds: seeds::handshake },
    Entry { name: "ring", run: ring, seeds: seeds::ring },
    Entry { name: "forged", run: forged, seeds: seeds::forged },
];

/// Plain data.
type Data = (Option<bool>, String, Result<u8, i64>);
/// Ends of every kind.
type Ends = (Option<Sender<u8>>, Option<Receiver<String>>, Option<Connection<u8, u8>>);
/// A type that contains everything that a message may hold.
type Anything = (Vec<Data>, Vec<Ends>, Vec<Descriptor>);

/// Receives the input as packets. Each packet follows its length in two bytes, and may have a descriptor. Afterwards, a
/// message of an honest peer must arrive.
///
/// # Panics
/// If that message does not arrive: that is a finding.
pub fn frames(input: &[u8]) {
    let Ok((tx, rx)) = pipe::<Anything>() else { return };
    let sealed = payload::seal(&[input]).ok();
    let mut rest = input;
    while let Some((head, more)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*head) & 0x0fff).min(more.len());
        let (packet, more) = more.split_at(length);
        rest = more;
        let descriptor = sealed.as_ref().filter(|_| head[1] & 0x80 != 0).map(AsFd::as_fd);
        // An empty packet looks like the end of the stream, so none is sent. A full pipe is emptied below.
        if !packet.is_empty() && say(&tx, packet, descriptor).is_ok() {
            let received =
                if head[1] & 0x40 == 0 { rx.try_recv().map(drop) } else { rx.try_recv_bytes().map(drop) };
            assert!(!matches!(received, Err(RecvError::Closed)), "a packet ended the stream");
        }
    }
    let honest = tx.try_send_bytes(b"honest").is_ok();
    assert!(honest && rx.try_recv_bytes().as_deref() == Ok(b"honest"), "an honest message arrives");
}

/// Decodes the input as a value, together with one descriptor of each kind.
pub fn value(input: &[u8]) {
    let Ok((tx, rx)) = pipe::<u8>() else { return };
    let copies = [tx.as_fd(), rx.as_fd()].map(|file| file.try_clone_to_owned());
    let files: Vec<OwnedFd> = copies.into_iter().flatten().chain(payload::seal(&[input]).ok()).collect();
    let decode = || postcard::take_from_bytes::<Anything>(input).map(|(value, _)| value);
    drop(travel::decode(files, decode));
}

/// Feeds the input to both sides of a handshake, without versions and with them. The first byte is the length of the
/// pieces.
///
/// # Panics
/// If a side agrees without the key: that is a finding.
pub fn handshake(input: &[u8]) {
    let Some((piece, said)) = input.split_first() else { return };
    let key = b"a key that the input cannot know";
    let offer = Offer { versions: Versions { oldest: 3, newest: 5 }, silent: 3 };
    for offer in [None, Some(offer)] {
        let terms = Terms { magic: PROTOCOL, key, sends: 1, receives: 2, offer };
        let mut listening = Listening::new([3; 32]);
        let (mut connecting, _) = Connecting::new(terms, [4; 32]);
        let ended = |next: Next| match next {
            Next::Wait | Next::Say(_) => false,
            Next::Refuse(..) => true,
            Next::Agree(_) => panic!("a side agreed without the key"),
        };
        let (mut first, mut second) = (false, false);
        for bytes in said.chunks(usize::from(*piece).max(1)) {
            first = first || ended(listening.hear(terms, bytes));
            second = second || ended(connecting.hear(terms, bytes));
        }
    }
}

/// Writes the input into the memory of queues, and uses the queues in between.
///
/// # Panics
/// If an operation panics or returns a wrong result: that is a finding.
pub fn ring(input: &[u8]) {
    crate::queue::fuzz::ring(input);
}

/// Receives queues whose memory is that of an honest queue, except where the input overwrites it, and uses them.
///
/// # Panics
/// If an operation panics or returns a wrong result: that is a finding.
pub fn forged(input: &[u8]) {
    crate::queue::fuzz::forged(input);
}
