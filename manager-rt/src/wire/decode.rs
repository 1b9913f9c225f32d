//! Decoding the bodies of frames.

use serde::Deserialize;

/// Decodes a body completely, or returns `None` if it is invalid or has bytes left over.
pub(crate) fn whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}
