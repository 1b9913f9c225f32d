//! The layout of operations and answers in the stream between a client and a server.
//!
//! A frame is a head of [`HEAD_BYTES`] bytes, followed by a body. All numbers are little-endian.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..4 | the length of the body |
//! | 4 | the kind of the frame: [`FrameKind`] |
//! | 5 | the CPU that the sender ran on, plus one; 0 if unknown; 255 from a server: do not spin |
//! | 6..8 | how many calls or answers are together in the body, if the kind says so; otherwise zeros |
//! | 8..16 | the number of the call, chosen by the client and repeated in the answer |
//! | 16..24 | how many answers the client has read; zeros in an answer |
//!
//! The body of a call is a [`Call`], that of a transaction is a list of [`Step`]s, and that of an answer is a [`Reply`]
//! or a [`Fault`], each in the format of `postcard`. A body with bytes left over is malformed.
//!
//! Several calls on one object that do not wait can be in one frame: see [`FrameKind::Calls`]. Their numbers follow one
//! another from that in the head. Their answers come in one frame or several: see [`FrameKind::Answers`].
//!
//! Before the first frame, both sides prove in a [handshake](mp_sys::handshake) that they have the key, and agree on a
//! version of the protocol: see `terms`.

pub use mp_sys::handshake::Terms;
use mp_sys::handshake::{Offer, Versions};

use crate::limits::CALLS_TOGETHER_MAX;
use crate::proto::version::{NEWEST, OLDEST};
#[cfg(doc)]
use crate::proto::{Call, Fault, Reply, Step};

/// The longest fault in place of a welcome, in bytes: two numbers of ten bytes each, and their envelope.
pub(crate) const FAULT_BYTES_MAX: usize = 32;
/// The length of a head.
pub const HEAD_BYTES: usize = 24;
/// The first bytes of the handshake on a connection.
pub const MAGIC: [u8; 8] = *b"mp-mngr1";
/// The first bytes over a socket that forked processes inherit. The number of the bequest follows, and nothing else.
pub const HEIR_MAGIC: [u8; 8] = *b"mp-heir1";
/// The length of what comes over such a socket.
pub const HEIR_BYTES: usize = 24;
/// The versions of the protocol that this build knows.
pub const VERSIONS: Versions = Versions { oldest: OLDEST, newest: NEWEST };
/// The number that stands for the types in the handshake: those of builds that offered no range of versions.
const TYPES: u64 = 3;

/// Returns the terms of a manager's handshake: the versions of this build, and the key.
#[must_use]
pub fn terms(key: &[u8]) -> Terms<'_> {
    let offer = Offer { versions: VERSIONS, silent: 3 };
    Terms { magic: MAGIC, key, sends: TYPES, receives: TYPES, offer: Some(offer) }
}

/// Returns the terms of a build whose newest version was an older one.
#[cfg(test)]
pub fn terms_of(version: u16, key: &[u8]) -> Terms<'_> {
    let offer = Offer { versions: Versions { oldest: OLDEST, newest: version }, silent: 3 };
    Terms { offer: (version > 3).then_some(offer), ..terms(key) }
}

/// What a server says instead of its CPU while more clients are busy than there are CPUs: a client should not spin for its
/// answer, which takes the CPU from another one.
pub(crate) const CROWDED: u8 = u8::MAX;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The server's first frame: its epoch. Its number is 1.
    Welcome,
    /// A [`Call`]; 2.
    Call,
    /// A list of [`Step`]s: either all are done or none; 3.
    Transaction,
    /// A call without an answer: errors are not reported; 4.
    Notice,
    /// The answer to an operation that succeeded: a [`Reply`]; 5.
    Reply,
    /// The answer to an operation that failed: a [`Fault`]; 6.
    Fault,
    /// This many calls of one thread on one object: the object, the thread, and the operations; 7. Each of them
    /// [is light](crate::proto::Op::is_light).
    Calls(u16),
    /// This many answers to calls whose numbers follow one another; 8. Each is a 0 and a [`Reply`], or a 1 and a [`Fault`].
    Answers(u16),
}

