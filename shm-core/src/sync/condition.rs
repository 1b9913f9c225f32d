//! `Condition`: waiting for a change of what a lock protects.
//!
//! Each waiting process has a place with a word of its own:
//!
//! | word | meaning | who stores |
//! |---|---|---|
//! | [`IDLE`] | nobody waits here | whoever leaves the place, or finds its owner dead |
//! | [`WAITING`] | its owner waits | the owner, before it releases its lock |
//! | [`NOTIFIED`] | it was chosen by a `notify` | the notifier, by one compare-and-exchange |
//!
//! `notify(n)` chooses the n waiters that came first, wakes them, and is done: it never waits for a waiter, so a dead or
//! frozen one holds nobody up. A waiter whose time is up leaves by the same compare-and-exchange, so it was either notified
//! or not, and a notification is used by exactly one.
//!
//! A notification that a process took with it when it died goes to another one: whoever has waited for a slice looks for
//! places of the dead, and passes on what it finds, to those only who waited already when the notification was given. And
//! whoever had its turn to look takes the lock and looks whether it still has to wait: a process may have died after it
//! left its place, and before it did what it was woken for.
//!
//! # Why no notification is lost
//! A waiter is [`WAITING`] before it releases the lock. A notifier that changes what the lock protects does so under the
//! lock, so after the release, and finds the waiter. The waiter then waits while its word is [`WAITING`].

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering;
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::cells::{WaiterPlace, Waiters};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::futex::SLICE;
use mp_sys::identity::Stamp;
use mp_sys::memory::MemoryError;

use crate::arena;
use crate::error::{TOO_LARGE, WaitError};
use crate::sync::dead::{Look, is_turn_to_look};
use crate::sync::wait_guard::WaitGuard;

/// The most processes and threads that wait on one condition at the same time.
pub const WAITERS_MAX: usize = 1024;

const IDLE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;
/// Why a waiter goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// It was chosen.
    Notified,
    /// It waited for its slice, and it was its turn to look after the others: now it may look after itself.
    Looked,
    /// Nobody chose it until its deadline.
    TimedOut,
}

/// No owner.
const NOBODY: u64 = 0;

/// Waiting for a change of what a lock protects.
///
/// It is used with the guard of a [`Lock`](crate::Lock), [`Value`](crate::Value) or [`Array`](crate::Array), like
/// `std::sync::Condvar` with that of a mutex; several conditions may belong to one lock.
///
/// | property | |
/// |---|---|
/// | size | 64 KiB of shared memory: 64 bytes for each of [`WAITERS_MAX`] waiters |
/// | shared with | processes forked after it was made |
/// | fair | `notify` chooses those who came first |
/// | recovers | a notification that a dead process took with it goes to another one within 40 ms |
/// | drop | gives this process's handle up; the condition lives as long as any process has it |
///
/// # Fork safety
/// A forked child shares the condition.
///
/// # Crash
/// A waiter that is killed leaves nothing behind, and holds no notifier up. A notifier that is killed has notified some.
///
/// # Source
/// Python's `multiprocessing.Condition`, whose `notify` hangs for ever if a waiter was killed, as `pthread_cond_signal` does.
///
/// # Examples
/// ```
/// use shm_core::{Condition, Value};
///
/// let stock = Value::new(0_u32)?;
/// let delivered = Condition::new()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *stock.lock().unwrap() += 5;
///         delivered.notify(1);
///     });
///     let mut guard = delivered.wait_while(stock.lock().unwrap(), |stock| **stock == 0).unwrap();
///     *guard -= 1;
/// });
/// assert_eq!(stock.get()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Condition {
    waiters: Waiters,
    budget: Budget,
}

