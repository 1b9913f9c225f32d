//! Values as a manager stores them: encoded bytes, and the objects whose proxies are inside.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::account::Charge;
#[cfg(feature = "server")]
use crate::account::{Account, Full, charged};
use crate::proto::ObjectId;

/// The longest value without proxies that is stored in place, in bytes. Longer values are stored in separate memory.
pub const INLINE_BYTES_MAX: usize = 22;
/// The length, in bytes, from which a value keeps the frame that it arrived in instead of a copy, and is sent from where it is.
pub(crate) const SHARED_BYTES_MIN: usize = 32 << 10;

/// A borrowed value.
#[derive(Clone, Copy, Eq, Default)]
pub struct Raw<'a> {
    /// The encoded value.
    pub bytes: &'a [u8],
    /// The ids of the objects whose proxies are inside: eight bytes each, little-endian.
    pub ids: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Makes a value without proxies.
    #[must_use]
    pub const fn plain(bytes: &'a [u8]) -> Self {
        Self { bytes, ids: &[] }
    }

    /// Returns the objects whose proxies are inside, once for each proxy.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> + use<'a> {
        self.ids
            .chunks_exact(size_of::<u64>())
            .filter_map(|id| Some(ObjectId(u64::from_le_bytes(*id.first_chunk()?))))
    }
}

impl PartialEq for Raw<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && are_same_ids(self.ids, other.ids)
    }
}

/// Compares ids, which nearly every value is without. Comparing two empty slices by a call takes up to 60 ns where the C
/// library reads under a mask: the address of an empty slice need not exist, and the processor sorts that out.
#[inline]
fn are_same_ids(ids: &[u8], other: &[u8]) -> bool {
    ids.len() == other.len() && (ids.is_empty() || ids == other)
}

impl std::hash::Hash for Raw<'_> {
    #[inline]
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(self.bytes);
        if !self.ids.is_empty() {
            state.write(self.ids);
        }
        // The lengths say where the one ends and the other begins.
        let ids = u64::try_from(self.ids.len()).unwrap_or(u64::MAX);
        state.write_u64(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX) ^ ids.rotate_right(16));
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())?;
        self.objects().try_for_each(|id| write!(f, " {id}"))
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&AsBytes(self.bytes))?;
        tuple.serialize_element(&AsBytes(self.ids))?;
        tuple.end()
    }
}

/// A slice that serde encodes as bytes.
struct AsBytes<'a>(&'a [u8]);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a value and the ids inside it")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let bytes: &'de [u8] = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let ids: &'de [u8] = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        if !ids.len().is_multiple_of(size_of::<u64>()) {
            return Err(A::Error::custom("the ids of a value are incomplete"));
        }
        Ok(Raw { bytes, ids })
    }
}

/// A value that owns its bytes. It takes 24 bytes, and separate memory for long values and those with proxies inside.
#[derive(Clone)]
pub struct Payload(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Shared(Arc<Blob>),
}

struct Blob {
    bytes: Bytes,
    ids: Box<[u8]>,
    /// What a manager charges for it.
    _charge: Option<Charge>,
}

impl Payload {
    /// Copies a value from a caller's buffer.
    #[must_use]
    pub fn copy(raw: Raw<'_>) -> Self {
        Self::inline(raw).unwrap_or_else(|| Self::shared(Bytes::copy_from_slice(raw.bytes), raw.ids, None))
    }

    /// Takes a value from a frame. A long value that is most of the frame keeps it instead of a copy.
    #[must_use]
    pub fn of(raw: Raw<'_>, frame: &Bytes) -> Self {
        if is_most_of(raw, frame) {
            Self::shared(frame.slice_ref(raw.bytes), raw.ids, None)
        } else {
            Self::copy(raw)
        }
    }

    /// Like [`of`](Self::of), and charges what the value takes outside of its container. The frame is charged already.
    ///
    /// # Errors
    /// [`Full`]. Then nothing was copied.
    #[cfg(feature = "server")]
    pub(crate) fn charged(raw: Raw<'_>, frame: &Bytes, account: &Arc<Account>) -> Result<Self, Full> {
        if let Some(inline) = Self::inline(raw) {
            account.check(0)?;
            return Ok(inline);
        }
        let ids = raw.ids.len().saturating_add(BLOB_OVERHEAD_BYTES);
        if is_most_of(raw, frame) {
            account.check(ids)?;
            return Ok(Self::shared(frame.slice_ref(raw.bytes), raw.ids, Some(account.charge(ids))));
        }
        let len = raw.bytes.len();
        account.check(len.saturating_add(ids))?;
        // An answer may keep the bytes of a long value without the rest.
        let bytes = if len >= SHARED_BYTES_MIN {
            charged(raw.bytes.to_vec(), account.charge(len))
        } else {
            Bytes::copy_from_slice(raw.bytes)
        };
        let rest = if len >= SHARED_BYTES_MIN { ids } else { len.saturating_add(ids) };
        Ok(Self::shared(bytes, raw.ids, Some(account.charge(rest))))
    }

    fn inline(raw: Raw<'_>) -> Option<Self> {
        let len = u8::try_from(raw.bytes.len()).ok().filter(|_| raw.ids.is_empty())?;
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes.get_mut(..raw.bytes.len())?.copy_from_slice(raw.bytes);
        Some(Self(Repr::Inline { len, bytes }))
    }

