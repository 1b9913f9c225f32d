//! What left with answers that a client may not have read yet: locks, permits and leases of tasks.
//!
//! An entry is kept until the client has read the answer. If the client gives the call up before that, or ends, what
//! nobody has seen is taken back, as if the call had never been answered. Items of queues are noted separately, since
//! they have left their queue (see [`Delivery`](crate::state::delivery::Delivery)).

use std::collections::VecDeque;

use crate::limits::GRANTS_UNREAD_MAX;
use crate::proto::ObjectId;
use crate::state::charges::GRANT_BYTES;

/// What a call was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// A lock, or one more depth of it.
    Lock {
        /// The token of the grant.
        token: u64,
        /// Whether the answer says that the last holder died.
        owner_died: bool,
    },
    /// A lock at its previous depth, after a wait for a notification.
    LockAgain {
        /// The token of the grant.
        token: u64,
        /// Whether the answer says that the last holder died.
        owner_died: bool,
        /// The condition that notified the caller.
        notified_by: Option<ObjectId>,
    },
    /// A permit of a semaphore.
    Permit,
    /// The lease of a task.
    Task {
        /// The number of the lease.
        lease: u64,
    },
}

/// A grant whose answer may be unread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    /// The number of the answer among those of the client, counted from 0.
    pub(super) number: u64,
    call: u64,
    pub(super) object: ObjectId,
    pub(super) what: Granted,
}

/// The grants of a client whose answers may be unread, oldest first; at most [`GRANTS_UNREAD_MAX`].
#[derive(Debug, Default)]
pub(super) struct Grants(VecDeque<Grant>);

impl Grants {
    /// Notes a grant that leaves with the answer of this number. If there are too many, the oldest counts as read: a
    /// client that reads its answers has no more of them than calls under way.
    pub(super) fn note(&mut self, number: u64, call: u64, object: ObjectId, what: Granted) {
        if self.0.len() >= GRANTS_UNREAD_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Grant { number, call, object, what });
    }

    /// Forgets the grants of answers that the client has read.
    pub(super) fn acknowledge(&mut self, read: u64) {
        while self.0.front().is_some_and(|grant| grant.number < read) {
            self.0.pop_front();
        }
    }

    /// Removes the newest grant of a call; a transaction may have several.
    pub(super) fn take(&mut self, call: u64) -> Option<Grant> {
        let index = self.0.iter().rposition(|grant| grant.call == call)?;
        self.0.remove(index)
    }

    /// Removes the newest grant.
    pub(super) fn pop(&mut self) -> Option<Grant> {
        self.0.pop_back()
    }

    /// Returns the objects of which a call was granted something.
    pub(super) fn of(&self, call: u64) -> impl Iterator<Item = ObjectId> {
        self.0.iter().filter(move |grant| grant.call == call).map(|grant| grant.object)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the memory that the notes take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.len().saturating_mul(GRANT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: ObjectId = ObjectId(1);

    #[test]
    fn grants_are_kept_up_to_the_limit_and_not_one_more() {
        let mut grants = Grants::default();
        let most = u64::try_from(GRANTS_UNREAD_MAX).unwrap();
        for number in 0..most {
            grants.note(number, number, OBJECT, Granted::Permit);
        }
        assert_eq!(grants.of(0).count(), 1);
        grants.note(most, most, OBJECT, Granted::Permit);
        assert_eq!((grants.of(0).count(), grants.of(1).count()), (0, 1), "the oldest counts as read");
        assert_eq!(grants.bytes(), GRANTS_UNREAD_MAX * GRANT_BYTES);
        grants.acknowledge(most);
        assert_eq!(grants.pop().map(|grant| grant.number), Some(most));
        assert_eq!((grants.pop().map(|grant| grant.number), grants.bytes()), (None, 0));
    }

    #[test]
    fn the_newest_grant_of_a_call_is_taken_first() {
        let mut grants = Grants::default();
        for (call, lease) in [(5, 1), (5, 2), (6, 3)] {
            grants.note(0, call, OBJECT, Granted::Task { lease });
        }
        let mut taken = || grants.take(5).map(|grant| grant.what);
        assert_eq!(taken(), Some(Granted::Task { lease: 2 }));
        assert_eq!(taken(), Some(Granted::Task { lease: 1 }));
        assert_eq!(taken(), None);
    }
}
