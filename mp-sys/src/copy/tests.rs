//! Tests of every length and alignment, and of the size of every access.

use super::*;

const MOVES_WORDS: bool = cfg!(all(target_arch = "x86_64", not(miri)));
/// From this length on, runs are moved in another way.
const STRING_COPY_FROM_BYTES: usize = if cfg!(miri) { 32 } else { 256 };

#[cfg(all(target_arch = "x86_64", not(miri)))]
const _: () = assert!(STRING_COPY_FROM_BYTES == words::STRING_COPY_FROM_BYTES);

/// Checks every combination of length, shared alignment and private alignment against a plain copy.
#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn copies_are_exact_at_every_length_and_alignment() {
    let source: Vec<u8> = (0..1200_u32).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect();
    for unit in [1, 2, 4, 8] {
        for shared_at in (0..16).step_by(unit) {
            for bytes in (0..STRING_COPY_FROM_BYTES * 2).step_by(unit) {
                check_round_trip(&source, shared_at, bytes, unit);
            }
        }
    }
}

fn check_round_trip(source: &[u8], shared_at: usize, bytes: usize, unit: usize) {
    let mut words = vec![0_u64; 100];
    let shared = words.as_mut_ptr().cast::<u8>().wrapping_add(shared_at);
    let private_at = (bytes + shared_at) % 7;
    // SAFETY: 800 bytes hold `shared_at` + `bytes` < 16 + 512; `source` holds 7 + 512; the words are only used here.
    unsafe { store(shared, source.as_ptr().wrapping_add(private_at), bytes, unit) };
    let mut back = vec![0_u8; bytes + 7];
    // SAFETY: as above; `back` holds 7 + `bytes`.
    unsafe { load(back.as_mut_ptr().wrapping_add(private_at), shared, bytes, unit) };
    assert_eq!(back[private_at..private_at + bytes], source[private_at..private_at + bytes]);
    assert!(back[..private_at].iter().all(|&byte| byte == 0));
    assert!(back[private_at + bytes..].iter().all(|&byte| byte == 0));
    let plain: &[u8] = bytemuck::cast_slice(&words);
    assert!(plain[..shared_at].iter().all(|&byte| byte == 0));
    assert!(plain[shared_at + bytes..].iter().all(|&byte| byte == 0));
}

#[test]
fn the_unit_is_the_largest_that_divides_the_size() {
    assert_eq!([1, 2, 3, 4, 6, 8, 12, 16, 24, 40].map(unit_of), [1, 2, 1, 4, 2, 8, 4, 8, 8, 8]);
}

/// Accesses of two sizes to one place are undefined: for every length, the compiler sees only accesses of the unit's
/// size.
#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn every_access_has_the_size_of_the_unit() {
    let mut words = vec![0_u64; 100];
    let mut private = vec![0_u8; 600];
    for unit in [1, 2, 4, 8] {
        for shared_at in (0..16).step_by(unit) {
            for bytes in (unit..STRING_COPY_FROM_BYTES + 40).step_by(unit) {
                let shared = words.as_mut_ptr().cast::<u8>().wrapping_add(shared_at);
                let mut both = || {
                    // SAFETY: both sides have more than 16 + 296 bytes, used only here.
                    unsafe { store(shared, private.as_ptr(), bytes, unit) };
                    // SAFETY: as above.
                    unsafe { load(private.as_mut_ptr(), shared, bytes, unit) };
                };
                let sizes = recorded::sizes(&mut both);
                assert!(sizes == [unit] || sizes.is_empty(), "{bytes} bytes at {shared_at}: {sizes:?}");
                let moved = if MOVES_WORDS { Plan::new(shared.addr(), bytes).body } else { 0 };
                assert_eq!(recorded::bytes(both), 2 * (bytes - moved), "assembly moves whole words only");
            }
        }
    }
}
