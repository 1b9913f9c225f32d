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
#[inline]
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), String> {
    let before = into.len();
    // Both outcomes together are too large for registers, and are needed only if something failed.
    let mut failed = None;
    let ((), refused) = travel::alone(|| failed = append(value, into).err());
    match failed {
        None => wire::check(value, into.get(before..).unwrap_or_default(), None),
        Some(error) => Err(refusal(value, &error, refused)),
    }
}

/// Returns why a value cannot travel.
#[cold]
fn refusal<T: Serialize + ?Sized>(
    value: &T,
    error: &postcard::Error,
    refused: Option<travel::TravelError>,
) -> String {
    match (error, refused) {
        (postcard::Error::SerializeBufferFull, _) => {
            format!("it has more than {POOL_ITEM_BYTES_MAX} bytes in serialized form (POOL_ITEM_BYTES_MAX)")
        }
        (_, Some(refused)) => refused.to_string(),
        (error, None) => wire::unencodable(value, error),
    }
}

/// Decodes a value.
///
/// # Errors
/// Why the bytes are not one.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut failed = None;
    let (decoded, refused) =
        travel::alone(|| postcard::from_bytes(bytes).map_err(|error| failed = Some(error)).ok());
    decoded.ok_or_else(|| {
        let why = refused.map(|refused| refused.to_string());
        why.unwrap_or_else(|| {
            wire::undecodable::<T>(bytes, &failed.unwrap_or(postcard::Error::WontImplement))
        })
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
        // Numbers are a few bytes long. A copy of a known length needs no call.
        match *bytes {
            [a] => self.bytes.push(a),
            [a, b] => self.bytes.extend_from_slice(&[a, b]),
            [a, b, c] => self.bytes.extend_from_slice(&[a, b, c]),
            [a, b, c, d] => self.bytes.extend_from_slice(&[a, b, c, d]),
            _ => self.bytes.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
