//! `redis://… amqp://…`: a Redis server for the objects of a manager, and a RabbitMQ server for its queues.

use std::fmt;

use mp_sys::key::Key;

use crate::address::secret::shown;
use crate::address::{AddressError, RabbitMqUrl, RedisUrl};

/// What stands between the URLs of the two servers. No URL contains it.
pub(super) const BETWEEN: char = ' ';
/// The length of the number that stands before two keys, in bytes.
const LENGTH_BYTES: usize = size_of::<u32>();

/// The URLs of the two servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MixedUrl {
    pub(crate) objects: RedisUrl,
    pub(crate) queues: RabbitMqUrl,
}

impl MixedUrl {
    /// Reads two URLs. Returns their passwords as well, as one key, if any of them has one.
    ///
    /// # Errors
    /// [`AddressError::Redis`], [`AddressError::NeedsRedisTls`], [`AddressError::RabbitMq`].
    pub(super) fn parse(text: &str) -> Result<(Self, Option<Key>), AddressError> {
        let (objects, queues) = text.split_once(BETWEEN).unwrap_or((text, ""));
        // A password may have been cut in two, so each error hides what it would hide of the whole text.
        let (objects, of_objects) = RedisUrl::parse(objects).map_err(|error| match error {
            AddressError::NeedsRedisTls(_) => AddressError::NeedsRedisTls(shown(text)),
            _ => AddressError::Redis(shown(text)),
        })?;
        let (queues, of_queues) =
            RabbitMqUrl::parse(queues).map_err(|_| AddressError::RabbitMq(shown(text)))?;
        let has_any = of_objects.is_some() || of_queues.is_some();
        let key = |password: Option<String>| password.map(Key::from).unwrap_or_default();
        let passwords = has_any.then(|| both(&key(of_objects), &key(of_queues)));
        Ok((Self { objects, queues }, passwords))
    }

    /// Returns the keys of both servers, if they were made one by [`parse`](Self::parse).
    pub(crate) fn keys(key: &Key) -> (Key, Key) {
        halves(key.as_bytes()).map_or_else(Default::default, |(one, other)| (one.into(), other.into()))
    }

    /// Returns the keys of both servers as one, with this one for those without a password.
    pub(crate) fn keys_or(passwords: &Key, key: &Key) -> Key {
        let (one, other) = Self::keys(passwords);
        both(if one.is_none() { key } else { &one }, if other.is_none() { key } else { &other })
    }
}

/// Makes one key of two.
fn both(one: &Key, other: &Key) -> Key {
    let len = u32::try_from(one.as_bytes().len()).unwrap_or(u32::MAX).to_le_bytes();
    Key::from([&len, one.as_bytes(), other.as_bytes()].concat())
}

fn halves(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)
}

impl fmt::Display for MixedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{BETWEEN}{}", self.objects, self.queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_passwords_are_taken_out_and_come_back() {
        let text = "redis://:one@host/1?ns=app amqp://ann:other@host/shop";
        let (url, passwords) = MixedUrl::parse(text).unwrap();
        let shown = url.to_string();
        assert!(!shown.contains("one") && !shown.contains("other"), "{shown}");
        assert_eq!(MixedUrl::parse(&shown), Ok((url, None)));
        let (one, other) = MixedUrl::keys(&passwords.unwrap());
        assert_eq!((one.as_bytes(), other.as_bytes()), (&b"one"[..], &b"other"[..]));
    }

    #[test]
    fn a_key_is_the_password_of_those_that_have_none() {
        let (_, passwords) = MixedUrl::parse("redis://host amqp://ann:other@host").unwrap();
        let (one, other) = MixedUrl::keys(&MixedUrl::keys_or(&passwords.unwrap(), &"key".into()));
        assert_eq!((one.as_bytes(), other.as_bytes()), (&b"key"[..], &b"other"[..]));
        let (one, other) = MixedUrl::keys(&Key::default());
        assert!(one.is_none() && other.is_none());
    }

    #[test]
    fn a_url_of_another_server_in_either_place_is_an_error() {
        for text in
            ["amqp://host redis://host", "redis://host redis://host", "redis://host ", "redis://host amqp:x"]
        {
            let error = MixedUrl::parse(text).unwrap_err();
            assert!(matches!(error, AddressError::Redis(_) | AddressError::RabbitMq(_)), "{error}");
        }
    }

    #[test]
    fn an_error_shows_no_part_of_a_password() {
        for text in [
            "redis://ann:my secret@host",
            "redis://ann:my amqp://secret@host",
            "redis://host amqp://ann:my/secret@h",
        ] {
            let error = MixedUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("my") && !error.contains("secret"), "{error}");
        }
    }
}
