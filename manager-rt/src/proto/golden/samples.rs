//! An example of each type that travels.

use std::time::Duration;

use crate::proto::{ObjectId, Payload, Raw};

/// A type that travels.
pub(in crate::proto) trait Sample: Sized {
    /// Returns an example.
    fn sample() -> Self;

    /// Returns the name of the type, which is the same in every build.
    fn shape() -> String;
}

/// Returns an example for a field.
pub(in crate::proto) fn sample_of<T: Sample>(_field: &str) -> T {
    T::sample()
}

/// Returns the name of the type of a field.
pub(in crate::proto) fn shape_of<T: Sample>(_field: &T) -> String {
    T::shape()
}

macro_rules! samples {
    ($($type:ty = $sample:expr;)+) => {
        $(impl Sample for $type {
            fn sample() -> Self {
                $sample
            }

            fn shape() -> String {
                stringify!($type).to_owned()
            }
        })+
    };
}

samples! {
    bool = true;
    u8 = 0xfe;
    u16 = 300;
    u32 = 400;
    u64 = 500;
    u128 = 600;
    i8 = -2;
    i16 = -300;
    i32 = -400;
    i64 = -500;
    i128 = -600;
    f32 = 1.5;
    f64 = -2.25;
    String = "name".to_owned();
    ObjectId = ObjectId(0x0123_4567);
    Duration = Duration::new(700, 800);
}

impl Sample for Payload {
    fn sample() -> Self {
        Self::copy(Raw { bytes: b"v", ids: &7_u64.to_le_bytes() })
    }

    fn shape() -> String {
        "value".to_owned()
    }
}

impl<T: Sample> Sample for Box<T> {
    fn sample() -> Self {
        Self::new(T::sample())
    }

    fn shape() -> String {
        T::shape()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample() -> Self {
        vec![T::sample(), T::sample()]
    }

    fn shape() -> String {
        format!("[{}]", T::shape())
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample() -> Self {
        Some(T::sample())
    }

    fn shape() -> String {
        format!("{}?", T::shape())
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample() -> Self {
        (A::sample(), B::sample())
    }

    fn shape() -> String {
        format!("({}, {})", A::shape(), B::shape())
    }
}
