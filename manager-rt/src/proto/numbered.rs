//! Numbers on the wire that do not depend on the order in which variants are declared.
//!
//! `derive(Serialize)` numbers the variants of an enum in the order of their declaration. If a variant is added or
//! removed in the middle, every later one changes its number, and a peer of another build runs another operation. So
//! each enum of the protocol has a table in [`numbers`](super::numbers), and [`numbered!`] encodes it by that table:
//!
//! - one varint, followed by the fields in the order of the table, as derived code does;
//! - a variant without a line does not compile, and neither does a number that is used twice or retired;
//! - an unknown number is refused with [`Fault::UnknownOperation`], which names the table and the number.
//!
//! A line may end with `since 4`, which names the version of the protocol that introduced the number, if that is not the
//! first one with a table, 3. A field may be followed by `by Type`: it is decoded as such a [limited](super::limited)
//! type, which contains it.

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::Error;

use super::value::SHARED_BYTES_MIN;
use super::version::{FIRST, NEWEST};
use super::{Fault, ObjectId, Payload, Raw, Table, limited};

/// Refuses an unknown number.
#[cold]
pub(super) fn unknown<E: Error>(table: Table, number: u32) -> E {
    E::custom(limited::refuse(Fault::UnknownOperation { table, number, version: NEWEST }))
}

/// The visitor of an enum that is encoded by its table.
pub(super) struct ByNumber<T>(pub(super) PhantomData<T>);

/// Returns a single field as it is, and several fields as a tuple. Both are encoded as one field after the other.
macro_rules! together {
    ($only:ident) => { $only };
    ($only:ident!$tokens:tt) => { $only!$tokens };
    ($($field:ident),*) => { ($($field),*) };
    ($($field:ident!$tokens:tt),*) => { ($($field!$tokens),*) };
}
pub(super) use together;

/// Returns the pattern of a field, inside the type that limits its decoding.
macro_rules! limited_to {
    ($field:ident) => {
        $field
    };
    ($field:ident $by:ident) => {
        $by($field)
    };
}
pub(super) use limited_to;

/// Encodes an enum by its table, and says of each value which version introduced it. A struct is encoded by derived code,
/// in the order of its fields.
macro_rules! numbered {
    (
        enum $name:ident $(<$p:ident>)? {
            $(
                $number:literal = $variant:ident
                    $(( $($unnamed:ident $(by $unnamed_by:ident)?),+ ))?
                    $({ $($named:ident $(by $named_by:ident)?),+ })?
                    $(since $since:literal)?
            ),+ $(,)?
        }
        $(retired { $($retired:literal),+ $(,)? })?
    ) => {
        impl $(<$p: Serialize>)? Serialize for $name $(<$p>)? {
            #[inline]
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(
                        Self::$variant $(( $($unnamed),+ ))? $({ $($named),+ })? => serializer
                            .serialize_newtype_variant(
                                stringify!($name),
                                $number,
                                stringify!($variant),
                                &together!($($($unnamed),+)? $($($named),+)?),
                            ),
                    )+
                }
            }
        }

        impl<'de $(, $p: Deserialize<'de>)?> Deserialize<'de> for $name $(<$p>)? {
            #[inline]
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let variants = &[$(stringify!($variant)),+];
                deserializer.deserialize_enum(stringify!($name), variants, ByNumber::<Self>(PhantomData))
            }
        }

        impl<'de $(, $p: Deserialize<'de>)?> Visitor<'de> for ByNumber<$name $(<$p>)?> {
            type Value = $name $(<$p>)?;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("a number of ", stringify!($name)))
            }

            #[inline]
            #[deny(unreachable_patterns)]
            fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                let (number, access) = access.variant::<u32>()?;
                match number {
                    $($( $retired )|+ => Err(unknown(Table::$name, number)),)?
                    $(
                        $number => {
                            let together!(
                                $($(limited_to!($unnamed $($unnamed_by)?)),+)?
                                $($(limited_to!($named $($named_by)?)),+)?
                            ) = access.newtype_variant()?;
                            Ok($name::$variant $(( $($unnamed),+ ))? $({ $($named),+ })?)
                        }
                    )+
                    _ => Err(unknown(Table::$name, number)),
                }
            }
        }

        impl $(<$p: Travels>)? Travels for $name $(<$p>)? {
            #[inline]
            fn since(&self) -> u16 {
                match self {
                    $(
                        Self::$variant $(( $($unnamed),+ ))? $({ $($named),+ })? => newest([
                            $($since,)?
                            $($(Travels::since($unnamed),)+)?
                            $($(Travels::since($named),)+)?
                        ]),
                    )+
                }
            }

            #[inline]
            fn long(&self) -> &[u8] {
                match self {
                    $(
                        Self::$variant $(( $($unnamed),+ ))? $({ $($named),+ })? => longest([
                            $($(Travels::long($unnamed),)+)?
                            $($(Travels::long($named),)+)?
                        ]),
                    )+
                }
            }
        }

        #[cfg(test)]
        impl $(<$p: Sample + Serialize>)? Sample for $name $(<$p>)? {
            fn sample() -> Self {
                Self::samples().first().unwrap()()
            }

            fn shape() -> String {
                stringify!($name).to_owned()
            }
        }

        #[cfg(test)]
        impl $(<$p: Sample + Serialize>)? Numbered for $name $(<$p>)? {
            const NAME: &'static str = stringify!($name);

            fn samples() -> Vec<fn() -> Self> {
                vec![$(
                    || Self::$variant
                        $(( $(sample_of(stringify!($unnamed))),+ ))?
                        $({ $($named: sample_of(stringify!($named))),+ })?
                ),+]
            }

            fn line(&self) -> Line {
                match self {
                    $(
                        Self::$variant $(( $($unnamed),+ ))? $({ $($named),+ })? => Line {
                            number: $number,
                            since: newest([$($since)?]),
                            name: stringify!($variant),
                            fields: vec![
                                $($(shape_of($unnamed)),+)?
                                $($(format!("{}: {}", stringify!($named), shape_of($named))),+)?
                            ],
                        },
                    )+
                }
            }

            fn retired() -> Vec<u32> {
                vec![$($($retired),+)?]
            }
        }
    };

    (struct $name:ident $(<$p:ident>)? { $($field:ident),+ $(,)? }) => {
        impl $(<$p: Travels>)? Travels for $name $(<$p>)? {
            #[inline]
            fn since(&self) -> u16 {
                newest([$(self.$field.since()),+])
            }

            #[inline]
            fn long(&self) -> &[u8] {
                longest([$(self.$field.long()),+])
            }
        }

        #[cfg(test)]
        impl $(<$p: Sample + Serialize>)? Sample for $name $(<$p>)? {
            fn sample() -> Self {
                Self { $($field: sample_of(stringify!($field))),+ }
            }

            fn shape() -> String {
                let Self { $($field),+ } = Self::sample();
                let fields = [$(format!("{}: {}", stringify!($field), shape_of(&$field))),+];
                format!("({})", fields.join(", "))
            }
        }
    };
}
pub(super) use numbered;

