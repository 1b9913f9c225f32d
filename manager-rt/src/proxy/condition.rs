//! [`Condition`]: waiting until something that a lock protects has changed.

use std::time::{Duration, Instant};

use crate::count::count_of;
use crate::error::{LockResult, ObjectError};
use crate::proto::{ConditionOp, ObjectId, Op, Wait};
use crate::proxy::handle::within;
use crate::proxy::lock::Granted;
use crate::proxy::{Handle, LockGuard, RLockGuard, proxy, read};

mod sealed {
    use crate::proto::ObjectId;

    #[expect(unnameable_types, reason = "the trait is sealed because it cannot be named")]
    pub trait Holds {
        fn object(&self) -> ObjectId;
        fn held_by(&self) -> u64;
        fn hold_by(&mut self, token: u64);
    }
}

use self::sealed::Holds;

/// A guard that a condition can wait with: a guard of a [`Lock`](crate::Lock) or [`RLock`](crate::RLock).
#[diagnostic::on_unimplemented(
    message = "a manager's condition cannot wait with `{Self}`",
    note = "pass the guard of a lock of the same manager, without its `Result`: the condition releases the lock and takes it again"
)]
pub trait WaitGuard: Holds {}

macro_rules! wait_guard {
    ($($guard:ident),+) => {
        $(
            impl Holds for $guard<'_> {
                fn object(&self) -> ObjectId {
                    self.object_id()
                }

                fn held_by(&self) -> u64 {
                    self.token()
                }

                fn hold_by(&mut self, token: u64) {
                    self.set_token(token);
                }
            }

            impl WaitGuard for $guard<'_> {}
        )+
    };
}

wait_guard!(LockGuard, RLockGuard);

/// A condition variable: waits until something that a lock protects has changed.
///
/// Use it with the guard of a [`Lock`](crate::Lock) or [`RLock`](crate::RLock) of the same manager. Several conditions
/// may share one lock.
///
/// | property | |
/// |---|---|
/// | fair | `notify` wakes exactly the requested number of waiters, those that have waited longest |
/// | recovers | a waiter that dies is removed, and consumes no notification |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy.
///
/// # Crash
/// A waiter that is killed leaves nothing behind, and delays no notifier. A notifier that is killed inside `notify` has
/// woken all its waiters or none.
///
/// # Source
/// Python's `multiprocessing.Manager().Condition`.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let manager = Manager::in_process()?;
/// let (lock, delivered, stock) = (manager.lock()?, manager.condition()?, manager.value(&0)?);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let _held = lock.lock().unwrap();
///         stock.set(&5).unwrap();
///         delivered.notify(1).unwrap();
///     });
///     let held = lock.lock().unwrap();
///     let _held = delivered.wait_while(held, |_| stock.get().unwrap() == 0).unwrap();
///     assert_eq!(stock.fetch_add(-1).unwrap(), 5);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Condvar")]
pub struct Condition {
    handle: Handle,
}

proxy!(Condition);

impl Condition {
    /// Releases the lock, waits for a notification, and takes the lock again at its previous depth. If it was leased, it
    /// has the same lease again, which begins anew.
    ///
    /// The awaited condition may no longer hold when this returns, because another process may have been faster. Prefer
    /// [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    /// [`LockError::OwnerDied`](crate::LockError::OwnerDied) with the guard inside: the wait is over, and the previous
    /// holder died. [`LockError::Call`](crate::LockError::Call): the lock is no longer held.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> LockResult<G> {
        self.wait_once(guard, Wait::Forever).map(|(_, guard)| guard)
    }

    /// Like [`wait`](Self::wait), but waits at most `timeout`, and returns `true` if a notification came. The time to
    /// take the lock again does not count towards the timeout.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(bool, G), crate::LockError<G>> {
        self.wait_once(guard, within(timeout))
    }

    /// Waits while `condition` returns `true`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G) -> bool,
    ) -> LockResult<G> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits while `condition` returns `true`, at most `timeout`. Returns `true` if it no longer does.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(&mut G) -> bool,
    ) -> Result<(bool, G), crate::LockError<G>> {
        let started = Instant::now();
        while condition(&mut guard) {
            let (notified, again) = self.wait_timeout(guard, timeout.saturating_sub(started.elapsed()))?;
            guard = again;
            if !notified {
                let holds = condition(&mut guard);
                return Ok((!holds, guard));
            }
        }
        Ok((true, guard))
    }

    fn wait_once<G: WaitGuard>(&self, mut guard: G, wait: Wait) -> Result<(bool, G), crate::LockError<G>> {
        let op = ConditionOp::Wait { lock: guard.object(), token: guard.held_by() };
        // If this fails, dropping the guard releases whatever is still held.
        let granted = self.handle.call(Op::Condition(op), wait).and_then(|reply| Granted::of(&reply))?;
        guard.hold_by(granted.token);
        granted.hand_over(guard).map(|guard| (!granted.timed_out, guard))
    }

    /// Wakes the `count` waiters that have waited longest, or all if there are fewer. Returns how many it woke.
    ///
    /// The caller need not hold the lock. It should if the awaited change happens under the lock; otherwise a process
    /// that is about to wait can miss the notification.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "notify_one")]
    pub fn notify(&self, count: usize) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Condition(ConditionOp::Notify(count_of(count))), read::count)
    }

    /// Wakes all waiters, and returns how many there were.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn notify_all(&self) -> Result<usize, ObjectError> {
        self.notify(usize::MAX)
    }

    /// Returns the number of waiters at this moment.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Condition(ConditionOp::Waiting), read::count)
    }
}
