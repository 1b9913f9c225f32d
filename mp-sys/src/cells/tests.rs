//! Tests of every size of element, and of the ends of a slice.

use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};

use super::*;
use crate::copy::recorded;
use crate::span::Chunk;

fn slice<T: Element>(len: usize) -> SharedSlice<T> {
    let bytes = SharedSlice::<T>::bytes_for(len).unwrap();
    SharedSlice::new(Chunk::new(bytes).unwrap().cut(bytes).unwrap(), len).unwrap()
}

fn round_trip<T: Element + PartialEq + std::fmt::Debug>(values: &[T]) {
    let shared = slice::<T>(values.len() + 2);
    assert!(shared.copy_in(1, values));
    for (index, value) in values.iter().enumerate() {
        assert_eq!(shared.load(index + 1), Some(*value));
    }
    assert_eq!(shared.load(0), Some(T::zeroed()));
    assert_eq!(shared.load(values.len() + 1), Some(T::zeroed()));
    let mut back = vec![T::zeroed(); values.len()];
    assert!(shared.copy_out(1, &mut back));
    assert_eq!(back, values);
    assert!(shared.store(0, values[0]));
    assert_eq!(shared.load(0), Some(values[0]));
    let end = values.len() + 2;
    assert_eq!(shared.load(end), None);
    assert!(!shared.store(end, values[0]));
    assert!(!shared.copy_in(3, values), "one beyond the end");
    assert!(!shared.copy_out(usize::MAX, &mut back));
}

#[test]
fn every_size_of_element() {
    round_trip::<u8>(&[1, 2, 255]);
    round_trip::<i16>(&[-1, 2, i16::MIN]);
    round_trip::<[u8; 3]>(&[[1, 2, 3], [4, 5, 6]]);
    round_trip::<f32>(&[1.5, f32::MIN]);
    round_trip::<[u8; 5]>(&[[1, 2, 3, 4, 5]; 3]);
    round_trip::<[u16; 3]>(&[[1, 2, 3]; 3]);
    round_trip::<[u8; 7]>(&[[9; 7]; 3]);
    round_trip::<u64>(&[u64::MAX, 1]);
    round_trip::<[u32; 3]>(&[[1, 2, 3]; 5]);
    round_trip::<u128>(&[u128::MAX, 7]);
    round_trip::<[u8; 13]>(&[[7; 13]; 4]);
    round_trip::<bool>(&[true, false, true]);
    round_trip::<char>(&['a', 'é', '\u{10ffff}']);
}

/// Checks that every access to the elements of one type has the same size, whatever the operation.
fn check_sizes<T: Element + PartialEq + std::fmt::Debug>(value: T, size: usize) {
    const COUNT: usize = 100;
    let shared = slice::<T>(COUNT + 2);
    let values = [value; COUNT];
    let mut back = [T::zeroed(); COUNT];
    for count in [1, 2, 3, 7, COUNT] {
        for at in 0..3 {
            let sizes = recorded::sizes(|| {
                assert!(shared.store(at, value));
                assert_eq!(shared.load(at), Some(value));
                assert!(shared.copy_in(at, &values[..count]));
                assert!(shared.copy_out(at, &mut back[..count]));
            });
            // Only assembly moves words of 8 bytes.
            assert!(sizes == [size] || (size == 8 && sizes.is_empty()), "{count} at {at}: {sizes:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn an_element_type_has_one_size_of_access() {
    check_sizes(7_u8, 1);
    check_sizes(true, 1);
    check_sizes(7_i16, 2);
    check_sizes([7_u8; 3], 4);
    check_sizes('x', 4);
    check_sizes([7_u16; 3], 8);
    check_sizes(7_u64, 8);
    check_sizes([7_u32; 3], 4);
    check_sizes([7_u8; 13], 1);
    check_sizes([7_u16; 5], 2);
    check_sizes(7_u128, 8);
}

#[test]
fn bits_that_are_no_char_read_as_zero() {
    let shared = slice::<char>(2);
    let word: *mut u32 = shared.start.as_ptr().cast();
    // SAFETY: the span holds two aligned words, used only here.
    unsafe { word.write(0xd800) };
    assert_eq!(shared.load(0), Some('\0'));
    let mut back = ['x'; 2];
    assert!(shared.copy_out(0, &mut back));
    assert_eq!(back, ['\0'; 2]);
}

#[test]
fn a_span_that_is_too_small_comes_back() {
    let span = Chunk::new(4096).unwrap().cut(64).unwrap();
    let span = SharedSlice::<u64>::new(span, 9).unwrap_err();
    assert_eq!(SharedSlice::<u64>::new(span, 8).unwrap().len(), 8);
    assert_eq!(SharedSlice::<u64>::bytes_for(usize::MAX), None);
    assert_eq!(SharedSlice::<u64>::bytes_for(0), Some(8));
}

/// A type whose check panics leaves no invalid value behind.
#[test]
fn a_panicking_check_leaves_zeros() {
    #[derive(Clone, Copy, Debug, PartialEq, Zeroable, NoUninit)]
    #[repr(transparent)]
    struct Picky(u32);
    // SAFETY: `Bits` has the layout of `Picky`, and any pattern is a valid one.
    unsafe impl CheckedBitPattern for Picky {
        type Bits = u32;

        fn is_valid_bit_pattern(bits: &u32) -> bool {
            assert_ne!(*bits, 13, "on purpose");
            true
        }
    }
    let shared = slice::<Picky>(4);
    assert!(shared.copy_in(0, &[1, 13, 3, 4].map(Picky)));
    let mut back = [Picky(9); 4];
    let copy = std::panic::AssertUnwindSafe(|| shared.copy_out(0, &mut back));
    std::panic::catch_unwind(copy).unwrap_err();
    assert_eq!(back, [Picky(0); 4]);
}

/// Several threads access single elements and bulk copies of one slice, without any ordering: each element is whole,
/// and under Miri each access has one size.
#[test]
fn single_elements_and_bulk_copies_race() {
    fn race<T: Element + PartialEq + std::fmt::Debug>(one: T, other: T) {
        const COUNT: usize = 9;
        const ROUNDS: usize = if cfg!(miri) { 3 } else { 1000 };
        let shared = slice::<T>(COUNT + 1);
        let is_one_of = |value: T| value == T::zeroed() || value == one || value == other;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..ROUNDS).for_each(|_| assert!(shared.copy_in(1, &[one; COUNT]))));
            scope.spawn(|| {
                for index in (0..ROUNDS).map(|round| round % COUNT) {
                    assert!(shared.store(index, other));
                    assert!(shared.load(index + 1).is_some_and(is_one_of));
                }
            });
            let mut back = [T::zeroed(); COUNT];
            for _ in 0..ROUNDS {
                assert!(shared.copy_out(0, &mut back));
                assert!(back.iter().all(|value| is_one_of(*value)), "{back:?}");
            }
        });
    }
    race(1_u8, 2);
    race(0x0101_u16, 0x0202);
    race([1_u8; 3], [2; 3]);
    race(0x0101_0101_u32, 0x0202_0202);
    race(u64::MAX, 0x0202_0202_0202_0202);
    race('a', 'b');
}