/// What travels as an operation or an answer, or as a part of one.
pub(crate) trait Travels {
    /// Returns the version of the protocol that introduced the newest number in it.
    #[inline]
    fn since(&self) -> u16 {
        FIRST
    }

    /// Returns the bytes of the longest value that is worth sending from where it is, or nothing. Sequences have none.
    #[inline]
    fn long(&self) -> &[u8] {
        &[]
    }
}

/// Returns the longest of several slices.
#[inline]
pub(super) fn longest<const COUNT: usize>(slices: [&[u8]; COUNT]) -> &[u8] {
    let mut longest: &[u8] = &[];
    for slice in slices {
        if slice.len() > longest.len() {
            longest = slice;
        }
    }
    longest
}

/// Returns the newest of several versions.
#[inline]
pub(super) fn newest<const COUNT: usize>(versions: [u16; COUNT]) -> u16 {
    versions.into_iter().fold(FIRST, u16::max)
}

impl Travels for bool {}
impl Travels for u8 {}
impl Travels for u16 {}
impl Travels for u32 {}
impl Travels for u64 {}
impl Travels for u128 {}
impl Travels for i8 {}
impl Travels for i16 {}
impl Travels for i32 {}
impl Travels for i64 {}
impl Travels for i128 {}
impl Travels for f32 {}
impl Travels for f64 {}
impl Travels for String {}
impl Travels for Duration {}
impl Travels for ObjectId {}
impl Travels for Raw<'_> {
    #[inline]
    fn long(&self) -> &[u8] {
        if self.bytes.len() < SHARED_BYTES_MIN { &[] } else { self.bytes }
    }
}
impl Travels for Payload {}

impl<T: Travels> Travels for Box<T> {
    #[inline]
    fn since(&self) -> u16 {
        T::since(self)
    }
}

impl<T: Travels> Travels for Vec<T> {
    #[inline]
    fn since(&self) -> u16 {
        self.iter().map(T::since).fold(FIRST, u16::max)
    }
}

impl<T: Travels> Travels for Option<T> {
    #[inline]
    fn since(&self) -> u16 {
        self.as_ref().map_or(FIRST, T::since)
    }
}

impl<A: Travels, B: Travels> Travels for (A, B) {
    #[inline]
    fn since(&self) -> u16 {
        self.0.since().max(self.1.since())
    }
}
