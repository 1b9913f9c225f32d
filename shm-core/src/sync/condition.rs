//! `Condition`: waiting for a change of what a lock protects.
//!
//! The module [`places`] explains the words, and why no notification is lost. This module adds the place of the words, and
//! the lock that is released and taken again.
//!
//! A waiter that had its turn to look for dead processes takes the lock and checks whether it still has to wait: a process
//! may have died after it left its place, and before it did what it was woken for.

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(all(mp_loom, test))]
mod models;
mod places;
mod stay;
mod travel;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mp_sys::adaptive::Budget;
use mp_sys::cells::Waiters;
use mp_sys::deadline::Deadline;
use mp_sys::identity::Stamp;
use mp_sys::memory::MemoryError;
use mp_sys::named::{Kind, Segment};

use crate::arena;
use crate::error::{LockError, TOO_LARGE, WaitError};
use crate::kind;
use crate::named::{self, NameError};
use crate::sync::condition::places::{Places, Woken};
use crate::sync::condition::stay::Stay;
use crate::sync::dead::Kernel;
use crate::sync::wait_guard::WaitGuard;

/// The most threads of all processes that can wait on one condition at the same time.
pub const WAITERS_MAX: usize = 1024;

/// Waiting for a change of what a lock protects.
///
/// You use it with the guard of a [`Lock`](crate::Lock), [`RLock`](crate::RLock), [`Value`](crate::Value) or
/// [`Array`](crate::Array), as you use `std::sync::Condvar` with the guard of a mutex. Several conditions can belong to one
/// lock. An `RLock` is released however many guards the thread has, and taken again just as often.
///
/// | property | |
/// |---|---|
/// | size | 64 KiB of shared memory: 64 bytes for each of [`WAITERS_MAX`] waiters |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | fair | `notify` chooses the waiters that came first |
/// | recovers | a notification of a process that died before it used it goes to another waiter within 100 ms (mostly 40) |
/// | drop | closes this process's handle; the condition lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the condition.
///
/// # Crash
/// A killed waiter leaves nothing behind, and delays no notifier. A killed notifier has notified some of the waiters.
///
/// # Source
/// Python's `multiprocessing.Condition`, whose `notify` hangs for ever if a waiter was killed, as `pthread_cond_signal` does.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::{Condition, Value};
///
/// let stock = Value::new(0_u32)?;
/// let delivered = Condition::new()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *stock.lock().unwrap() += 5;
///         delivered.notify(1);
///     });
///     let mut guard = delivered.wait_while(stock.lock().unwrap(), |stock| *stock == 0).unwrap();
///     *guard -= 1;
/// });
/// assert_eq!(stock.get()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Condvar")]
pub struct Condition {
    waiters: Waiters,
    budget: Budget,
    /// The place where this handle last waited.
    hint: AtomicUsize,
    segment: Option<Segment>,
}

const KIND: Kind = kind::CONDITION;

