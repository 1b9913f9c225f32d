//! Encoding arguments and results of a pool.

use mp_sys::{travel, wire};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of an argument or a result of a [`Pool`](crate::Pool) in serialized form.
///
/// A chunk or a report with other items before such a one still fits into a queue.
pub const POOL_ITEM_BYTES_MAX: usize = 64 << 20;

/// Appends an encoded value to bytes.
///
/// # Errors
/// Why it cannot travel. The bytes may have grown.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
    let before = into.len();
    let (encoded, refused) = travel::alone(|| append(value, into));
    match encoded {
        Ok(()) => wire::check(value, into.get(before..).unwrap_or_default(), None),
        Err(postcard::Error::SerializeBufferFull) => Err(format!(
            "it has more than {POOL_ITEM_BYTES_MAX} bytes in serialized form (POOL_ITEM_BYTES_MAX)"
        )),
        Err(error) => {
            Err(refused.map_or_else(|| wire::unencodable(value, &error), |refused| refused.to_string()))
        }
    }
}

/// Decodes a value.
///
/// # Errors
/// Why the bytes are not one.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (decoded, refused) = travel::alone(|| postcard::from_bytes(bytes));
    decoded.map_err(|error| {
        let why = refused.map(|refused| refused.to_string());
        why.unwrap_or_else(|| wire::undecodable::<T>(bytes, &error))
    })
}

/// Appends a value in postcard's form to bytes.
///
/// # Errors
/// The format's error, which is `SerializeBufferFull` above [`POOL_ITEM_BYTES_MAX`]. The bytes may have grown.
pub(super) fn append<T: Serialize + ?Sized>(value: &T, to: &mut Vec<u8>) -> postcard::Result<()> {
    let end = to.len().saturating_add(POOL_ITEM_BYTES_MAX);
    postcard::serialize_with_flavor(value, Append { bytes: to, end })
}

struct Append<'a> {
    bytes: &'a mut Vec<u8>,
    /// The most bytes that there may be.
    end: usize,
}

impl Append<'_> {
    #[inline]
    fn check(&self, more: usize) -> postcard::Result<()> {
        let has_room = self.end.saturating_sub(self.bytes.len()) >= more;
        if has_room { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
}

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.check(1)?;
        self.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.check(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
