//! Addresses of listeners: a name, and optionally a key that both sides must have.

use std::fmt;

use mp_sys::key::Key;
use mp_sys::line::Short;
use mp_sys::travel;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::limits::ADDRESS_BYTES_MAX;

/// The name of a listener, and optionally a key.
///
/// Names are those of local sockets, in the kernel's namespace and not in the file system. A name disappears with its
/// listener, however the listener ends, and nothing is left behind. Processes and listeners of other users are refused. If
/// there is a key, both sides prove that they have it; the key itself is never sent.
///
/// An address without a key travels in messages, queues and the arguments of processes. An address with a key travels only
/// in the arguments of a child, so that no copy of the key is left elsewhere. In other places, send the name, and add the
/// key where it arrives.
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
    /// Returns the address with this name and without a key.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), key: Key::default() }
    }

    /// Returns the address with this key, which the other side must have as well. An empty key means no key.
    #[doc(alias = "authkey")]
    #[must_use]
    pub fn key(self, key: impl Into<Key>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Returns the name if it is valid.
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

/// The encoded form: the name, and in the arguments of a child also a key.
type Form<N, K> = (N, Option<K>);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = (!self.key.is_none()).then(|| self.key.as_bytes());
        if key.is_some() && !travel::is_argument() {
            let reason = "an address with a key travels only to a child: send its name, and add the key where it arrives";
            return Err(ser::Error::custom(travel::refuse(reason)));
        }
        let form: Form<&str, &[u8]> = (&self.name, key);
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, key) = Form::<String, Vec<u8>>::deserialize(deserializer)?;
        match key {
            None => Ok(Self::new(name)),
            Some(key) if travel::is_argument() => Ok(Self::new(name).key(key)),
            // No sender of this library does that.
            Some(_) => {
                Err(de::Error::custom(travel::refuse("the message carries a key, which a message must not")))
            }
        }
    }
}

impl fmt::Debug for Address {
    /// Shows whether there is a key, but not the key itself.
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
        let secret = Address::new("jobs").key("secret");
        let (bytes, _) = travel::encode_arguments(0, || postcard::to_stdvec(&secret).unwrap());
        let decode = || postcard::from_bytes::<Address>(&bytes);
        assert_eq!(travel::decode_arguments(vec![], decode).0.unwrap(), secret);
        let (refused, reason) = travel::decode(vec![], decode);
        assert!(refused.is_err());
        assert_eq!(reason.unwrap().to_string(), "the message carries a key, which a message must not");
    }
}