impl FrameKind {
    #[inline]
    const fn of(byte: u8, count: u16) -> Option<Self> {
        Some(match (byte, count) {
            (1, 0) => Self::Welcome,
            (2, 0) => Self::Call,
            (3, 0) => Self::Transaction,
            (4, 0) => Self::Notice,
            (5, 0) => Self::Reply,
            (6, 0) => Self::Fault,
            (7, 1..=CALLS_TOGETHER_MAX) => Self::Calls(count),
            (8, 1..=CALLS_TOGETHER_MAX) => Self::Answers(count),
            _ => return None,
        })
    }

    /// Returns the number of the kind, and how many calls or answers are together.
    #[inline]
    const fn numbers(self) -> (u8, u16) {
        match self {
            Self::Welcome => (1, 0),
            Self::Call => (2, 0),
            Self::Transaction => (3, 0),
            Self::Notice => (4, 0),
            Self::Reply => (5, 0),
            Self::Fault => (6, 0),
            Self::Calls(count) => (7, count),
            Self::Answers(count) => (8, count),
        }
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The length of the body, in bytes.
    pub body_len: u32,
    /// The kind of the frame.
    pub kind: FrameKind,
    /// The CPU that the sender ran on, plus one; 0 if unknown.
    pub cpu: u8,
    /// The number of the call.
    pub call: u64,
    /// How many answers the client has read.
    pub read: u64,
}

impl Head {
    /// Encodes the head.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        // The ranges are within the array, which the compiler checks.
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.body_len.to_le_bytes());
        let (kind, count) = self.kind.numbers();
        bytes[4] = kind;
        bytes[5] = self.cpu;
        bytes[6..8].copy_from_slice(&count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_le_bytes());
        bytes[16..].copy_from_slice(&self.read.to_le_bytes());
        bytes
    }

    /// Decodes a head, or returns `None` if the bytes are not one.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (body_len, rest) = bytes.split_first_chunk()?;
        let ([kind, cpu, few, many], rest) = rest.split_first_chunk()?;
        let (call, read) = rest.split_first_chunk()?;
        Some(Self {
            body_len: u32::from_le_bytes(*body_len),
            kind: FrameKind::of(*kind, u16::from_le_bytes([*few, *many]))?,
            cpu: *cpu,
            call: u64::from_le_bytes(*call),
            read: u64::from_le_bytes(*read.first_chunk()?),
        })
    }
}

/// Returns what a process sends over the socket of a bequest.
#[must_use]
pub fn heirs_hello(bequest: u128) -> [u8; HEIR_BYTES] {
    let mut bytes = [0; HEIR_BYTES];
    let (magic, number) = bytes.split_at_mut(HEIR_MAGIC.len());
    magic.copy_from_slice(&HEIR_MAGIC);
    number.copy_from_slice(&bequest.to_le_bytes());
    bytes
}

/// Returns the bequest that the first bytes of a connection claim, if they do, and the bytes that follow.
#[must_use]
pub fn claimed_bequest(bytes: &[u8]) -> Option<(u128, &[u8])> {
    let (number, rest) = bytes.strip_prefix(&HEIR_MAGIC)?.split_first_chunk()?;
    Some((u128::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_a_round_trip() {
        let head = Head { body_len: 0x0102_0304, kind: FrameKind::Notice, cpu: 9, call: u64::MAX, read: 77 };
        let bytes = head.to_bytes();
        assert_eq!(Head::of(&bytes), Some(head));
        let expected = *b"\x04\x03\x02\x01\x04\x09\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x4d\0\0\0\0\0\0\0";
        assert_eq!(bytes, expected, "peers of all versions read it");
        for (place, wrong) in [(4, 0), (4, 7), (4, 8), (4, 9), (6, 1), (7, 1)] {
            let mut bytes = bytes;
            bytes[place] = wrong;
            assert_eq!(Head::of(&bytes), None, "byte {place} = {wrong}");
        }
    }

    #[test]
    fn a_head_says_how_many_calls_or_answers_follow_up_to_the_limit_and_not_one_more() {
        let most = CALLS_TOGETHER_MAX;
        for (count, is_head) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            for (number, kind) in [(7, FrameKind::Calls(count)), (8, FrameKind::Answers(count))] {
                let head = Head { body_len: 1, kind, cpu: 0, call: 2, read: 3 };
                let bytes = head.to_bytes();
                assert_eq!((bytes[4], &bytes[6..8]), (number, &count.to_le_bytes()[..]));
                assert_eq!(Head::of(&bytes), is_head.then_some(head));
            }
        }
    }
}
