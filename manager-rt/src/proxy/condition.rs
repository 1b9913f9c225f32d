//! [`Condition`]: waiting for a change of what a lock protects.

use std::time::{Duration, Instant};

use crate::count::count_of;
use crate::error::{LockResult, ObjectError};
use crate::proto::frame::Wait;
use crate::proto::{ConditionOp, ObjectId, Op};
use crate::proxy::handle::within;
use crate::proxy::lock::Granted;
use crate::proxy::{Handle, LockGuard, RLockGuard, proxy, read};

mod sealed {
    use crate::proto::ObjectId;

    #[expect(unnameable_types, reason = "that nobody can name it is what seals the trait")]
    pub trait Holds {
        fn object(&self) -> ObjectId;
        fn held_by(&self) -> u64;
        fn hold_by(&mut self, token: u64);
    }
}

use self::sealed::Holds;

/// A guard that a condition can wait with: that of a [`Lock`](crate::Lock) or [`RLock`](crate::RLock).
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

/// Waiting for a change of what a lock protects.
///
/// It is used with the guard of a [`Lock`](crate::Lock) or [`RLock`](crate::RLock) of the same manager; several conditions
/// may belong to one lock.
///
/// | property | |
/// |---|---|
/// | fair | `notify` chooses those who wait longest, exactly as many as it is told |
/// | recovers | a waiter that dies is not there any more, and takes no notification along |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited.
///
/// # Crash
/// A waiter that is killed leaves nothing behind, and holds no notifier up. A notifier that is killed has notified all that
/// it was to notify, or nobody.
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
    /// Gives the lock back, waits until somebody notifies, and takes the lock again, whatever its depth was.
    ///
    /// What is waited for may not hold (any more) then: somebody else may have been faster. Prefer
    /// [`wait_while`](Self::wait_while).
    ///
    /// # Errors
    /// [`LockError::OwnerDied`](crate::LockError::OwnerDied) with the guard inside: the wait is over, and the holder before
    /// died. [`LockError::Call`](crate::LockError::Call): the lock is not held any more.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> LockResult<G> {
        self.wait_once(guard, Wait::Forever).map(|(_, guard)| guard)
    }

    /// As [`wait`](Self::wait), for at most `timeout` (`Duration::MAX` waits for ever); tells whether somebody notified.
    /// Taking the lock again is not part of the timeout.
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

    /// Waits while `condition` holds.
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

    /// Waits while `condition` holds, for at most `timeout`; tells whether it does not hold any more.
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
        // If this fails, the guard is dropped: it gives back what is left to give back.
        let granted = self.handle.call(Op::Condition(op), wait).and_then(|reply| Granted::of(&reply))?;
        guard.hold_by(granted.token);
        granted.hand_over(guard).map(|guard| (!granted.timed_out, guard))
    }

    /// Wakes `count` of those who wait longest, or all if there are less; tells how many.
    ///
    /// The caller need not hold the lock. It should, if what is waited for is changed under the lock: else who is about to
    /// wait misses the notification.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "notify_one")]
    pub fn notify(&self, count: usize) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Condition(ConditionOp::Notify(count_of(count))), read::count)
    }

    /// Wakes all who wait; tells how many.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn notify_all(&self) -> Result<usize, ObjectError> {
        self.notify(usize::MAX)
    }

    /// How many wait at this moment.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn n_waiting(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::Condition(ConditionOp::Waiting), read::count)
    }
}
