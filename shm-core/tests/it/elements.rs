//! Every element type that the contract names, in every object.

use std::fmt::Debug;

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};
use shm_core::{Array, Element, RawArray, RawValue, Value};

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
    tag: [u32; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Zeroable, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Mode {
    Idle = 0,
    Busy = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

fn everywhere<T: Element + PartialEq + Debug>(first: T, second: T) {
    let value = Value::new(first).unwrap();
    assert_eq!(value.get(), Ok(first));
    value.set(second).unwrap();
    assert_eq!(value.replace(first), Ok(second));
    *value.lock().unwrap() = second;
    assert_eq!(value.update(|_| first), Ok(second));
    assert_eq!(value.get(), Ok(first));

    let raw = RawValue::new(first).unwrap();
    raw.store(second);
    assert_eq!(raw.load(), second);

    let array = Array::from_slice(&[first, second, first]).unwrap();
    array.set(0, second).unwrap();
    array.lock().unwrap()[2] = second;
    assert_eq!(array.to_vec(), Ok(vec![second; 3]));
    array.fill(first).unwrap();
    assert_eq!(array.read(1..3), Ok(vec![first; 2]));

    let raw = RawArray::from_slice(&[first, second, first]).unwrap();
    raw.set(2, second).unwrap();
    assert_eq!(raw.to_vec(), [first, second, second]);
    assert_eq!(raw.get(1), Ok(second));
    raw.fill(first);
    assert_eq!(raw.to_vec(), [first; 3]);
}

#[test]
fn integers_and_floats() {
    everywhere(1_i8, -1);
    everywhere(1_u8, 255);
    everywhere(1_i16, i16::MIN);
    everywhere(1_u16, u16::MAX);
    everywhere(1_i32, i32::MIN);
    everywhere(1_u32, u32::MAX);
    everywhere(1_i64, i64::MIN);
    everywhere(1_u64, u64::MAX);
    everywhere(1_i128, i128::MIN);
    everywhere(1_u128, u128::MAX);
    everywhere(1_isize, isize::MIN);
    everywhere(1_usize, usize::MAX);
    everywhere(1.5_f32, f32::NEG_INFINITY);
    everywhere(1.5_f64, f64::MIN_POSITIVE);
}

#[test]
fn types_whose_bits_are_checked() {
    everywhere(true, false);
    everywhere('ä', '\u{10ffff}');
    everywhere(Mode::Busy, Mode::Idle);
}

#[test]
fn arrays_and_structs() {
    everywhere([1_u8; 3], [9; 3]);
    everywhere([1_u16; 3], [9; 3]);
    everywhere([1_u8; 7], [9; 7]);
    everywhere([1_u32; 5], [9; 5]);
    everywhere([1_u8; 1000], [9; 1000]);
    everywhere(Point { x: 1.0, y: 2.0, tag: [3, 4] }, Point { x: -1.0, y: -2.0, tag: [0; 2] });
    everywhere(Line([1; 8]), Line([9; 8]));
}

#[test]
fn values_larger_than_a_chunk_share() {
    let value = Value::new([7_u64; 20_000]).unwrap();
    value.lock().unwrap()[19_999] = 8;
    assert_eq!(value.get().unwrap()[19_998..], [7, 8]);
}
