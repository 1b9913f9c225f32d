//! postcard's decoder, with errors that keep their text.
//!
//! It stands between a value and postcard, and passes every request on. It records the first error of the thread that passes
//! through, because that is the cause of the others.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

pub(super) const NO_TYPE: &str = "it asks the bytes for their type, as enums do that are `untagged` or have a `tag`, structs with a \
                       `flatten`, and values of any shape; these bytes tell no types";

thread_local! {
    static NOTE: Cell<Option<String>> = const { Cell::new(None) };
}

fn note(words: impl FnOnce() -> String) {
    swap_note(Some(take_note().unwrap_or_else(words)));
}

fn take_note() -> Option<String> {
    swap_note(None)
}

/// Swaps the note of this thread. A value may be decoded while the thread ends, when its note no longer exists.
fn swap_note(new: Option<String>) -> Option<String> {
    NOTE.try_with(|note| note.replace(new)).unwrap_or_default()
}

/// Decodes a value and drops it. Returns the number of bytes left over, or the text of the first error, if it had one.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<usize, Option<String>> {
    take_note();
    let mut decoder = postcard::Deserializer::from_bytes(bytes);
    let decoded = T::deserialize(Noting(&mut decoder));
    let words = take_note();
    match decoded {
        Ok(_value) => Ok(decoder.finalize().map_or(0, <[u8]>::len)),
        Err(Noted(error)) => Err(words.or_else(|| Some(error.to_string()))),
    }
}

/// An error whose text was recorded.
#[derive(Debug)]
struct Noted<E>(E);

impl<E: Display> Display for Noted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for Noted<E> {}

impl<E: Error> Error for Noted<E> {
    fn custom<T: Display>(words: T) -> Self {
        note(|| words.to_string());
        Self(E::custom(words))
    }
}

/// Wraps an implementation of any of serde's traits, and passes its calls on.
struct Noting<T>(T);

macro_rules! hands_on {
    ($($method:ident($($argument:ident: $type:ty),*)),+) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$method($($argument,)* Noting(visitor)).map_err(Noted)
        })+
    };
}

macro_rules! has_no_type {
    ($($method:ident),+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$method(Noting(visitor)).map_err(|error| {
                // serde asks for the names of variants in this way as well, and postcard can provide those.
                note(|| NO_TYPE.to_owned());
                Noted(error)
            })
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Noting<D> {
    type Error = Noted<D::Error>;

    has_no_type!(deserialize_any, deserialize_ignored_any, deserialize_identifier);
    hands_on!(deserialize_bool(), deserialize_char(), deserialize_str(), deserialize_string());
    hands_on!(deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128());
    hands_on!(deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128());
    hands_on!(deserialize_f32(), deserialize_f64(), deserialize_bytes(), deserialize_byte_buf());
    hands_on!(deserialize_option(), deserialize_unit(), deserialize_seq(), deserialize_map());
    hands_on!(deserialize_unit_struct(name: &'static str), deserialize_newtype_struct(name: &'static str));
    hands_on!(deserialize_tuple(len: usize), deserialize_tuple_struct(name: &'static str, len: usize));
    hands_on!(deserialize_struct(name: &'static str, fields: &'static [&'static str]));
    hands_on!(deserialize_enum(name: &'static str, variants: &'static [&'static str]));

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visits {
    ($($method:ident: $type:ty),+) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value).map_err(|Noted(error)| error)
        })+
    };
}

macro_rules! visits_parts {
    ($($method:ident: $access:ident),+) => {
        $(fn $method<A: $access<'de>>(self, access: A) -> Result<V::Value, A::Error> {
            self.0.$method(Noting(access)).map_err(|Noted(error)| error)
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Noting<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visits!(visit_bool: bool, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String);
    visits!(visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128);
    visits!(visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128);
    visits!(visit_f32: f32, visit_f64: f64);
    visits!(visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>);
    visits_parts!(visit_seq: SeqAccess, visit_map: MapAccess, visit_enum: EnumAccess);
    visits_parts!(visit_some: Deserializer, visit_newtype_struct: Deserializer);

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none().map_err(|Noted(error)| error)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit().map_err(|Noted(error)| error)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Noting<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Noting(from)).map_err(|Noted(error)| error)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Noting<A> {
    type Error = Noted<A::Error>;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Self::Error> {
        self.0.next_element_seed(Noting(seed)).map_err(Noted)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Noting<A> {
    type Error = Noted<A::Error>;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Self::Error> {
        self.0.next_key_seed(Noting(seed)).map_err(Noted)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Self::Error> {
        self.0.next_value_seed(Noting(seed)).map_err(Noted)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Noting<A> {
    type Error = Noted<A::Error>;
    type Variant = Noting<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), Self::Error> {
        let (value, variant) = self.0.variant_seed(Noting(seed)).map_err(Noted)?;
        Ok((value, Noting(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Noting<A> {
    type Error = Noted<A::Error>;

    fn unit_variant(self) -> Result<(), Self::Error> {
        self.0.unit_variant().map_err(Noted)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Self::Error> {
        self.0.newtype_variant_seed(Noting(seed)).map_err(Noted)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.tuple_variant(len, Noting(visitor)).map_err(Noted)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.struct_variant(fields, Noting(visitor)).map_err(Noted)
    }
}
