//! Numbers that the manager can add to.

use crate::proto::Number;

mod sealed {
    use crate::proto::Number;

    #[expect(unnameable_types, reason = "the trait is sealed because it cannot be named")]
    pub trait AsNumber: Copy {
        fn as_number(self) -> Number;
    }
}

pub(super) use self::sealed::AsNumber;

/// A number that a manager can add to where it is stored: an integer of fixed size, or a float.
///
/// Sums of integers wrap around, like those of atomics.
pub trait Numeric: AsNumber {}

macro_rules! numeric {
    ($($number:ty => $variant:ident),+ $(,)?) => {
        $(
            impl AsNumber for $number {
                fn as_number(self) -> Number {
                    Number::$variant(self)
                }
            }

            impl Numeric for $number {}
        )+
    };
}

numeric! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64, u128 => U128,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64, i128 => I128,
    f32 => F32, f64 => F64,
}