impl Condition {
    /// Makes a condition that nobody waits on.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        let bytes = Waiters::bytes_for(WAITERS_MAX).ok_or(TOO_LARGE)?;
        let waiters = Waiters::new(arena::allocate(bytes)?, WAITERS_MAX).map_err(|_| TOO_LARGE)?;
        Ok(Self { waiters, budget: Budget::new() })
    }

    /// Releases the lock, waits until somebody notifies, and takes the lock again.
    ///
    /// May return although what is waited for does not hold (any more): somebody else may have been faster. Prefer
    /// [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    /// [`WaitError::TooManyWaiters`] with the guard inside: the lock was not released. [`WaitError::Lock`] if the lock
    /// was poisoned meanwhile, with the guard inside.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, WaitError<G>> {
        let (_, guard) = self.wait_until(guard, Deadline::NEVER)?;
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout` (monotonic clock; `Duration::MAX` waits for ever); tells whether
    /// somebody notified. Taking the lock again is not part of the timeout.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<G: WaitGuard>(&self, guard: G, timeout: Duration) -> Result<(bool, G), WaitError<G>> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits while `condition` holds of the guard.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: WaitGuard>(
        &self,
        guard: G,
        condition: impl FnMut(&mut G) -> bool,
    ) -> Result<G, WaitError<G>> {
        let (_, guard) = self.wait_while_until(guard, condition, Deadline::NEVER)?;
        Ok(guard)
    }

    /// Waits while `condition` holds of the guard, for at most `timeout`; tells whether it does not hold any more.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
        condition: impl FnMut(&mut G) -> bool,
    ) -> Result<(bool, G), WaitError<G>> {
        self.wait_while_until(guard, condition, Deadline::after(timeout))
    }

    fn wait_while_until<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G) -> bool,
        deadline: Deadline,
    ) -> Result<(bool, G), WaitError<G>> {
        while condition(&mut guard) {
            let (notified, again) = self.wait_once(guard, Some(&mut condition), deadline)?;
            guard = again;
            if !notified {
                let holds = condition(&mut guard);
                return Ok((!holds, guard));
            }
        }
        Ok((true, guard))
    }

    fn wait_until<G: WaitGuard>(&self, guard: G, deadline: Deadline) -> Result<(bool, G), WaitError<G>> {
        self.wait_once(guard, None, deadline)
    }

    /// Waits for one notification, or until `waits` does not hold any more; `false` at the deadline.
    fn wait_once<G: WaitGuard>(
        &self,
        mut guard: G,
        mut waits: Option<&mut dyn FnMut(&mut G) -> bool>,
        deadline: Deadline,
    ) -> Result<(bool, G), WaitError<G>> {
        let Some(place) = self.take_place() else {
            return Err(WaitError::TooManyWaiters(guard));
        };
        loop {
            let lock = guard.release();
            let woken = self.wait_at(place, waits.is_some(), deadline);
            // The place is left with the lock in hand: whoever dies before has not used its notification.
            match G::take_again(lock) {
                Ok(again) => guard = again,
                Err(error) => {
                    leave(place);
                    return Err(WaitError::Lock(error));
                }
            }
            if woken == Woken::Looked {
                if waits.as_mut().is_some_and(|waits| waits(&mut guard)) {
                    continue;
                }
                // Somebody died with what this waiter waited for. A notification that came meanwhile is for others.
                if !place.signal.give_up(WAITING, IDLE) {
                    self.notify_until(1, place.notified_at.load(Ordering::SeqCst));
                }
            }
            leave(place);
            return Ok((woken != Woken::TimedOut, guard));
        }
    }

    /// Takes a place, and is waiting from here on.
    fn take_place(&self) -> Option<&WaiterPlace> {
        let own = Stamp::current().to_bits();
        let places = self.waiters.places();
        let free = |place: &WaiterPlace| place.exchange_owner(NOBODY, own);
        let at = places.iter().position(free).or_else(|| {
            self.clear_places_of_the_dead();
            places.iter().position(free)
        })?;
        crash::point();
        let used = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
        self.waiters.head().used.fetch_max(used, Ordering::SeqCst);
        let place = places.get(at)?;
        place.signal.reset(WAITING);
        crash::point();
        let ticket = self.waiters.head().tickets.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        place.ticket.store(ticket, Ordering::SeqCst);
        crash::point();
        Some(place)
    }

    /// Waits at a place.
    fn wait_at(&self, place: &WaiterPlace, may_look: bool, deadline: Deadline) -> Woken {
        loop {
            let slice = Deadline::after(SLICE).min(deadline);
            if place.signal.wait_while(WAITING, &self.budget, slice).is_some() {
                return Woken::Notified;
            }
            let looked = self.look_for_the_dead();
            if deadline.has_passed() {
                // Either this waiter leaves, or a notifier chose it at the last moment.
                let left = place.signal.give_up(WAITING, IDLE);
                return if left { Woken::TimedOut } else { Woken::Notified };
            }
            if looked && may_look {
                return Woken::Looked;
            }
        }
    }

    /// Wakes at most `count` waiters, those who came first, and tells how many it chose. Does not wait for them.
    ///
    /// Hold the lock while changing what is waited for; whether it is still held here does not matter.
    pub fn notify(&self, count: usize) -> usize {
        let newest = self.waiters.head().tickets.load(Ordering::SeqCst);
        self.notify_until(count, newest)
    }

    /// Wakes all who wait, and tells how many.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// Chooses among those who have a ticket up to `newest`.
    fn notify_until(&self, count: usize, newest: u64) -> usize {
        let mut waiting: Vec<(u64, &WaiterPlace)> = self
            .waiters
            .used_places()
            .iter()
            .map(|place| (place.ticket.load(Ordering::SeqCst), place))
            .filter(|(ticket, place)| *ticket != 0 && *ticket <= newest && place.signal.get() == WAITING)
            .collect();
        if waiting.len() > count {
            waiting.sort_unstable_by_key(|(ticket, _)| *ticket);
        }
        let choose = |(_, place): &&(u64, &WaiterPlace)| {
            place.notified_at.store(newest, Ordering::SeqCst);
            crash::point();
            place.signal.update(1, |word| (word == WAITING).then_some(NOTIFIED)) == WAITING
        };
        waiting.iter().filter(choose).inspect(|_| crash::point()).take(count).count()
    }

    /// How many wait at this moment.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.waiters.used_places().iter().filter(|place| place.signal.get() == WAITING).count()
    }

    /// Looks for the dead, unless somebody did just now; tells whether it did.
    fn look_for_the_dead(&self) -> bool {
        let is_turn = is_turn_to_look(&self.waiters.head().last_look);
        if is_turn {
            self.clear_places_of_the_dead();
        }
        is_turn
    }

    /// Frees the places of dead processes, and passes on the notifications that they took with them.
    fn clear_places_of_the_dead(&self) {
        let mut look = Look::default();
        let own = Stamp::current().to_bits();
        for place in self.waiters.used_places() {
            let owner = place.owner.load(Ordering::SeqCst);
            if owner == NOBODY {
                continue;
            }
            // The one who clears takes the place over first: if it dies as well, the next one does all of this again.
            if !look.is_dead(owner) || !place.exchange_owner(owner, own) {
                continue;
            }
            crash::point();
            let unused = place.signal.get() == NOTIFIED;
            let newest = place.notified_at.load(Ordering::SeqCst);
            if unused {
                self.notify_until(1, newest);
                crash::point();
            }
            leave(place);
        }
    }
}

/// Leaves a place that is this process's. The word first: a place without an owner is idle.
fn leave(place: &WaiterPlace) {
    place.ticket.store(0, Ordering::SeqCst);
    crash::point();
    place.signal.reset(IDLE);
    crash::point();
    place.owner.store(NOBODY, Ordering::SeqCst);
    crash::point();
}

// As std's condition variable.
impl UnwindSafe for Condition {}
impl RefUnwindSafe for Condition {}
