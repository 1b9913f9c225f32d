//! The memory of a manager, in one number.
//!
//! Whoever keeps something holds a [`Charge`] for it, and the charge ends with what it pays for. So nothing can be kept
//! without being counted, or be freed without being refunded. A value is charged where its bytes are, not where it is
//! used: the answer on its way to a client, the item that a client has not read yet and the value in a dict share the
//! bytes, and pay once.
//!
//! There are two limits. Values and unfinished frames are refused above the limit of the manager. Everything else
//! (clients, waiting calls, references) may also take the *reserve* above it, so a manager that is full of values
//! still answers, and can be emptied.
//!
//! A manager in a process is used by its threads one after the other, but they free the values of their answers at any
//! time. So the number is atomic. Nothing else depends on it, so its order does not matter.

mod room;
mod share;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

pub(crate) use self::room::Full;
pub use self::room::Room;
pub(crate) use self::share::Share;

use crate::limits::{RESERVE_ANSWERS_SHARE, RESERVE_BYTES_MIN, RESERVE_SHARE};

/// The memory of a manager.
#[derive(Debug)]
pub(crate) struct Account {
    /// In bytes.
    used: AtomicUsize,
    limit: usize,
    /// What the limit is called.
    room: Room,
    /// The account that this is a part of: what is charged here is charged there too.
    whole: Option<Arc<Self>>,
}

impl Account {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Self::named(Room::Memory, limit)
    }

    /// Makes an account that is no part of another one.
    fn named(room: Room, limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, room, whole: None })
    }

    /// Makes an account for a part of what another one counts, with a limit of its own.
    pub(crate) fn part_of(whole: &Arc<Self>, room: Room, limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, room, whole: Some(Arc::clone(whole)) })
    }

    /// Returns the limit of values, in bytes.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the account that this is a part of, or itself.
    pub(crate) fn whole(self: &Arc<Self>) -> &Arc<Self> {
        self.whole.as_ref().unwrap_or(self)
    }

    /// Returns how many bytes are charged.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Checks whether values may take this many bytes more.
    #[inline]
    pub(crate) fn check(&self, bytes: usize) -> Result<(), Full> {
        if self.used().saturating_add(bytes) > self.limit {
            return Err(Full { room: self.room, limit: self.limit, asked: bytes });
        }
        self.whole.as_ref().map_or(Ok(()), |whole| whole.check(bytes))
    }

    /// Returns the bytes above the limit that only clients, waiting calls and references may take.
    pub(crate) fn reserve(&self) -> usize {
        (self.limit / RESERVE_SHARE).max(RESERVE_BYTES_MIN)
    }

    /// Checks whether anything but a value may take this many bytes more. Only a whole has a reserve.
    pub(crate) fn check_reserve(&self, bytes: usize) -> Result<(), Full> {
        let most = self.limit.saturating_add(self.reserve());
        if self.used().saturating_add(bytes) <= most {
            Ok(())
        } else {
            Err(Full { room: Room::Reserve, limit: most, asked: bytes })
        }
    }

    /// Checks whether anything may take this many bytes more, up to a limit other than that of values.
    pub(crate) fn check_up_to(&self, room: Room, limit: usize, bytes: usize) -> Result<(), Full> {
        if self.used().saturating_add(bytes) > limit {
            return Err(Full { room, limit, asked: bytes });
        }
        Ok(())
    }

    /// Returns the part of the reserve that unread answers leave to others.
    pub(crate) fn reserve_without_answers(&self) -> usize {
        self.reserve().saturating_sub(self.reserve() / RESERVE_ANSWERS_SHARE)
    }

    /// Charges bytes, whatever the limit is.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.add(bytes);
        Charge { account: Arc::clone(self), bytes }
    }

    #[inline]
    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(bytes);
        }
    }

    #[inline]
    fn refund(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.refund(bytes);
        }
    }
}

/// Bytes that are charged until this is dropped.
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// Returns the charged bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the account.
    pub(crate) const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Changes the charge to this many bytes.
    #[inline]
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.account.add(bytes.saturating_sub(self.bytes));
        } else {
            self.account.refund(self.bytes.saturating_sub(bytes));
        }
        self.bytes = bytes;
    }

    /// Moves the charge from a part to the whole.
    pub(crate) fn into_whole(self) -> Self {
        match &self.account.whole {
            Some(whole) => whole.charge(self.bytes),
            None => self,
        }
    }

    /// Changes a part of the charge.
    #[inline]
    pub(crate) fn replace(&mut self, before: usize, after: usize) {
        if before != after {
            self.set(self.bytes.saturating_sub(before).saturating_add(after));
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes that are charged as long as any part of them is used.
struct Charged<C> {
    bytes: Vec<u8>,
    _charges: C,
}

impl<C> AsRef<[u8]> for Charged<C> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns bytes that are charged as long as any part of them is used.
pub(crate) fn charged(bytes: Vec<u8>, charges: impl Send + 'static) -> Bytes {
    Bytes::from_owner(Charged { bytes, _charges: charges })
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(room: Room, limit: usize, asked: usize) -> Result<(), Full> {
        Err(Full { room, limit, asked })
    }

    #[test]
    fn charges_end_with_what_they_pay_for() {
        let account = Account::new(100);
        let mut one = account.charge(60);
        let other = account.charge(30);
        assert_eq!(account.used(), 90);
        one.set(10);
        one.replace(4, 7);
        assert_eq!((account.used(), one.bytes()), (43, 13));
        drop(one);
        assert_eq!(account.used(), 30);
        drop(other);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_part_has_a_limit_of_its_own_and_counts_in_the_whole() {
        let whole = Account::new(100);
        let part = Account::part_of(&whole, Room::Frames, 60);
        assert_eq!((part.check(60), part.check(61)), (Ok(()), full(Room::Frames, 60, 61)));
        let charge = part.charge(50);
        assert_eq!((part.used(), whole.used(), part.whole().used()), (50, 50, 50));
        let charge = charge.into_whole();
        assert_eq!((part.used(), whole.used()), (0, 50));
        assert_eq!((part.check(50), part.check(51)), (Ok(()), full(Room::Memory, 100, 51)));
        drop(charge);
        assert_eq!((part.used(), whole.used()), (0, 0));
    }

    #[test]
    fn values_fit_up_to_the_limit_and_everything_else_up_to_the_reserve() {
        for limit in [0, 100, RESERVE_BYTES_MIN * RESERVE_SHARE * 2] {
            let account = Account::new(limit);
            let reserve = RESERVE_BYTES_MIN.max(limit / RESERVE_SHARE);
            let above = full(Room::Memory, limit, limit + 1);
            assert_eq!((account.check(limit), account.check(limit + 1)), (Ok(()), above));
            let _values = account.charge(limit);
            assert_eq!((account.check(0), account.check(1)), (Ok(()), full(Room::Memory, limit, 1)));
            assert_eq!(
                (account.check_reserve(reserve), account.check_reserve(reserve + 1)),
                (Ok(()), full(Room::Reserve, limit + reserve, reserve + 1))
            );
        }
    }
}
