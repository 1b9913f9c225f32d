//! [`Grants`]: what this process holds, so that a guard learns that its lock is lost.
//!
//! A holding belongs to a connection, or to what takes its place in another engine: a session, a channel. When that
//! ends, so does the holding, although the process lives and can connect again. So each grant is recorded with the
//! number of its connection. These numbers grow, and [`Grants::lose`] ends all grants up to a number.
//!
//! No thread watches. Whoever finds out that a connection has ended reports it here, and runs what the holders asked
//! for. A lease is checked when its guard asks.
//!
//! # When a lease ends
//! The manager counts a lease from the grant, on its own clock. This process cannot know that moment: when it reads the
//! answer, the grant may be long ago, because the process was stopped. But it knows when it made the call, and the
//! manager says how long the call waited. The call took some time to arrive, so the lease ends here a little earlier than
//! there, and never later. The clock is the one that goes on while the system is suspended.
//!
//! So the manager may still count what is over here, and may go on with it: after a wait for a notification, the holder has
//! the lock again, for a new lease, and a thread may take a reentrant lock once more. The record stays until the lock is
//! released, since only it knows the lease.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mp_sys::deadline::boot_nanos;

use crate::backend::CallError;
use crate::proto::{
    BarrierOp, Call, ConditionOp, Fault, LockOp, ObjectId, Op, Payload, Raw, Reply, SemaphoreOp,
};

/// Whether a lock or permit is still held, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validity {
    /// Nothing that this process knows has ended it.
    Held,
    /// It has ended: it was released, its lease is over, or its connection ended.
    Lost,
}

/// What to do when a lock or permit is lost.
pub type OnLost = Box<dyn FnOnce() + Send>;

/// What a process holds in one manager.
///
/// A [`Backend`](crate::Backend) keeps one, tells it about each call with [`of`](Change::of) and [`note`](Self::note),
/// and reports the end of a connection with [`lose`](Self::lose).
///
/// # Fork safety
/// A child holds nothing that its parent holds, so its backend starts with a new one.
///
/// # Crash
/// It is lost with the process, and so is what it records.
///
/// # Source
/// None.
#[derive(Default)]
pub struct Grants {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<(ObjectId, u64), Grant>,
    /// All grants of connections up to this number are lost.
    lost_up_to: u64,
}

/// One granted lock or permit.
struct Grant {
    connection: u64,
    /// How often it was taken and not released.
    depth: u64,
    lease: Option<u64>,
    /// When the lease ends, on the clock that counts suspended time; `u64::MAX` for never. 0 if the manager may no longer have
    /// the grant.
    ends: u64,
    watchers: Vec<OnLost>,
}

impl Grant {
    fn is_over(&self) -> bool {
        self.ends != u64::MAX && boot_nanos() >= self.ends
    }
}

/// What a call changes about grants if it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Take {
        object: ObjectId,
        lease: u64,
        /// When the call was made, if there is a lease.
        asked: u64,
    },
    /// A wait for a notification exchanges the token.
    Exchange {
        object: ObjectId,
        token: u64,
        asked: u64,
    },
    Release {
        object: ObjectId,
        token: u64,
    },
}

impl Change {
    /// Returns what a call changes that is about to be sent. A lease is counted from this moment, so ask before the call
    /// is sent, and again if it is sent a second time.
    #[must_use]
    pub fn of(call: &Call<Raw<'_>>) -> Self {
        let object = call.object;
        Self(match call.op {
            Op::Lock(LockOp::Acquire { lease }) => {
                Kind::Take { object, lease, asked: if lease > 0 { boot_nanos() } else { 0 } }
            }
            Op::Lock(LockOp::Release { token }) => Kind::Release { object, token },
            Op::Condition(ConditionOp::Wait { lock, token }) => {
                Kind::Exchange { object: lock, token, asked: boot_nanos() }
            }
            Op::Semaphore(SemaphoreOp::Take) | Op::Barrier(BarrierOp::Enrol) => {
                Kind::Take { object, lease: 0, asked: 0 }
            }
            Op::Barrier(BarrierOp::Withdraw { token }) => Kind::Release { object, token },
            Op::Semaphore(SemaphoreOp::Return { token } | SemaphoreOp::Disown { token }) => {
                Kind::Release { object, token }
            }
            _ => Kind::Nothing,
        })
    }

    /// Returns the change of a call that is sent now, and not when this was made.
    #[cfg(feature = "tokio")]
    pub(crate) fn sent_now(self) -> Self {
        Self(match self.0 {
            Kind::Take { object, lease, asked: 1.. } => Kind::Take { object, lease, asked: boot_nanos() },
            Kind::Exchange { object, token, .. } => Kind::Exchange { object, token, asked: boot_nanos() },
            other => other,
        })
    }

    /// Returns `true` if the call changes nothing about grants.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        matches!(self.0, Kind::Nothing)
    }

    /// Returns the lock or permit that the call releases, and its token.
    #[must_use]
    pub const fn released(self) -> Option<(ObjectId, u64)> {
        match self.0 {
            Kind::Release { object, token } => Some((object, token)),
            _ => None,
        }
    }
}

