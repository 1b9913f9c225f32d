//! Encoding and decoding of items. It happens outside of the locks, and on the stack if the items are small.

use mp_sys::robust::Patience;
use mp_sys::travel;
use mp_sys::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::queue::consumer::Record;
use crate::queue::core::Core;
use crate::queue::error::{GetError, PutError};
use crate::queue::refused::Refused;
use crate::queue::ring::Ring;

/// Bytes of the longest item that is encoded and decoded without allocating.
pub(super) const SMALL_BYTES: usize = 256;

/// Encodes `item` and passes the bytes to `put`.
#[inline]
pub(super) fn encoded<T: Serialize + ?Sized, R>(
    item: &T,
    core: &Core,
    put: impl FnOnce(&[u8]) -> Result<R, PutError>,
) -> Result<R, PutError> {
    let mut small = [0; SMALL_BYTES];
    match postcard::to_slice(item, &mut small) {
        Ok(bytes) => {
            check(item, core, bytes)?;
            put(bytes)
        }
        Err(postcard::Error::SerializeBufferFull) => put(&append_encoded(item, core, Vec::new())?),
        Err(error) => Err(unencodable(item, &error)),
    }
}

/// Appends the encoding of `item` to `bytes`.
pub(super) fn append_encoded<T: Serialize + ?Sized>(
    item: &T,
    core: &Core,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, PutError> {
    let start = bytes.len();
    let bytes = postcard::to_extend(item, bytes).map_err(|error| unencodable(item, &error))?;
    check(item, core, bytes.get(start..).unwrap_or_default())?;
    Ok(bytes)
}

/// Checks in debug builds that the item can be decoded again.
#[inline]
fn check<T: Serialize + ?Sized>(item: &T, core: &Core, bytes: &[u8]) -> Result<(), PutError> {
    wire::check(item, bytes, core.decodes.get().copied()).map_err(PutError::Encode)
}

/// Returns the reason why an item cannot be encoded. If a handle in it is the reason, the handle's own text is used: it
/// says how the handle can travel.
#[cold]
fn unencodable<T: Serialize + ?Sized>(item: &T, error: &postcard::Error) -> PutError {
    let (_, refused) = travel::alone(|| postcard::to_stdvec(item).is_ok());
    PutError::Encode(refused.map_or_else(|| wire::unencodable(item, error), |refused| refused.to_string()))
}

/// An item's bytes, copied out of the ring.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "small items avoid an allocation: that is the purpose")]
pub(super) enum Taken {
    Small([u8; SMALL_BYTES], usize),
    Large(Vec<u8>),
}

impl Taken {
    #[inline]
    pub(super) fn copy(ring: &Ring, record: &Record) -> Result<Self, Refused> {
        let mut small = [0; SMALL_BYTES];
        if let Some(into) = small.get_mut(..record.len) {
            record.read(ring, into)?;
            return Ok(Self::Small(small, record.len));
        }
        let mut large = Vec::new();
        record.append_to(ring, &mut large)?;
        Ok(Self::Large(large))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes, len) => bytes.get(..*len).unwrap_or_default(),
            Self::Large(bytes) => bytes,
        }
    }

    #[inline]
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, GetError> {
        decoded(self.bytes())
    }
}

/// Decodes one item.
#[inline]
pub(super) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, GetError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(undecodable(bytes, format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(undecodable(bytes, why_not::<T>(bytes, &error))),
    }
}

/// Returns the reason why an item cannot be decoded. As in [`unencodable`], a handle's own text is preferred.
#[cold]
fn why_not<T: DeserializeOwned>(bytes: &[u8], error: &postcard::Error) -> String {
    let (_, refused) = travel::alone(|| postcard::take_from_bytes::<T>(bytes).is_ok());
    refused.map_or_else(|| wire::undecodable::<T>(bytes, error), |refused| refused.to_string())
}

#[cold]
fn undecodable(bytes: &[u8], reason: String) -> GetError {
    GetError::Decode { reason, bytes: bytes.to_vec() }
}

/// Takes the next item and decodes it.
#[inline]
pub(super) fn get<T: DeserializeOwned>(core: &Core, patience: Patience) -> Result<T, GetError> {
    let taken = core.get(patience, Taken::copy)?;
    taken.decode()
}
