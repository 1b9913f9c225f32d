//! `RawValue` and `RawArray`: atomics of every number, bulk copies, and every bad input.

use shm_core::{Number, RangeError, RawArray, RawValue};

fn integer_operations<T: Number + PartialEq + std::fmt::Debug + From<u8>>() {
    let n = |small: u8| T::from(small);
    let value = RawValue::new(n(10)).unwrap();
    assert_eq!(value.fetch_add(n(5)), n(10));
    assert_eq!(value.fetch_sub(n(3)), n(15));
    assert_eq!(value.fetch_max(n(20)), n(12));
    assert_eq!(value.fetch_max(n(1)), n(20));
    assert_eq!(value.fetch_min(n(14)), n(20));
    assert_eq!(value.swap(n(6)), n(14));
    assert_eq!(value.compare_exchange(n(6), n(7)), Ok(n(6)));
    assert_eq!(value.compare_exchange(n(6), n(8)), Err(n(7)));
    value.store(n(9));
    assert_eq!(value.load(), n(9));
}

#[test]
fn every_number_has_every_operation() {
    integer_operations::<u8>();
    integer_operations::<u16>();
    integer_operations::<u32>();
    integer_operations::<u64>();
    integer_operations::<usize>();
    integer_operations::<i16>();
    integer_operations::<i32>();
    integer_operations::<i64>();
    integer_operations::<f32>();
    integer_operations::<f64>();
    let bits = RawValue::new(0b1100_u8).unwrap();
    assert_eq!(bits.fetch_and(0b0110), 0b1100);
    assert_eq!(bits.fetch_or(0b0001), 0b0100);
    assert_eq!(bits.load(), 0b0101);
}

#[test]
fn signed_numbers_compare_as_signed_and_wrap() {
    let value = RawValue::new(-5_i8).unwrap();
    assert_eq!(value.fetch_max(-7), -5);
    assert_eq!(value.fetch_min(-7), -5);
    assert_eq!(value.load(), -7);
    value.store(i8::MAX);
    value.fetch_add(1);
    assert_eq!(value.load(), i8::MIN);
}

#[test]
fn floats_are_exchanged_by_their_bits() {
    let value = RawValue::new(0.0_f64).unwrap();
    assert!(value.compare_exchange(-0.0, 1.0).is_err(), "the zeros have different bits");
    value.store(f64::NAN);
    assert!(value.compare_exchange(f64::NAN, 1.0).is_ok(), "the same NaN");
    assert_eq!(value.load(), 1.0);
}

#[test]
fn bulk_copies_of_an_array() {
    let samples: Vec<f64> = (0..1000).map(f64::from).collect();
    let array = RawArray::from_slice(&samples).unwrap();
    assert_eq!(array.len(), 1000);
    assert_eq!(array.to_vec(), samples);
    assert_eq!(array.read(10..12), Ok(vec![10.0, 11.0]));
    array.write(998, &[-1.0, -2.0]).unwrap();
    assert_eq!(array.get(999), Ok(-2.0));
    array.fill(0.5);
    assert_eq!(array.read(0..1000).unwrap().iter().sum::<f64>(), 500.0);
    array.write_all(&samples).unwrap();
    assert_eq!(array.to_vec(), samples);
}

#[test]
fn indices_at_the_end_and_one_beyond() {
    let array = RawArray::<u32>::zeroed(3).unwrap();
    let beyond = |start, end| RangeError::OutOfRange { start, end, len: 3 };
    assert_eq!(array.set(2, 1), Ok(()));
    assert_eq!(array.set(3, 1), Err(beyond(3, 4)));
    assert_eq!(array.get(3), Err(beyond(3, 4)));
    assert_eq!(array.fetch_add(3, 1), Err(beyond(3, 4)));
    assert_eq!(array.compare_exchange(3, 0, 1), Err(beyond(3, 4)));
    assert_eq!(array.compare_exchange(0, 5, 1), Ok(Err(0)));
    assert_eq!(array.read(1..4), Err(beyond(1, 4)));
    assert_eq!(array.write(3, &[1]), Err(beyond(3, 4)));
    assert_eq!(array.write_all(&[1; 4]), Err(RangeError::LengthMismatch { expected: 3, found: 4 }));
    assert_eq!(beyond(3, 4).to_string(), "elements 3..4 are out of range for an array of 3");
    assert_eq!(array.to_vec(), [0, 0, 1]);
}

#[test]
fn an_empty_array_has_no_elements() {
    let array = RawArray::<u64>::zeroed(0).unwrap();
    assert!(array.is_empty());
    assert!(array.get(0).is_err());
    assert_eq!(array.read(0..0), Ok(vec![]));
    array.fill(1);
    assert!(array.to_vec().is_empty());
}

#[test]
fn byte_strings_end_at_the_first_nul() {
    let text = RawArray::<u8>::zeroed(4).unwrap();
    text.set_c_bytes(b"four").unwrap();
    text.set_c_bytes(b"up").unwrap();
    assert_eq!(text.to_c_bytes(), b"up");
    assert_eq!(text.to_vec(), b"up\0r");
    assert!(text.set_c_bytes(b"fives").is_err());
}

#[test]
fn large_elements_are_filled_without_a_large_stack() {
    let array = RawArray::<[u64; 20_000]>::zeroed(3).unwrap();
    array.fill([7; 20_000]);
    assert!(array.get(2).unwrap().iter().all(|&n| n == 7));
}