impl Grants {
    /// Makes a record without grants.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the outcome of a call that ran over a connection.
    pub fn note(&self, change: Change, outcome: Result<&Reply<Payload>, CallError>, connection: u64) {
        let granted = match outcome {
            // An older manager does not say how long the call waited. The lease began after the call at any rate.
            Ok(Reply::Granted { token, .. }) => Some((*token, 0)),
            Ok(Reply::GrantedLease { token, waited, .. }) => Some((*token, *waited)),
            _ => None,
        };
        match (change.0, outcome) {
            (Kind::Take { object, lease, asked }, _) => {
                if let Some((token, waited)) = granted {
                    let lease = (lease > 0).then_some(lease);
                    let began = asked.saturating_add(waited);
                    self.lock().take((object, token), lease, began, connection);
                }
            }
            (Kind::Exchange { object, token: old, asked }, outcome) => match granted {
                Some((token, waited)) => {
                    let began = asked.saturating_add(waited);
                    self.lock().exchange((object, token), old, began, connection);
                }
                None if has_changed_nothing(outcome) => {}
                None => run(self.lock().doubt(object, old)),
            },
            // Not at any depth.
            (Kind::Release { object, token }, Err(CallError::Fault(Fault::NotOwned))) => {
                let gone = self.lock().held.remove(&(object, token));
                run(gone.into_iter().flat_map(|grant| grant.watchers));
            }
            (Kind::Release { object, token }, outcome) => {
                let watchers = self.lock().release(object, token);
                // It was no longer held, unless the call succeeded.
                if outcome.is_err() {
                    run(watchers);
                }
            }
            _ => {}
        }
    }

    /// Returns whether a grant is still held. If its lease is over, runs what its holder asked for.
    #[must_use]
    pub fn validity(&self, object: ObjectId, token: u64) -> Validity {
        let mut inner = self.lock();
        let Some(grant) = inner.held.get_mut(&(object, token)) else { return Validity::Lost };
        if !grant.is_over() {
            return Validity::Held;
        }
        let watchers = std::mem::take(&mut grant.watchers);
        drop(inner);
        run(watchers);
        Validity::Lost
    }

    /// Returns `true` if the manager may have a grant, which then has to be released there, even if its lease is over here.
    pub(crate) fn may_be_released(&self, object: ObjectId, token: u64) -> bool {
        self.lock().held.contains_key(&(object, token))
    }

    /// Runs `lost` once the grant is found to be lost: now, if it is lost already. If it is released before, `lost` is
    /// dropped.
    pub fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        let mut inner = self.lock();
        if let Some(grant) = inner.held.get_mut(&(object, token)).filter(|grant| !grant.is_over()) {
            grant.watchers.push(lost);
            return;
        }
        drop(inner);
        lost();
    }

    /// Ends all grants of connections up to a number, and runs what their holders asked for. Call it without any lock
    /// held, since the holders may use the backend.
    pub fn lose(&self, connection: u64) {
        run(self.take_lost(connection));
    }

    /// Like [`lose`](Self::lose), but leaves it to the caller to run what it returns.
    pub(crate) fn take_lost(&self, connection: u64) -> Vec<OnLost> {
        let mut inner = self.lock();
        if connection <= inner.lost_up_to {
            return Vec::new();
        }
        inner.lost_up_to = connection;
        let lost = inner.held.extract_if(|_, grant| grant.connection <= connection);
        lost.flat_map(|(_, grant)| grant.watchers).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, key: (ObjectId, u64), lease: Option<u64>, began: u64, connection: u64) {
        if connection <= self.lost_up_to {
            return;
        }
        let grant = self.held.entry(key).or_insert_with(|| Grant {
            connection,
            depth: 0,
            lease,
            ends: end_of(lease, began),
            watchers: Vec::new(),
        });
        grant.depth = grant.depth.saturating_add(1);
        if grant.lease.is_none() {
            // The manager has it, which may have been in doubt.
            grant.ends = u64::MAX;
        }
    }

    fn exchange(&mut self, key: (ObjectId, u64), old: u64, began: u64, connection: u64) {
        let grant = match self.held.remove(&(key.0, old)) {
            Some(grant) => Grant { connection, ends: end_of(grant.lease, began), ..grant },
            // Nothing tells whether there is a lease, so it does not count as held. But it has to be released.
            None => Grant { connection, depth: 1, lease: Some(0), ends: 0, watchers: Vec::new() },
        };
        if connection > self.lost_up_to {
            self.held.insert(key, grant);
        }
    }

    /// Records that the manager may no longer have a grant. Returns what its holder asked for.
    fn doubt(&mut self, object: ObjectId, token: u64) -> Vec<OnLost> {
        let Some(grant) = self.held.get_mut(&(object, token)) else { return Vec::new() };
        grant.ends = 0;
        std::mem::take(&mut grant.watchers)
    }

    /// Removes one level of a grant. Returns what its holder asked for, if that was the last.
    fn release(&mut self, object: ObjectId, token: u64) -> Vec<OnLost> {
        let Some(grant) = self.held.get_mut(&(object, token)) else { return Vec::new() };
        grant.depth = grant.depth.saturating_sub(1);
        if grant.depth > 0 {
            return Vec::new();
        }
        self.held.remove(&(object, token)).map(|grant| grant.watchers).unwrap_or_default()
    }
}

/// Returns when a lease ends that began at this moment, or later.
fn end_of(lease: Option<u64>, began: u64) -> u64 {
    lease.map_or(u64::MAX, |lease| began.saturating_add(lease))
}

/// Returns `true` if a wait that failed has surely left its caller the lock.
fn has_changed_nothing(outcome: Result<&Reply<Payload>, CallError>) -> bool {
    match outcome {
        // The condition may have been removed during the wait.
        Err(CallError::Fault(fault)) => !matches!(fault, Fault::NotOwned | Fault::UnknownObject),
        Ok(_) | Err(CallError::OutcomeUnknown | CallError::Protocol | CallError::UnknownAnswer { .. }) => {
            false
        }
        Err(_) => true,
    }
}

pub(crate) fn run(watchers: impl IntoIterator<Item = OnLost>) {
    watchers.into_iter().for_each(|lost| lost());
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
