//! How the handles of all objects travel in messages.
//!
//! A handle is encoded as the place of the object in shared memory, and the message carries the memory's descriptor. Decoding
//! it returns a handle of the same object. An object with a name is encoded as its name. The message then carries the
//! object's file, so that the name stays in use while the message is on its way; only processes of the same user can decode
//! it. Outside a message nothing can carry the descriptor, so encoding returns an error that says so and what to do instead.

use std::fmt::Display;

use mp_sys::named::{ExistingSpan, Placed, Segment, What};
use mp_sys::travel::{self, Parcel};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::named::NameError;

/// The parts of a handle.
pub(crate) struct Parts<'a, O> {
    /// The object in shared memory.
    pub(crate) object: &'a O,
    /// Its number of elements.
    pub(crate) count: usize,
    /// The segment of an object that has a name.
    pub(crate) segment: Option<&'a Segment>,
}

/// A handle of one object in shared memory.
pub(crate) trait Travels: Sized {
    type Object: Placed;

    /// Returns the description by which programs agree on the object.
    fn what() -> What;

    fn parts(&self) -> Parts<'_, Self::Object>;

    /// Makes a handle of an object of `count` elements that arrived, or `None` if the object is too small.
    fn arrive(object: ExistingSpan<Self::Object>, count: usize) -> Option<Self>;

    fn open_named(name: &str) -> Result<Self, NameError>;
}

/// The form of a handle in a message: the place of the object, or the index of its file and its name.
type Form<'a> = (Parcel, &'a str);

pub(crate) fn serialize<T: Travels, S: Serializer>(handle: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let parts = handle.parts();
    let form: Form<'_> = match parts.segment {
        None => {
            let count = u64::try_from(parts.count).unwrap_or(u64::MAX);
            let parcel = travel::pack_object(parts.object, T::what(), count);
            (parcel.map_err(ser::Error::custom)?, "")
        }
        Some(segment) => {
            let index = travel::pack(segment.file()).map_err(ser::Error::custom)?;
            ([u64::from(index), 0, 0, 0, 0, 0], segment.name())
        }
    };
    form.serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Travels, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let refused = |reason: &dyn Display| D::Error::custom(travel::refuse(reason));
    let (parcel, name) = <(Parcel, String)>::deserialize(deserializer)?;
    if name.is_empty() {
        let (object, count) = travel::unpack_object(parcel, T::what()).map_err(D::Error::custom)?;
        let count = usize::try_from(count).map_err(D::Error::custom)?;
        return T::arrive(object, count).ok_or_else(|| refused(&"the object is too small"));
    }
    let [index, ..] = parcel;
    let index = u32::try_from(index).map_err(D::Error::custom)?;
    // This file holds the name until the object is open. Then it is closed.
    let file = travel::unpack(index).map_err(D::Error::custom)?;
    let handle = T::open_named(&name).map_err(|error| refused(&error))?;
    if !handle.parts().segment.is_some_and(|segment| segment.is_in(&file)) {
        return Err(refused(&"another object has the name by now"));
    }
    Ok(handle)
}

/// Stamps serde's traits on a handle.
macro_rules! travels {
    ($type:ident $(<$param:ident: $bound:ident>)?) => {
        impl$(<$param: $bound>)? serde::Serialize for $type$(<$param>)? {
            /// Encodes the handle inside a message of a pipe or connection, or among the arguments of a process, which then
            /// carries the descriptor of the object's memory.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::travel::serialize(self, serializer)
            }
        }

        impl<'de $(, $param: $bound)?> serde::Deserialize<'de> for $type$(<$param>)? {
            /// Returns a handle of the same object.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::travel::deserialize(deserializer)
            }
        }
    };
}

pub(crate) use travels;
