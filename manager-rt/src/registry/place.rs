//! [`Place`]: how a message refers to a manager.
//!
//! In the arguments of a child, a manager and each proxy carry the key: the child inherits nothing else from its parent,
//! and passes the key on to its own children in the same way.

use mp_sys::key::Key;
use mp_sys::travel;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::registry;

/// How a message refers to a manager: by its address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// `None` if the manager lives in the memory of a process.
    address: Option<String>,
    key: Option<Given>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Given(#[serde(with = "crate::key")] Key);

impl Place {
    /// Refers to an address, and includes the key if the value is about to be an argument of a child.
    pub(crate) fn new(address: Option<String>) -> Self {
        let parsed = address.as_deref().filter(|_| travel::is_argument()).map(str::parse::<Address>);
        let key = parsed.and_then(Result::ok).and_then(|address| registry::known_key(&address));
        Self { address, key: key.map(Given) }
    }

    /// Returns the address, and remembers a key that came from the parent. A key in any other message is ignored, since
    /// anyone could have sent it.
    pub(crate) fn arrive(self) -> Option<String> {
        let Self { address, key } = self;
        let address = address?;
        if let (Some(Given(key)), Ok(place), true) = (key, address.parse(), travel::is_argument()) {
            registry::learn_key(&place, &key);
        }
        Some(address)
    }
}
