//! Objects inside messages: what all of them have in common.
//!
//! A handle is encoded as the place of the object in shared memory, whose descriptor goes with the message; whoever
//! decodes it has a handle of the same object. An object with a name goes by its name, and its file goes along, so that
//! the name stays in use while the message is on its way; it arrives with processes of the same user only. Outside of a
//! message there is nothing that could carry the descriptor, and encoding is an error that says so, and what to do.

use std::fmt::Display;

use mp_sys::named::{ExistingSpan, Placed, Segment, What};
use mp_sys::travel::{self, Parcel};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::named::NameError;

/// What a handle is made of.
pub(crate) struct Parts<'a, O> {
    /// What lies in shared memory.
    pub(crate) object: &'a O,
    /// Its number of elements.
    pub(crate) count: usize,
    /// If it has a name.
    pub(crate) segment: Option<&'a Segment>,
}

/// A handle of one object in shared memory.
pub(crate) trait Travels: Sized {
    type Object: Placed;

    /// What the object is between programs.
    fn what() -> What;

    fn parts(&self) -> Parts<'_, Self::Object>;

    /// A handle of an object of `count` elements that arrived; `None` if it is too small.
    fn arrive(object: ExistingSpan<Self::Object>, count: usize) -> Option<Self>;

    fn open_named(name: &str) -> Result<Self, NameError>;
}

/// How a handle looks in a message: where the object is; or the index of its file, and its name.
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
    // It holds the name until the object is open, and then it is closed.
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
            /// Inside a message of a pipe or connection, or among the arguments of a process: the descriptor of its memory
            /// travels along.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::travel::serialize(self, serializer)
            }
        }

        impl<'de $(, $param: $bound)?> serde::Deserialize<'de> for $type$(<$param>)? {
            /// Gives a handle of the same object.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::travel::deserialize(deserializer)
            }
        }
    };
}

pub(crate) use travels;
