//! Keys in messages to our own processes: a server that this process starts, and the arguments of a child.
//!
//! [`Key`] cannot be serialized by itself, so that no key ends up where it does not belong. A field that has to travel
//! with its key names this module.

use mp_sys::key::Key;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    key.as_bytes().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Vec::<u8>::deserialize(from).map(Key::from)
}
