//! An encoder that records only the text of the first error and the first field that was left out.
//!
//! An error inside a value ends only that part. The encoder still looks at the parts behind it.

use std::fmt::{self, Display};

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// What the encoder found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) error: Option<String>,
    /// The name of a struct or variant, and the name of its field.
    pub(super) left_out: Option<(&'static str, &'static str)>,
}

pub(super) fn look<T: Serialize + ?Sized>(value: &T) -> Seen {
    let mut seen = Seen::default();
    seen.part(value);
    seen
}

impl Seen {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) {
        if let Err(Words(words)) = value.serialize(Writer { seen: self, of: "" }) {
            self.error.get_or_insert(words);
        }
    }
}

/// An error that consists of its text.
#[derive(Debug)]
pub(super) struct Words(String);

impl Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Words {}

impl Error for Words {
    fn custom<T: Display>(words: T) -> Self {
        Self(words.to_string())
    }
}

struct Writer<'a> {
    seen: &'a mut Seen,
    /// The struct or variant to which the fields belong.
    of: &'static str,
}

macro_rules! ignores {
    ($($method:ident: $type:ty),+) => {
        $(fn $method(self, _: $type) -> Result<(), Words> {
            Ok(())
        })+
    };
}

impl Serializer for Writer<'_> {
    type Ok = ();
    type Error = Words;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    ignores!(serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]);
    ignores!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    ignores!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128);
    ignores!(serialize_f32: f32, serialize_f64: f64, serialize_unit_struct: &'static str);

    fn serialize_none(self) -> Result<(), Words> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Words> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Words> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Words> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Words> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Words> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Words> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Words> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Words> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Words> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Words> {
        Ok(self)
    }

    fn serialize_struct(self, of: &'static str, _: usize) -> Result<Self, Words> {
        Ok(Self { of, ..self })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        of: &'static str,
        _: usize,
    ) -> Result<Self, Words> {
        Ok(Self { of, ..self })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! looks_at {
    ($($name:ident: $($method:ident),+;)+) => {
        $(impl $name for Writer<'_> {
            type Ok = ();
            type Error = Words;

            $(fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Words> {
                self.seen.part(value);
                Ok(())
            })+

            fn end(self) -> Result<(), Words> {
                Ok(())
            }
        })+
    };
}

looks_at! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key, serialize_value;
}

macro_rules! has_names {
    ($($name:ident),+) => {
        $(impl $name for Writer<'_> {
            type Ok = ();
            type Error = Words;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Words> {
                self.seen.part(value);
                Ok(())
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), Words> {
                self.seen.left_out.get_or_insert((self.of, field));
                Ok(())
            }

            fn end(self) -> Result<(), Words> {
                Ok(())
            }
        })+
    };
}

has_names!(SerializeStruct, SerializeStructVariant);