impl Condition {
    /// Creates a condition that nobody waits on.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        let bytes = Waiters::bytes_for(WAITERS_MAX).ok_or(TOO_LARGE)?;
        let waiters = Waiters::new(arena::allocate(bytes)?, WAITERS_MAX).map_err(|_| TOO_LARGE)?;
        Ok(Self::over(waiters, None))
    }

    /// Creates a condition that nobody waits on under a name, which other programs of this user can open. The lock needs a
    /// separate name.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str) -> Result<Self, NameError> {
        let bytes = Waiters::bytes_for(WAITERS_MAX).ok_or(TOO_LARGE)?;
        let make = |span| Waiters::new(span, WAITERS_MAX);
        let (waiters, segment) = named::create::<(), _>(name, KIND, WAITERS_MAX, bytes, make)?;
        Ok(Self::over(waiters, Some(segment)))
    }

    /// Opens the condition of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        // All conditions have the same number of places: a process that saw fewer would miss the waiters at the others.
        let attach = |places, span| (places == WAITERS_MAX).then(|| Waiters::attach(span, places).ok())?;
        let (waiters, segment) = named::open::<(), _>(name, KIND, attach)?;
        Ok(Self::over(waiters, Some(segment)))
    }

    fn over(waiters: Waiters, segment: Option<Segment>) -> Self {
        Self { waiters, budget: Budget::before_a_lock(), hint: AtomicUsize::new(0), segment }
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// What the caller waits for may no longer hold when this returns, because another thread may have been faster. Prefer
    /// [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    /// [`WaitError::TooManyWaiters`] with the guard inside: the lock was not released. [`WaitError::Lock`] if the lock
    /// was poisoned meanwhile, with the guard inside.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, WaitError<G>> {
        let (_, guard) = self.wait_until(guard, Deadline::NEVER)?;
        Ok(guard)
    }

    /// Like [`wait`](Self::wait), for at most `timeout` (monotonic clock; `Duration::MAX` waits for ever). The `bool` is
    /// `true` if a notification came. The timeout does not include the time to take the lock again.
    ///
    /// # Errors
    /// The same as [`wait`](Self::wait).
    pub fn wait_timeout<G: WaitGuard>(&self, guard: G, timeout: Duration) -> Result<(bool, G), WaitError<G>> {
        self.wait_until(guard, Deadline::after(timeout))
    }

    /// Waits while `condition` returns `true`. It gets what the lock protects: `&mut T` of a [`Value`](crate::Value), `&mut
    /// [T]` of an [`Array`](crate::Array), or `&mut ()` of a lock without data. If `condition` panics, the caller stops
    /// waiting, and a notification that it has received goes to another waiter.
    ///
    /// # Errors
    /// The same as [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: WaitGuard>(
        &self,
        guard: G,
        condition: impl FnMut(&mut G::Lent) -> bool,
    ) -> Result<G, WaitError<G>> {
        let (_, guard) = self.wait_while_until(guard, condition, Deadline::NEVER)?;
        Ok(guard)
    }

    /// Like [`wait_while`](Self::wait_while), for at most `timeout`. The `bool` is `true` if `condition` returned `false` in
    /// time.
    ///
    /// # Errors
    /// The same as [`wait`](Self::wait).
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
        condition: impl FnMut(&mut G::Lent) -> bool,
    ) -> Result<(bool, G), WaitError<G>> {
        self.wait_while_until(guard, condition, Deadline::after(timeout))
    }

    fn wait_while_until<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Lent) -> bool,
        deadline: Deadline,
    ) -> Result<(bool, G), WaitError<G>> {
        let mut condition = |guard: &mut G| guard.lend(&mut condition);
        if !condition(&mut guard) {
            return Ok((true, guard));
        }
        loop {
            let (woken, waits, again) = self.wait_once(guard, Some(&mut condition), deadline)?;
            guard = again;
            if !waits || woken == Woken::TimedOut {
                return Ok((!waits, guard));
            }
        }
    }

    fn wait_until<G: WaitGuard>(&self, guard: G, deadline: Deadline) -> Result<(bool, G), WaitError<G>> {
        let (woken, _, guard) = self.wait_once(guard, None, deadline)?;
        Ok((woken != Woken::TimedOut, guard))
    }

    /// Waits for one notification, until the deadline, or until `waits` returns `false`. Returns which of these happened, and
    /// whether `waits` still holds.
    fn wait_once<G: WaitGuard>(
        &self,
        mut guard: G,
        mut waits: Option<&mut dyn FnMut(&mut G) -> bool>,
        deadline: Deadline,
    ) -> Result<(Woken, bool, G), WaitError<G>> {
        let (places, own) = (self.places(), Stamp::current().to_bits());
        let Some((at, place)) = places.take(own, self.hint.load(Ordering::Relaxed), &Kernel) else {
            return Err(WaitError::TooManyWaiters(guard));
        };
        // The waiter leaves its place while it holds the lock: if it dies or panics before, it has not used its notification.
        let stay = Stay::at(place, self.places());
        self.hint.store(at, Ordering::Relaxed);
        let mut sleeper = places.sleeper(place);
        loop {
            let lock = guard.release();
            let woken = places.wait_at(
                (place, own),
                &mut sleeper,
                waits.is_some(),
                (&self.budget, deadline),
                &Kernel,
            );
            match G::take_again(lock) {
                Ok(again) => guard = again,
                Err(error) => {
                    // A waiter without the lock cannot use a notification.
                    if matches!(error, LockError::Poisoned(_)) {
                        stay.leave(woken);
                    }
                    return Err(WaitError::Lock(error));
                }
            }
            let holds = waits.as_mut().is_some_and(|waits| waits(&mut guard));
            // A process may have died with what this waiter waits for. The waiter has looked, and waits on.
            if woken == Woken::Looked && holds {
                continue;
            }
            stay.leave(woken);
            return Ok((woken, holds, guard));
        }
    }

    fn places(&self) -> Places<'_> {
        Places { head: self.waiters.head(), places: self.waiters.places() }
    }

    /// Wakes at most `count` waiters, those that came first, and returns how many it chose. It does not wait for them.
    ///
    /// Hold the lock while you change what they wait for. You may release it before you call this.
    ///
    /// # Crash
    /// A killed waiter is not counted, and another one is chosen instead. This check is made for a `count` of 2 or more.
    /// `notify(1)` does not check, and may choose a dead waiter that no process has found yet. Its notification goes to
    /// another waiter within 100 ms, if there is one.
    #[doc(alias = "notify_one")]
    pub fn notify(&self, count: usize) -> usize {
        if count == 1 {
            return self.places().notify(1);
        }
        self.places().notify_living(count, Stamp::current().to_bits(), &Kernel)
    }

    /// Wakes all waiters, and returns how many were alive.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// Returns how many wait at this moment. A process that was killed while it waited is counted until another waiter has
    /// looked: within 40 ms, or with 500 waiters within two thirds of a second.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.places().n_waiting()
    }
}

// Like std's condition variable.
impl UnwindSafe for Condition {}
impl RefUnwindSafe for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({} waiting)", self.n_waiting())
    }
}
