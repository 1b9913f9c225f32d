//! [`Share`]: what one client may take.
//!
//! The account counts everything that a manager keeps, and whoever asks for more than is left gets the error. That alone
//! would let one client take everything that is kept for clients, and then all others get the error. So what is kept
//! for a client is also counted in its share, which has two parts, so that neither uses up the other:
//!
//! - *Records*: the client itself, its references, its waiting calls, what it holds, and what it was granted and has not
//!   confirmed.
//! - *Bulk*: items that it has taken and not confirmed, items for which a queue has no room yet, frames that have not
//!   arrived completely, and answers that it has not read.
//!
//! What a client stores belongs to the objects, and is not counted here.

use std::sync::Arc;

use crate::account::{Account, Charge, Full, Room};
use crate::limits::{
    CLIENT_LITTLE_SHARE, CLIENT_RECORDS_SHARE, CLIENT_SHARE, CLIENT_SHARE_BYTES_MIN, RESERVE_CLIENT_SHARE,
};

/// The share of one client.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    whole: Arc<Account>,
    records: Arc<Account>,
    bulk: Arc<Account>,
}

impl Share {
    /// Makes a share of this many bytes, or the default one.
    pub(crate) fn of(whole: &Arc<Account>, bytes: Option<usize>) -> Self {
        let bytes = bytes.unwrap_or_else(|| whole.limit() / CLIENT_SHARE).max(CLIENT_SHARE_BYTES_MIN);
        let records = bytes / CLIENT_RECORDS_SHARE;
        Self {
            whole: Arc::clone(whole),
            records: Account::named(Room::Client, records),
            bulk: Account::named(Room::Client, bytes.saturating_sub(records)),
        }
    }

    /// Checks whether the client may have records of this many bytes more. Few fit even if the manager is full.
    pub(crate) fn check_records(&self, bytes: usize) -> Result<(), Full> {
        self.records.check(bytes)?;
        self.whole.check_reserve(bytes)?;
        let most = self.whole.reserve() / RESERVE_CLIENT_SHARE;
        if self.whole.check(bytes).is_err() && self.records.used().saturating_add(bytes) > most {
            return Err(Full { room: Room::Client, limit: most, asked: bytes });
        }
        Ok(())
    }

    /// Checks whether the client may have one more thing of this many bytes, beside others of `more` bytes that are about
    /// to be charged. If it has little, that may be larger than its share: otherwise nobody could take such an item.
    pub(crate) fn check_bulk(&self, more: usize, bytes: usize) -> Result<(), Full> {
        if self.has_little(more) {
            return Ok(());
        }
        let full = self.bulk.check(more.saturating_add(bytes));
        full.map_err(|full| Full { asked: bytes, ..full })
    }

    fn has_little(&self, more: usize) -> bool {
        self.bulk.used().saturating_add(more) <= self.bulk.limit() / CLIENT_LITTLE_SHARE
    }

    /// Returns how many bytes [`check_bulk`](Self::check_bulk) allows.
    pub(crate) fn bulk_room(&self, more: usize) -> usize {
        if self.has_little(more) {
            return usize::MAX;
        }
        self.bulk.limit().saturating_sub(self.bulk.used()).saturating_sub(more)
    }

    /// Charges records to the share only.
    pub(crate) fn charge_records(&self, bytes: usize) -> Charge {
        self.records.charge(bytes)
    }

    /// Charges bulk to the share only.
    pub(crate) fn charge_bulk(&self, bytes: usize) -> Charge {
        self.bulk.charge(bytes)
    }

    /// Returns how many bytes are charged.
    pub(crate) fn bytes(&self) -> usize {
        self.records.used().saturating_add(self.bulk.used())
    }

    /// Returns how many bytes of records and of bulk are charged, and which share it is.
    #[cfg(test)]
    pub(crate) fn used(&self) -> (*const Account, usize, usize) {
        (Arc::as_ptr(&self.records), self.records.used(), self.bulk.used())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESERVE_BYTES_MIN;

    const MEMORY: usize = 64 << 20;

    #[test]
    fn a_client_has_its_share_and_not_one_byte_more() {
        let whole = Account::new(MEMORY);
        for (set, share) in
            [(None, MEMORY / CLIENT_SHARE), (Some(MEMORY / 8), MEMORY / 8), (Some(0), CLIENT_SHARE_BYTES_MIN)]
        {
            let client = Share::of(&whole, set);
            let (records, bulk) = (share / CLIENT_RECORDS_SHARE, share - share / CLIENT_RECORDS_SHARE);
            let full = |limit| Err(Full { room: Room::Client, limit, asked: 1 });
            let _records = client.charge_records(records - 1);
            assert_eq!(client.check_records(1), Ok(()));
            let _last = client.charge_records(1);
            assert_eq!(client.check_records(1), full(records));
            let _bulk = client.charge_bulk(bulk - 1);
            assert_eq!(client.check_bulk(0, 1), Ok(()));
            assert_eq!(client.check_bulk(1, 1), full(bulk));
            let _last = client.charge_bulk(1);
            assert_eq!(client.check_bulk(0, 1), full(bulk));
            assert_eq!(Share::of(&whole, set).check_records(1), Ok(()), "others have their own");
        }
    }

    #[test]
    fn a_client_with_little_may_take_one_thing_that_is_larger_than_its_share() {
        let client = Share::of(&Account::new(MEMORY), None);
        let little = client.bulk.limit() / CLIENT_LITTLE_SHARE;
        let _charge = client.charge_bulk(little);
        assert_eq!(client.check_bulk(0, MEMORY), Ok(()));
        assert!(client.check_bulk(1, MEMORY).is_err());
    }

    #[test]
    fn one_client_cannot_use_up_the_reserve() {
        let whole = Account::new(CLIENT_SHARE_BYTES_MIN * 8);
        let _values = whole.charge(whole.limit());
        let most = RESERVE_BYTES_MIN / RESERVE_CLIENT_SHARE;
        let (one, other) = (Share::of(&whole, None), Share::of(&whole, None));
        let _records = (whole.charge(most), one.charge_records(most));
        let full = Err(Full { room: Room::Client, limit: most, asked: 1 });
        assert_eq!((one.check_records(0), one.check_records(1)), (Ok(()), full));
        assert_eq!(other.check_records(1), Ok(()));
    }
}
