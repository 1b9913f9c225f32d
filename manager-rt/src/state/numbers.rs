//! Addition to encoded numbers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::proto::{Fault, Number, Payload, Raw};

/// Returns the encoded sum of a stored number and another one. It wraps around.
///
/// # Errors
/// [`Fault::NoNumber`] if the stored value is not a number of this type.
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

/// Returns the encoded 0 of a number's type, which stands for a key without a value.
pub(super) fn zero(number: Number) -> Payload {
    match number {
        // These numbers are encoded as they are laid out in memory.
        Number::U8(_) | Number::I8(_) => Payload::copy(Raw::plain(&[0])),
        Number::F32(_) => Payload::copy(Raw::plain(&[0; 4])),
        Number::F64(_) => Payload::copy(Raw::plain(&[0; 8])),
        // All others have a variable length, and 0 takes one byte.
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
    fn zeros_are_encoded_like_their_type() {
        assert_eq!(zero(Number::U8(1)).raw().bytes, encoded(&0_u8));
        assert_eq!(zero(Number::I8(1)).raw().bytes, encoded(&0_i8));
        assert_eq!(zero(Number::I128(1)).raw().bytes, encoded(&0_i128));
        assert_eq!(zero(Number::F32(1.0)).raw().bytes, encoded(&0_f32));
        assert_eq!(zero(Number::F64(1.0)).raw().bytes, encoded(&0_f64));
    }

    #[test]
    fn adding_to_a_value_that_is_not_a_number_fails() {
        for bytes in [&b""[..], b"\x01\x02", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(add(Raw::plain(bytes), Number::U64(1)), Err(Fault::NoNumber));
        }
    }
}
