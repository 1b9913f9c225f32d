//! Where a listener is found: a name, and a key that both sides must have.

use std::fmt;

use mp_sys::key::Key;
use mp_sys::line::Short;
use mp_sys::travel;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use crate::limits::ADDRESS_BYTES_MAX;

/// The name that a listener has, and optionally a key.
///
/// Names are those of local sockets, in the kernel's namespace and not in the file system: a name ends with its listener,
/// however that ends, and nothing is left behind. Processes of other users are refused, and so are listeners of other
/// users. The key, if there is one, is proved by both sides and never sent.
///
/// An address travels in messages, queues and the arguments of processes, if it has no key: an address that has one is refused,
/// lest the key comes to lie where it does not belong. Whoever needs both is told the name, and has the key from elsewhere.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// use mp::Address;
///
/// let open = Address::from("jobs");
/// let secret = Address::new("jobs").key("correct horse battery staple");
/// assert_eq!(format!("{secret:?}"), r#"Address("jobs", with a key)"#);
/// # drop(open);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    name: String,
    key: Key,
}

impl Address {
    /// The address of this name, without a key.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), key: Key::default() }
    }

    /// The same name with a key, which the other side must have as well. An empty key is none.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(self, key: impl Into<Key>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The name, if it can be one.
    pub(crate) fn checked_name(&self) -> Option<&str> {
        let fits = (1..=ADDRESS_BYTES_MAX).contains(&self.name.len());
        (fits && !self.name.contains('\0')).then_some(&self.name)
    }

    pub(crate) fn key_bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

impl From<&str> for Address {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Address {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl Serialize for Address {
    /// The name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.key.is_none() {
            return self.name.serialize(serializer);
        }
        let reason = "an address with a key does not travel: send its name, and add the key where it arrives";
        Err(ser::Error::custom(travel::refuse(reason)))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Address {
    /// Shows whether there is a key, and not which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_none() { "" } else { ", with a key" };
        write!(f, "Address({}{key})", Short(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_travels_and_a_key_does_not() {
        let open = Address::new("jobs");
        let bytes = postcard::to_stdvec(&open).unwrap();
        assert_eq!(postcard::from_bytes::<Address>(&bytes).unwrap(), open);
        let (refused, reason) = travel::alone(|| postcard::to_stdvec(&open.key("secret")));
        assert!(refused.is_err());
        assert!(reason.unwrap().to_string().contains("send its name"));
    }
}