    fn shared(bytes: Bytes, ids: &[u8], charge: Option<Charge>) -> Self {
        Self(Repr::Shared(Arc::new(Blob { bytes, ids: ids.into(), _charge: charge })))
    }

    /// Borrows the value.
    #[must_use]
    pub fn raw(&self) -> Raw<'_> {
        match &self.0 {
            // `len` is at most the length of `bytes`.
            Repr::Inline { len, bytes } => Raw::plain(bytes.get(..usize::from(*len)).unwrap_or_default()),
            Repr::Shared(blob) => Raw { bytes: &blob.bytes, ids: &blob.ids },
        }
    }

    /// Returns `true` if no proxy is inside.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match &self.0 {
            Repr::Inline { .. } => true,
            Repr::Shared(blob) => blob.ids.is_empty(),
        }
    }

    /// Returns the approximate memory that the value takes, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let outside = match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Shared(blob) => {
                blob.bytes.len().saturating_add(blob.ids.len()).saturating_add(BLOB_OVERHEAD_BYTES)
            }
        };
        outside.saturating_add(size_of::<Self>())
    }

    /// Returns the approximate cost of comparing two values, in comparisons of values that are stored in place.
    #[cfg(feature = "server")]
    pub(crate) fn comparison_cost(&self, other: &Self) -> usize {
        let (Repr::Shared(blob), Repr::Shared(other)) = (&self.0, &other.0) else { return 1 };
        let bytes = if blob.bytes.len() == other.bytes.len() { blob.bytes.len() } else { 0 };
        SHARED_COMPARISON_COST.saturating_add(bytes / BYTES_COMPARED_AT_ONCE)
    }

    /// Returns the bytes as a shared slice if they are many, for an answer that is written without a copy.
    #[cfg(feature = "server")]
    pub(crate) fn long_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Shared(blob) if blob.bytes.len() >= SHARED_BYTES_MIN => Some(&blob.bytes),
            _ => None,
        }
    }
}

/// Returns `true` if a value is so long, and so much of a frame, that it keeps the frame. Otherwise a short value could
/// keep a long frame.
fn is_most_of(raw: Raw<'_>, frame: &Bytes) -> bool {
    let len = raw.bytes.len();
    len >= SHARED_BYTES_MIN
        && frame.as_ptr_range().contains(&raw.bytes.as_ptr())
        && frame.len().saturating_sub(len) <= len / FRAME_WASTE_SHARE
}

/// The part of a value's length that the rest of the frame may have, if the value keeps the frame: an eighth.
const FRAME_WASTE_SHARE: usize = 8;
/// What the blob, its counts and the allocator take in addition to the bytes.
const BLOB_OVERHEAD_BYTES: usize = 96;
/// The cost of reading a value in separate memory, which is in no cache.
#[cfg(feature = "server")]
const SHARED_COMPARISON_COST: usize = 64;
/// How many bytes of two values are compared in the time of one comparison of values that are stored in place.
#[cfg(feature = "server")]
const BYTES_COMPARED_AT_ONCE: usize = 16;

impl PartialEq for Payload {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // The bytes after `len` are zeros, and arrays of one length are compared without a call.
            (Repr::Inline { len, bytes }, Repr::Inline { len: other_len, bytes: other_bytes }) => {
                len == other_len && bytes == other_bytes
            }
            (Repr::Shared(blob), Repr::Shared(other)) => {
                Arc::ptr_eq(blob, other) || (blob.bytes == other.bytes && are_same_ids(&blob.ids, &other.ids))
            }
            // A value that fits in place is never stored elsewhere.
            _ => false,
        }
    }
}

impl Eq for Payload {}

impl std::hash::Hash for Payload {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.raw().hash(state);
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw().fmt(f)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(Self::copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_small_and_stores_short_values_in_place() {
        assert_eq!(size_of::<Payload>(), 24);
        for (len, weight) in [(0, 24), (INLINE_BYTES_MAX, 24), (INLINE_BYTES_MAX + 1, 24 + 96 + 23)] {
            let bytes = vec![7; len];
            let payload = Payload::copy(Raw::plain(&bytes));
            assert_eq!((payload.raw().bytes, payload.weight()), (&*bytes, weight));
        }
    }

    #[test]
    fn ids_travel_and_long_values_keep_their_frame() {
        let raw = Raw { bytes: b"x", ids: &7_u64.to_le_bytes() };
        let encoded = postcard::to_allocvec(&raw).unwrap();
        let decoded: Raw<'_> = postcard::from_bytes(&encoded).unwrap();
        assert_eq!(decoded.objects().collect::<Vec<_>>(), [ObjectId(7)]);
        assert_eq!(postcard::to_allocvec(&Payload::copy(raw)).unwrap(), encoded);
        assert!(
            postcard::from_bytes::<Raw<'_>>(&postcard::to_allocvec(&(b"", &b"1234567"[..])).unwrap())
                .is_err()
        );

        let frame = Bytes::from(vec![1; SHARED_BYTES_MIN + 1]);
        let long = Payload::of(Raw::plain(&frame[1..]), &frame);
        assert_eq!(long.raw().bytes.as_ptr(), frame[1..].as_ptr());
        assert_eq!(Payload::of(Raw::plain(b"elsewhere"), &frame).raw().bytes, b"elsewhere");
    }
}
