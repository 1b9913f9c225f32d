//! Items that are bytes: put and got as they are, without encoding.

use mp_sys::robust::Patience;

use crate::queue::core::Refused;
use crate::queue::error::{GetError, PutError, PutManyError};
use crate::queue::ring::Corrupt;
use crate::queue::{FOR_EVER, Queue, item};

/// Items of a batch up to which it needs no memory of its own.
const FEW_ITEMS: usize = 32;

impl<T> Queue<T> {
    /// Puts `item` as it is, not encoded: for whoever gets it by [`get_bytes_into`](Self::get_bytes_into). Waits while the
    /// queue is full.
    ///
    /// # Errors
    /// As [`put`](Self::put), but for `Encode`.
    pub fn put_bytes(&self, item: &[u8]) -> Result<(), PutError> {
        Ok(self.core.put(item, FOR_EVER)?)
    }

    /// As [`put_bytes`](Self::put_bytes), without waiting.
    ///
    /// # Errors
    /// As [`try_put`](Self::try_put), but for `Encode`.
    pub fn try_put_bytes(&self, item: &[u8]) -> Result<(), PutError> {
        Ok(self.core.put(item, Patience::None)?)
    }

    /// Puts all of `items`, as [`put_many`](Self::put_many) does, not encoded.
    ///
    /// # Errors
    /// As [`put_many`](Self::put_many), but for `Encode`.
    pub fn put_many_bytes<B: AsRef<[u8]>>(&self, items: &[B]) -> Result<(), PutManyError> {
        // The caller's code runs here, once for each item, and not under the queue's lock.
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

    /// Takes the next item into the beginning of `buffer` as it is, not decoded, and gives its length. Waits while the queue
    /// is empty.
    ///
    /// # Errors
    /// [`GetError::TooLarge`] if it does not fit: it stays in the queue. Else as [`get`](Self::get), but for `Decode`.
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

    /// Takes the next item as it is, not decoded. Waits while the queue is empty.
    ///
    /// # Errors
    /// As [`get`](Self::get), but for `Decode`.
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(FOR_EVER)
    }

    /// As [`get_bytes`](Self::get_bytes), without waiting.
    ///
    /// # Errors
    /// As [`try_get`](Self::try_get), but for `Decode`.
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(Patience::None)
    }

    fn get_bytes_until(&self, patience: Patience) -> Result<Vec<u8>, GetError> {
        let mut bytes = Vec::new();
        self.core.get(patience, |ring, record| item::append(ring, record, &mut bytes))?;
        Ok(bytes)
    }
}
