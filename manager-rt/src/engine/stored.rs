//! Values as servers of other makers keep them.
//!
//! A value is its encoded bytes after a mark: 0, or 1 and the objects whose proxies are inside. Two values are equal if
//! their stored bytes are.

use bytes::Bytes;

use crate::backend::CallError;
use crate::proto::{Payload, Raw};

/// The mark of a value without proxies.
const PLAIN: u8 = 0;
/// The mark of a value with proxies. Their number and ids follow.
const WITH_OBJECTS: u8 = 1;

/// Returns the parts of a value as it is stored, one after the other. `len` has room for the length of one of them.
pub(super) fn parts_of<'a>(raw: Raw<'a>, len: &'a mut [u8; 4]) -> [&'a [u8]; 4] {
    if raw.ids.is_empty() {
        return [&[PLAIN], &[], &[], raw.bytes];
    }
    *len = u32::try_from(raw.ids.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&[WITH_OBJECTS], len, raw.ids, raw.bytes]
}

/// Returns so many bytes of a stored value, as they are stored without its proxies. What no build stores stays as it is.
#[cfg(feature = "rabbitmq")]
pub(super) fn head_of(stored: &[u8], bytes: usize) -> Vec<u8> {
    let value = match stored.split_first() {
        Some((&PLAIN, value)) => Some(value),
        Some((&WITH_OBJECTS, rest)) => rest.split_first_chunk().and_then(|(len, rest)| {
            usize::try_from(u32::from_le_bytes(*len)).ok().and_then(|len| rest.get(len..))
        }),
        _ => None,
    };
    value.map_or_else(|| stored.to_vec(), |value| [&[PLAIN], value.get(..bytes).unwrap_or(value)].concat())
}

/// Returns the value that is stored like this.
///
/// # Errors
/// [`CallError::Protocol`] if no build stores it.
pub(super) fn loaded(stored: Vec<u8>) -> Result<Payload, CallError> {
    let stored = Bytes::from(stored);
    let raw = match stored.split_first() {
        Some((&PLAIN, bytes)) => Raw::plain(bytes),
        Some((&WITH_OBJECTS, rest)) => {
            let (len, rest) = rest.split_first_chunk().ok_or(CallError::Protocol)?;
            let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| CallError::Protocol)?;
            let (ids, bytes) = rest.split_at_checked(len).ok_or(CallError::Protocol)?;
            Raw { bytes, ids }
        }
        _ => return Err(CallError::Protocol),
    };
    Ok(Payload::of(raw, &stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_stored() {
        let ids = [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat();
        let long = vec![3; 100_000];
        for raw in [Raw::plain(b""), Raw::plain(b"x"), Raw::plain(&long), Raw { bytes: b"xy", ids: &ids }] {
            assert_eq!(loaded(parts_of(raw, &mut [0; 4]).concat()).unwrap().raw(), raw);
        }
    }

    #[cfg(feature = "rabbitmq")]
    #[test]
    fn the_head_of_a_value_has_no_proxies_and_so_many_bytes_at_most() {
        let ids = [7_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat();
        for (bytes, expected) in [(&b"abcdef"[..], b"abcd"), (b"abcd", b"abcd")] {
            for raw in [Raw::plain(bytes), Raw { bytes, ids: &ids }] {
                let head = head_of(&parts_of(raw, &mut [0; 4]).concat(), 4);
                assert_eq!(loaded(head).unwrap().raw(), Raw::plain(expected));
            }
        }
        assert_eq!(head_of(b"\0ab", 4), b"\0ab");
        assert_eq!(head_of(b"\x01\x08\0\0", 2), b"\x01\x08\0\0");
    }

    #[test]
    fn what_no_build_stores_is_an_error() {
        for bytes in [&b""[..], b"\x02x", b"\x01\x08\0\0", b"\x01\x08\0\0\0abc"] {
            assert_eq!(loaded(bytes.to_vec()), Err(CallError::Protocol));
        }
    }
}
