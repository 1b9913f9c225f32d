//! The secret that both sides of a handshake prove.
//!
//! `Debug` never shows the key, and the key's bytes are overwritten when it is dropped. Every part of the library that keeps
//! a program's key keeps it as this type. A copy of the bytes leaves the type in three ways: into the hash of a handshake,
//! which is wiped as well; into the packet that starts a server, which [`wipe`] clears; and into the arguments of a child,
//! which then has the key as its parent does. What [`Key::derived`] returns says nothing about the key.
//!
//! Source: the crates `zeroize`, `hmac` and `sha2`.

pub mod file;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The length of a derived key, in bytes.
pub const DERIVED_BYTES: usize = 32;

/// The secret that both sides of a connection prove that they have: any number of bytes. No bytes mean that there is no key.
///
/// | property | |
/// |---|---|
/// | `Debug` | shows whether there is a key, and never its bytes |
/// | drop | overwrites the bytes |
/// | comparison | takes a time that does not depend on the bytes |
///
/// # Fork safety
/// A forked child has a copy.
///
/// # Source
/// Python's `multiprocessing.process.AuthenticationString`, whose `repr` shows the secret.
///
/// # Examples
/// ```
/// use mp_sys::key::Key;
///
/// let key = Key::from("correct horse battery staple");
/// assert_eq!(format!("{key:?}"), "Key(..)");
/// assert!(key == Key::from(b"correct horse battery staple"));
/// assert_eq!(format!("{:?}", Key::default()), "Key(none)");
/// ```
#[doc(alias = "authkey")]
#[derive(Clone, Default)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes a random key, which nobody can guess.
    ///
    /// # Errors
    /// `EAGAIN` early in a boot.
    #[doc(hidden)]
    pub fn random() -> Result<Self, crate::OsError> {
        crate::handoff::nonce().map(Self::from)
    }

    /// Derives another key, for one purpose, from which this one cannot be found: HMAC-SHA256 of the purpose. Two keys for
    /// different purposes have nothing in common.
    #[must_use]
    #[doc(hidden)]
    pub fn derived(&self, purpose: &[u8]) -> Zeroizing<[u8; DERIVED_BYTES]> {
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        // HMAC takes keys of any length.
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            derived.copy_from_slice(&mac.chain_update(purpose).finalize().into_bytes());
        }
        derived
    }
}

/// Overwrites bytes that a key was copied to.
pub fn wipe(bytes: &mut [u8]) {
    bytes.zeroize();
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Key(none)" } else { "Key(..)" })
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(other.0.iter()).fold(0, |bits, (one, other)| bits | (one ^ other));
        // The result is decided only after all bytes were compared.
        self.0.len() == other.0.len() && std::hint::black_box(differing) == 0
    }
}

impl Eq for Key {}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        text.as_bytes().into()
    }
}

impl From<&Vec<u8>> for Key {
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl<const LEN: usize> From<&[u8; LEN]> for Key {
    fn from(bytes: &[u8; LEN]) -> Self {
        bytes.as_slice().into()
    }
}

impl<const LEN: usize> From<[u8; LEN]> for Key {
    fn from(mut bytes: [u8; LEN]) -> Self {
        let key = bytes.as_slice().into();
        wipe(&mut bytes);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second case of RFC 4231.
    #[test]
    fn a_derived_key_is_an_hmac_of_its_purpose() {
        let derived = Key::from("Jefe").derived(b"what do ya want for nothing?");
        let hex: String = derived.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = Key::from("secret");
        assert_eq!(format!("{key:?} {key:#?}"), "Key(..) Key(..)");
        assert_eq!(format!("{:?}", Key::from("")), "Key(none)");
    }

    #[test]
    fn keys_are_equal_if_their_bytes_are() {
        let all = [Key::default(), "a".into(), "ab".into(), "ac".into(), vec![b'a', b'b', 0].into()];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one == other, at == other_at);
            }
            assert_eq!(one, &one.clone());
        }
        assert_eq!(Key::from([1, 2]), Key::from(vec![1, 2]));
        assert_eq!(Key::from("ab".to_owned()).as_bytes(), b"ab");
    }

    #[test]
    fn wiped_bytes_are_overwritten() {
        let mut bytes = *b"secret";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 6]);
    }
}
