//! Adding to numbers that are stored encoded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto::{Fault, Number, Payload, Raw};

/// The encoded sum of a stored number and another one, which wraps around.
///
/// # Errors
/// [`Fault::NoNumber`] if what is stored is no number of this type.
pub(super) fn add(stored: Raw<'_>, number: Number) -> Result<Payload, Fault> {
    match number {
        Number::U8(n) => sum(stored, n, u8::wrapping_add),
        Number::U16(n) => sum(stored, n, u16::wrapping_add),
        Number::U32(n) => sum(stored, n, u32::wrapping_add),
        Number::U64(n) => sum(stored, n, u64::wrapping_add),
        Number::U128(n) => sum(stored, n, u128::wrapping_add),
        Number::I8(n) => sum(stored, n, i8::wrapping_add),
        Number::I16(n) => sum(stored, n, i16::wrapping_add),
        Number::I32(n) => sum(stored, n, i32::wrapping_add),
        Number::I64(n) => sum(stored, n, i64::wrapping_add),
        Number::I128(n) => sum(stored, n, i128::wrapping_add),
        Number::F32(n) => sum(stored, n, |stored, n| stored + n),
        Number::F64(n) => sum(stored, n, |stored, n| stored + n),
    }
}

/// The encoded 0 of a number's type, which a key without a value counts as.
pub(super) fn zero(number: Number) -> Payload {
    match number {
        // A number that is encoded as it lies in memory.
        Number::U8(_) | Number::I8(_) => Payload::copy(Raw::plain(&[0])),
        Number::F32(_) => Payload::copy(Raw::plain(&[0; 4])),
        Number::F64(_) => Payload::copy(Raw::plain(&[0; 8])),
        // All others have a variable length, of which 0 is one byte.
        _ => Payload::copy(Raw::plain(&[0])),
    }
}

fn sum<T: Serialize + DeserializeOwned>(
    stored: Raw<'_>,
    number: T,
    add: fn(T, T) -> T,
) -> Result<Payload, Fault> {
    let (stored, rest) = postcard::take_from_bytes(stored.bytes).map_err(|_| Fault::NoNumber)?;
    if !rest.is_empty() {
        return Err(Fault::NoNumber);
    }
    // A u128 takes at most 19 bytes.
    let mut buffer = [0; 19];
    let encoded = postcard::to_slice(&add(stored, number), &mut buffer).map_err(|_| Fault::NoNumber)?;
    Ok(Payload::copy(Raw::plain(encoded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<T: Serialize>(number: &T) -> Vec<u8> {
        postcard::to_allocvec(number).unwrap()
    }

    fn check<T: Serialize>(stored: &T, number: Number, expected: &T) {
        let sum = add(Raw::plain(&encoded(stored)), number).unwrap();
        assert_eq!(sum.raw().bytes, encoded(expected), "{number:?}");
    }

    #[test]
    fn sums_of_every_type_wrap() {
        check(&u8::MAX, Number::U8(2), &1);
        check(&u16::MAX, Number::U16(2), &1);
        check(&u32::MAX, Number::U32(2), &1);
        check(&u64::MAX, Number::U64(2), &1);
        check(&u128::MAX, Number::U128(2), &1);
        check(&(u128::MAX - 1), Number::U128(1), &u128::MAX);
        check(&i8::MAX, Number::I8(1), &i8::MIN);
        check(&i16::MAX, Number::I16(1), &i16::MIN);
        check(&i32::MAX, Number::I32(1), &i32::MIN);
        check(&i64::MAX, Number::I64(1), &i64::MIN);
        check(&i128::MAX, Number::I128(1), &i128::MIN);
        check(&1.5_f32, Number::F32(0.25), &1.75);
        check(&1.5_f64, Number::F64(0.25), &1.75);
    }

    #[test]
    fn zeros_are_encoded_as_the_type_has_them() {
        assert_eq!(zero(Number::U8(1)).raw().bytes, encoded(&0_u8));
        assert_eq!(zero(Number::I8(1)).raw().bytes, encoded(&0_i8));
        assert_eq!(zero(Number::I128(1)).raw().bytes, encoded(&0_i128));
        assert_eq!(zero(Number::F32(1.0)).raw().bytes, encoded(&0_f32));
        assert_eq!(zero(Number::F64(1.0)).raw().bytes, encoded(&0_f64));
    }

    #[test]
    fn what_is_no_number_is_told() {
        for bytes in [&b""[..], b"\x01\x02", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(add(Raw::plain(bytes), Number::U64(1)), Err(Fault::NoNumber));
        }
    }
}
