//! Waiting calls, their places in lines, and the times at which something has to be checked.
//!
//! A line is the set of its waiters' numbers. Numbers only grow, so the first in the set has waited longest, and
//! removing a waiter from the middle is as cheap as from the front.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::account::{Account, Charge};
use crate::count::in_tree;
use crate::proto::{ObjectId, Payload};
use crate::state::delivery::outside_of;
use crate::state::step::ClientId;

/// A timer, in bytes.
pub(super) const TIMER_BYTES: usize = in_tree::<(TimerKey, Timer)>();
/// A waiting call, in bytes: itself, its place in a line, its number at its client, and for how much room it waits there.
pub(super) const WAITER_BYTES: usize = in_tree::<(WaiterId, Waiter)>()
    + in_tree::<WaiterId>()
    + in_tree::<(u64, (WaiterId, usize))>()
    + in_tree::<(usize, WaiterId)>();

/// The number of a waiting call. It is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WaiterId(pub(super) u64);

/// Waiters in the order in which they arrived.
pub(super) type Line = BTreeSet<WaiterId>;

/// What a call waits for.
#[derive(Debug)]
pub(super) enum Want {
    /// A lock.
    Lock(LockWant),
    /// A permit.
    Permit {
        /// Whether the answer is a grant with a token.
        is_named: bool,
    },
    /// A notification, and then the lock again.
    Notification {
        /// The lock that was released.
        lock: ObjectId,
        /// How it was held.
        hold: Hold,
        /// When the call arrived.
        since: u64,
    },
    /// The setting of an event.
    Flag,
    /// Room for these items in a queue.
    Room(Vec<Payload>),
    /// Items of a queue: one, or at most this many.
    Items(Option<u64>),
    /// The end of all tasks.
    AllDone,
    /// The other parties of a barrier.
    Parties {
        /// Whether the caller runs an action if it arrives last.
        acts: bool,
    },
}

impl Want {
    /// Returns what the values take that wait for room, in bytes, without their places.
    pub(super) fn outside(&self) -> usize {
        match self {
            Self::Room(items) => outside_of(items),
            _ => 0,
        }
    }
}

/// How a lock is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// The depth.
    pub(super) depth: u64,
    /// The lease in nanoseconds; 0 for none.
    pub(super) lease: u64,
}

/// How to take a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct LockWant {
    /// How the lock is held afterwards. Its lease begins when it is granted.
    pub(super) hold: Hold,
    /// When the call arrived.
    pub(super) since: u64,
    /// Whether this was a wait for a notification that ended without one.
    pub(super) timed_out: bool,
    /// The condition that notified the waiter. If the waiter dies before it has the lock, the notification is passed
    /// on.
    pub(super) notified_by: Option<ObjectId>,
}

/// A waiting call.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) client: ClientId,
    pub(super) call: u64,
    pub(super) thread: u64,
    /// The object in whose line it waits.
    pub(super) object: ObjectId,
    pub(super) want: Want,
    /// For how many bytes of room in its client's share it waits; 0 if it does not.
    pub(super) stalled_for: usize,
    /// When it began to wait in this line.
    pub(super) since: u64,
    pub(super) deadline: Option<u64>,
}

/// What happens at a given time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// The timeout of a call is over.
    Waiter(WaiterId),
    /// The lease of a lock ends.
    Lease { object: ObjectId, token: u64 },
    /// The reference of a transit ends.
    Transit(ObjectId),
    /// A bequest ends that nobody has claimed.
    Bequest(u128),
}

/// Which timer it is: its time, and its number among those of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    at: u64,
    number: u64,
}

impl TimerKey {
    /// Returns the time.
    pub(super) const fn at(self) -> u64 {
        self.at
    }
}

/// All waiting calls and all timers. They are in trees, since a hash table moves all entries when it grows.
#[derive(Debug)]
pub(super) struct Waiters {
    all: BTreeMap<WaiterId, Waiter>,
    timers: BTreeMap<TimerKey, Timer>,
    /// The number of the newest waiter or timer.
    newest: u64,
    charge: Charge,
}

