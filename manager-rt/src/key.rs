//! A key in a message to a process of our own: the server that we start, or a child's arguments.
//!
//! [`Key`] itself does not travel, lest one comes to lie where it does not belong.

use mp_sys::key::Key;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    key.as_bytes().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Vec::<u8>::deserialize(from).map(Key::from)
}
