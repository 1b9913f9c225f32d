//! The entry points for fuzzers, with inputs that are almost right: honest ones, mutated. `MP_SEED` repeats a run.

use kernel_ipc::fuzzing;
use mp_sys::testing::Random;

/// Changes, cuts, doubles or inserts some bytes.
fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = usize::try_from(random.below(input.len() as u64 + 1)).unwrap();
        let byte = u8::try_from(random.below(256)).unwrap();
        match random.below(5) {
            0 => input.truncate(at),
            1 => input.insert(at, byte),
            2 => {
                let tail = input[at..].to_vec();
                input.extend(tail.into_iter().take(200));
            }
            3 => input.iter_mut().skip(at).take(1).for_each(|slot| *slot ^= 1 << (byte % 8)),
            _ => input.iter_mut().skip(at).take(8).for_each(|slot| *slot = byte),
        }
    }
}

fn run(honest: &[Vec<u8>], entry: fn(&[u8]), rounds: u32) {
    let mut random = Random::new();
    println!("MP_SEED={}", random.seed());
    honest.iter().for_each(|input| entry(input));
    for _ in 0..rounds {
        let chosen = usize::try_from(random.below(honest.len() as u64)).unwrap();
        let mut input = honest[chosen].clone();
        mutate(&mut random, &mut input);
        entry(&input);
    }
}

/// A packet as the library sends it, with its length before it.
fn packet(flags: u16, form: u8, descriptors: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(16 + body.len()).unwrap() | flags;
    let head = [0xb5, 1, 1, descriptors, form, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    [&length.to_le_bytes()[..], &head, body].concat()
}

#[test]
fn frames() {
    let honest = [
        packet(0, 2, 0, b"\0\0\0"),
        packet(0x4000, 0, 0, b"bytes"),
        packet(0x8000, 3, 1, b""),
        packet(0xc000, 1, 1, b""),
        [packet(0, 2, 0, b"\x01\x01\x01\x02ab\0\x07\0\0"), packet(0x8000, 2, 1, b"\0\0\x01\0")].concat(),
    ];
    run(&honest, fuzzing::frames, 5_000);
}

#[test]
fn values() {
    let end = |index: u8| {
        let mut bytes = vec![0, 1, 1, index];
        bytes.extend(postcard::to_stdvec(&[0x0123_4567_89ab_cdef_u64]).unwrap());
        bytes.extend([0, 0, 0]);
        bytes
    };
    let honest =
        [vec![0, 0, 0], vec![1, 1, 1, 2, b'a', b'b', 0, 7, 0, 0], vec![0, 0, 2, 0, 1], end(0), end(9)];
    run(&honest, fuzzing::value, 5_000);
}

#[test]
fn handshakes() {
    let hello = |mut types: Vec<u8>| {
        types.extend([0; 8]);
        [&[64][..], b"mp-conn1", &[4; 32], &types].concat()
    };
    let types = |sends: u64, receives: u64| [sends.to_le_bytes(), receives.to_le_bytes()].concat();
    let challenge = [&[48][..], b"mp-conn1", &[0; 8], &[3; 32]].concat();
    let with = |start: &[u8], length: usize| [start, &vec![0; length]].concat();
    let honest = [
        hello(types(2, 1)),
        with(&hello(types(2, 1)), 32),
        hello(types(1, 2)),
        with(&challenge, 40),
        challenge,
    ];
    run(&honest, fuzzing::handshake, 50_000);
}