impl Waiters {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self { all: BTreeMap::new(), timers: BTreeMap::new(), newest: 0, charge: account.charge(0) }
    }

    /// Charges what the calls and the timers take after a change.
    fn recharge(&mut self) {
        let calls = self.all.len().saturating_mul(WAITER_BYTES);
        let timers = self.timers.len().saturating_mul(TIMER_BYTES);
        self.charge.set(calls.saturating_add(timers));
    }

    /// Adds a call that waits since a moment, until another one if there is a limit.
    pub(super) fn insert(
        &mut self,
        (client, call, thread): (ClientId, u64, u64),
        object: ObjectId,
        want: Want,
        (since, deadline): (u64, Option<u64>),
    ) -> WaiterId {
        self.newest = self.newest.wrapping_add(1);
        let id = WaiterId(self.newest);
        if let Some(deadline) = deadline {
            self.timers.insert(TimerKey { at: deadline, number: id.0 }, Timer::Waiter(id));
        }
        let stalled_for = 0;
        self.all.insert(id, Waiter { client, call, thread, object, want, stalled_for, since, deadline });
        self.recharge();
        id
    }

    /// Returns the calls after this one, in the order in which they began to wait.
    pub(super) fn after(&self, id: WaiterId) -> impl Iterator<Item = (WaiterId, &Waiter)> {
        let range = (Bound::Excluded(id), Bound::Unbounded);
        self.all.range(range).map(|(id, waiter)| (*id, waiter))
    }

    pub(super) fn get(&self, id: WaiterId) -> Option<&Waiter> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waiter> {
        self.all.get_mut(&id)
    }

    /// Removes a call and its timer.
    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.all.remove(&id)?;
        if let Some(deadline) = waiter.deadline {
            self.timers.remove(&TimerKey { at: deadline, number: id.0 });
        }
        self.recharge();
        Some(waiter)
    }

    /// Moves the deadline of a call, whose timer was removed.
    pub(super) fn postpone(&mut self, id: WaiterId, deadline: u64) {
        if let Some(waiter) = self.all.get_mut(&id) {
            waiter.deadline = Some(deadline);
            self.timers.insert(TimerKey { at: deadline, number: id.0 }, Timer::Waiter(id));
            self.recharge();
        }
    }

    /// Adds a timer. Whoever adds one again and again removes the previous one, so that their number is bounded.
    pub(super) fn add_timer(&mut self, at: u64, timer: Timer) -> TimerKey {
        self.newest = self.newest.wrapping_add(1);
        let key = TimerKey { at, number: self.newest };
        self.timers.insert(key, timer);
        self.recharge();
        key
    }

    /// Removes a timer, if its time has not come yet.
    pub(super) fn remove_timer(&mut self, key: TimerKey) {
        self.timers.remove(&key);
        self.recharge();
    }

    /// Returns the next timer whose time has come.
    pub(super) fn pop_timer(&mut self, now: u64) -> Option<Timer> {
        let next = self.timers.first_entry()?;
        let timer = (next.key().at <= now).then(|| next.remove());
        self.recharge();
        timer
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.timers.first_key_value().map(|(key, _)| key.at)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Calls `visit` for each value that waits for room.
    #[cfg(test)]
    pub(super) fn each_value(&self, visit: &mut impl FnMut(&Payload)) {
        for waiter in self.all.values() {
            if let Want::Room(items) = &waiter.want {
                items.iter().for_each(&mut *visit);
            }
        }
    }

    /// Returns what the items of one client take that wait for room, in bytes.
    #[cfg(test)]
    pub(super) fn items_of(&self, client: ClientId) -> usize {
        self.all.values().filter(|waiter| waiter.client == client).map(|waiter| waiter.want.outside()).sum()
    }

    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }
}
