//! Putting and getting bytes as they are, without encoding.

use mp_sys::robust::Patience;

use crate::queue::Queue;
use crate::queue::error::{GetError, PutError, PutManyError};
use crate::queue::refused::Refused;
use crate::queue::ring::Corrupt;
use crate::queue::typed::FOR_EVER;

/// The most items that a batch can hold without allocating.
const FEW_ITEMS: usize = 32;

impl<T> Queue<T> {
    /// Puts `item` as it is, without encoding it. The consumer gets it with [`get_bytes`](Self::get_bytes) or
    /// [`get_bytes_into`](Self::get_bytes_into). Waits while the queue is full.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), except `Encode`.
    pub fn put_bytes(&self, item: &[u8]) -> Result<(), PutError> {
        Ok(self.core.put(item, FOR_EVER)?)
    }

    /// Puts `item` as it is if there is room.
    ///
    /// # Errors
    /// Those of [`try_put`](Self::try_put), except `Encode`.
    pub fn try_put_bytes(&self, item: &[u8]) -> Result<(), PutError> {
        Ok(self.core.put(item, Patience::None)?)
    }

    /// Puts all of `items` like [`put_many`](Self::put_many), but without encoding them.
    ///
    /// # Errors
    /// Those of [`put_many`](Self::put_many), except `Encode`.
    pub fn put_many_bytes<B: AsRef<[u8]>>(&self, items: &[B]) -> Result<(), PutManyError> {
        // `as_ref` is the caller's code: it runs here, once for each item, and not under the queue's lock.
        let mut few = [&[][..]; FEW_ITEMS];
        if let Some(few) = few.get_mut(..items.len()) {
            for (place, item) in few.iter_mut().zip(items) {
                *place = item.as_ref();
            }
            return self.put_all(few, FOR_EVER);
        }
        let many: Vec<&[u8]> = items.iter().map(AsRef::as_ref).collect();
        self.put_all(&many, FOR_EVER)
    }

    /// Takes the oldest item, copies it to the beginning of `buffer` without decoding it, and returns its length. Waits
    /// while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::TooLarge`] if the item does not fit; it stays in the queue. Otherwise those of [`get`](Self::get),
    /// except `Decode`.
    pub fn get_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, GetError> {
        let limit = buffer.len();
        Ok(self.core.get(FOR_EVER, |ring, record| {
            let into = buffer.get_mut(..record.len).ok_or(Refused::TooLarge { found: record.len, limit })?;
            if ring.region.read(record.item(), into) {
                Ok(record.len)
            } else {
                Err(Refused::Corrupt(Corrupt("an item lies outside of the queue")))
            }
        })?)
    }

    /// Takes the oldest item without decoding it. Waits while the queue is empty.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), except `Decode`.
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(FOR_EVER)
    }

    /// Takes the oldest item, without decoding it, if there is one.
    ///
    /// # Errors
    /// Those of [`try_get`](Self::try_get), except `Decode`.
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(Patience::None)
    }

    fn get_bytes_until(&self, patience: Patience) -> Result<Vec<u8>, GetError> {
        let mut bytes = Vec::new();
        self.core.get(patience, |ring, record| record.append_to(ring, &mut bytes))?;
        Ok(bytes)
    }
}
