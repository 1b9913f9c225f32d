//! Inputs that honest peers could send. Inputs that are almost valid get farther than noise.

use crate::listener::PROTOCOL;

/// Returns a packet as the library sends it, after its length.
fn packet(flags: u16, form: u8, descriptors: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len().saturating_add(16)).unwrap_or(0) | flags;
    let head = [0xb5, 1, 1, descriptors, form, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    [&length.to_le_bytes()[..], &head, body].concat()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    vec![
        packet(0, 2, 0, b"\0\0\0"),
        packet(0x4000, 0, 0, b"bytes"),
        packet(0x8000, 3, 1, b""),
        packet(0xc000, 1, 1, b""),
        [packet(0, 2, 0, b"\x01\x01\x01\x02ab\0\x07\0\0"), packet(0x8000, 2, 1, b"\0\0\x01\0")].concat(),
    ]
}

pub(super) fn value() -> Vec<Vec<u8>> {
    let end = |index: u8| {
        let mut bytes = vec![0, 1, 1, index];
        bytes.extend(postcard::to_stdvec(&[0x0123_4567_89ab_cdef_u64]).unwrap_or_default());
        bytes.extend([0, 0, 0]);
        bytes
    };
    vec![vec![0, 0, 0], vec![1, 1, 1, 2, b'a', b'b', 0, 7, 0, 0], vec![0, 0, 2, 0, 1], end(0), end(9)]
}

pub(super) fn handshake() -> Vec<Vec<u8>> {
    let hello = |mut types: Vec<u8>| {
        types.extend([0; 8]);
        [&[64][..], &PROTOCOL, &[4; 32], &types].concat()
    };
    let types = |sends: u64, receives: u64| [sends.to_le_bytes(), receives.to_le_bytes()].concat();
    let challenge = [&[48][..], &PROTOCOL, &[0; 8], &[3; 32]].concat();
    // Versions 3 to 4, and version 9, which the other side does not know.
    let offers = [[3, 0, 4, 0], [9, 0, 9, 0]];
    let offer = |range: [u8; 4]| {
        let nonce = [&[4; 20][..], b"mp-range", &range].concat();
        [&[64][..], &PROTOCOL, &nonce, &types(2, 1), &[0; 8]].concat()
    };
    let answer = |range: [u8; 4]| [&[48][..], &PROTOCOL, &[0; 4], &range, &[3; 32]].concat();
    let with = |start: &[u8], length: usize| [start, &vec![0; length]].concat();
    let versioned = offers.into_iter().flat_map(|range| [offer(range), with(&answer(range), 40)]);
    let plain = vec![
        hello(types(2, 1)),
        with(&hello(types(2, 1)), 32),
        hello(types(1, 2)),
        with(&challenge, 40),
        challenge.clone(),
    ];
    plain.into_iter().chain(versioned).collect()
}

/// Writes a few words, small and large, to each kind of place. There are only a few, since a number of used cells that is
/// too large makes every later look at the tasks slow.
pub(super) fn ring() -> Vec<Vec<u8>> {
    let write = |place: u8, value: u64| [&[place][..], &value.to_le_bytes()].concat();
    let values = [0, 4096, 4160, u64::MAX, 1 << 32 | 520, 0x2_0000];
    let places =
        |first: u8| (first..=255).step_by(64).zip(values).flat_map(|(place, value)| write(place, value));
    (0..64).map(|first| places(first).collect()).collect()
}

/// Writes one word to each kind of place, for each kind of queue. Fixed words are changed to other plausible values.
pub(super) fn forged() -> Vec<Vec<u8>> {
    let write = |kind: u8, place: u8, value: u64| [&[kind, place][..], &value.to_le_bytes()].concat();
    let values = [0, 1, 8, 1 << 26, 1 << 35, 1 << 36, u64::MAX];
    let kinds = [0, 1, 2].into_iter().flat_map(|kind| (0..64).map(move |place| (kind, place)));
    kinds.zip(values.into_iter().cycle()).map(|((kind, place), value)| write(kind, place, value)).collect()
}
