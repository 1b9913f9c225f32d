//! A key in a message to a process of our own: the server that we start, or a child's arguments.
//!
//! [`Key`] itself does not travel, lest one comes to lie where it does not belong. In the arguments of a child, a manager and
//! each proxy bring the key along: the child has nothing else of its parent, and hands it to its own children in the same way.

use mp_sys::key::Key;
use mp_sys::travel;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Address;
use crate::registry;

/// A manager that is reached by its address, in a message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// `None` if it lives in the memory of a process.
    address: Option<String>,
    key: Option<Given>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Given(#[serde(with = "crate::key")] Key);

impl Place {
    /// Of an address, with the key if it is about to be an argument of a child.
    pub(crate) fn new(address: Option<String>) -> Self {
        let parsed = address.as_deref().filter(|_| travel::is_argument()).map(str::parse::<Address>);
        let key = parsed.and_then(Result::ok).and_then(|address| registry::known_key(&address));
        Self { address, key: key.map(Given) }
    }

    /// The address. A key that the parent gave is remembered; one in any other message is not, for it may be anybody's.
    pub(crate) fn arrive(self) -> Option<String> {
        let Self { address, key } = self;
        let address = address?;
        if let (Some(Given(key)), Ok(place), true) = (key, address.parse(), travel::is_argument()) {
            registry::learn_key(&place, &key);
        }
        Some(address)
    }
}

pub(crate) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    key.as_bytes().serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
    Vec::<u8>::deserialize(from).map(Key::from)
}
