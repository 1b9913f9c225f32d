//! Values as text: from the encoded bytes of a known type to JSON and back.
//!
//! Numbers beyond 64 bits, and floats that JSON lacks, are strings in JSON: `"340282366920938463463374607431768211455"`, `"NaN"`.

use manager_rt::proto::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value as Json, json};

use crate::types::{Scalar, Type};

/// A value that was read, or the reason why only its bytes can be shown.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    Value(Json),
    Bytes(Vec<u8>),
}

impl Shown {
    /// Reads a value of this type, or returns its bytes if the type is unknown or the bytes are no such value.
    pub(crate) fn of(payload: &Payload, of: Option<&Type>) -> Self {
        let bytes = payload.raw().bytes;
        match of.and_then(|of| decoded(of, bytes)) {
            Some((value, [])) => Self::Value(value),
            _ => Self::Bytes(bytes.to_vec()),
        }
    }

    /// Returns the value as JSON. Bytes become `{"hex": "…"}`, which no value looks like.
    pub(crate) fn json(self) -> Json {
        match self {
            Self::Value(value) => value,
            Self::Bytes(bytes) => json!({ "hex": hex(&bytes) }),
        }
    }

    /// Returns the value as text: a scalar as it is, bytes as hexadecimal digits, everything else as JSON.
    pub(crate) fn text(&self, of: Option<&Type>) -> String {
        match self {
            Self::Bytes(bytes) => format!("0x{}", hex(bytes)),
            Self::Value(Json::String(text)) if matches!(of, Some(Type::Scalar(_))) => text.clone(),
            Self::Value(Json::Array(items)) if of.is_some_and(is_bytes) => {
                let bytes = items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok());
                format!("0x{}", hex(&bytes.collect::<Vec<_>>()))
            }
            Self::Value(value) => value.to_string(),
        }
    }
}

fn is_bytes(of: &Type) -> bool {
    *of == Type::Vec(Box::new(Type::Scalar(Scalar::U8)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes a value. Returns it with the bytes that follow it.
fn decoded<'b>(of: &Type, bytes: &'b [u8]) -> Option<(Json, &'b [u8])> {
    match of {
        Type::Scalar(scalar) => with_scalar!(*scalar, T => {
            let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
            Some((value.to_json(), rest))
        }),
        Type::Option(inner) => match bytes {
            [0, rest @ ..] => Some((Json::Null, rest)),
            [1, rest @ ..] => decoded(inner, rest),
            _ => None,
        },
        Type::Vec(inner) => {
            let (count, rest) = postcard::take_from_bytes::<usize>(bytes).ok()?;
            several(std::iter::repeat_n(&**inner, count), rest)
        }
        Type::Array(inner, count) => several(std::iter::repeat_n(&**inner, *count), bytes),
        Type::Tuple(fields) => several(fields.iter(), bytes),
    }
}

/// Decodes values one after another. Each takes at least one byte, so a wrong count ends soon.
fn several<'t, 'b>(types: impl Iterator<Item = &'t Type>, mut bytes: &'b [u8]) -> Option<(Json, &'b [u8])> {
    let mut values = Vec::new();
    for of in types {
        let (value, rest) = decoded(of, bytes)?;
        values.push(value);
        bytes = rest;
    }
    Some((Json::Array(values), bytes))
}

/// Encodes a value of this type from the text of an argument.
///
/// # Errors
/// Says what was expected.
pub(crate) fn from_text(of: &Type, text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{text:?} is not a value of type {of}");
    let mut bytes = Vec::new();
    match of {
        Type::Scalar(scalar) => with_scalar!(*scalar, T => {
            append(&mut bytes, &T::from_text(text).ok_or_else(wrong)?)?;
        }),
        _ => {
            let value = match text.strip_prefix("0x").filter(|_| is_bytes(of)) {
                Some(digits) => bytes_of(digits).ok_or_else(wrong)?,
                None => serde_json::from_str(text)
                    .map_err(|error| format!("{}, written as JSON: {error}", wrong()))?,
            };
            encode(of, &value, &mut bytes)?;
        }
    }
    Ok(bytes)
}

fn bytes_of(digits: &str) -> Option<Json> {
    let is_even = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let places = is_even.then(|| (0..digits.len()).step_by(2))?;
    let bytes: Option<Vec<u8>> =
        places.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect();
    bytes.map(Json::from)
}

/// Appends the encoded form of a value.
fn encode(of: &Type, value: &Json, bytes: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("{value} is not a value of type {of}");
    match (of, value) {
        (Type::Scalar(scalar), _) => with_scalar!(*scalar, T => {
            append(bytes, &T::from_json(value).ok_or_else(wrong)?)
        }),
        (Type::Option(_), Json::Null) => append(bytes, &0_u8),
        (Type::Option(inner), _) => {
            append(bytes, &1_u8)?;
            encode(inner, value, bytes)
        }
        (Type::Vec(inner), Json::Array(items)) => {
            append(bytes, &items.len())?;
            items.iter().try_for_each(|item| encode(inner, item, bytes))
        }
        (Type::Array(inner, count), Json::Array(items)) if items.len() == *count => {
            items.iter().try_for_each(|item| encode(inner, item, bytes))
        }
        (Type::Tuple(fields), Json::Array(items)) if items.len() == fields.len() => {
            fields.iter().zip(items).try_for_each(|(field, item)| encode(field, item, bytes))
        }
        _ => Err(wrong()),
    }
}

fn append<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<(), String> {
    bytes.extend(postcard::to_allocvec(value).map_err(|error| error.to_string())?);
    Ok(())
}

/// A scalar as JSON and as the text of an argument.
trait Plain: Sized + Serialize + DeserializeOwned {
    fn to_json(&self) -> Json;
    fn from_json(json: &Json) -> Option<Self>;
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),+) => {
        $(impl Plain for $type {
            fn to_json(&self) -> Json {
                let number = u64::try_from(*self).map(Number::from).or_else(|_| i64::try_from(*self).map(Number::from));
                number.map_or_else(|_| Json::String(self.to_string()), Json::Number)
            }

            fn from_json(json: &Json) -> Option<Self> {
                match json {
                    Json::Number(number) => number.to_string().parse().ok(),
                    Json::String(text) if size_of::<Self>() > size_of::<u64>() => text.parse().ok(),
                    _ => None,
                }
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })+
    };
}

integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

macro_rules! floats {
    ($($type:ty),+) => {
        $(impl Plain for $type {
            fn to_json(&self) -> Json {
                // By way of the shortest text, since 0.1_f32 is 0.10000000149011612_f64.
                let number = self.to_string().parse().ok().and_then(Number::from_f64);
                number.map_or_else(|| Json::String(self.to_string()), Json::Number)
            }

            fn from_json(json: &Json) -> Option<Self> {
                match json {
                    Json::Number(number) => number.to_string().parse().ok(),
                    Json::String(text) if ["NaN", "inf", "-inf"].contains(&text.as_str()) => text.parse().ok(),
                    _ => None,
                }
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })+
    };
}

floats!(f32, f64);

impl Plain for bool {
    fn to_json(&self) -> Json {
        Json::Bool(*self)
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_bool()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Plain for char {
    fn to_json(&self) -> Json {
        Json::String(self.to_string())
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_str().and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Plain for String {
    fn to_json(&self) -> Json {
        Json::String(self.clone())
    }

    fn from_json(json: &Json) -> Option<Self> {
        json.as_str().map(str::to_owned)
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
