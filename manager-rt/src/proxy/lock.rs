//! [`Lock`]: mutual exclusion between processes on any host.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::backend::{CallError, OnLost, Validity};
use crate::count::nanos_of;
use crate::error::{LockError, LockResult, ObjectError};
use crate::proto::{LockOp, ObjectId, Op, Reply, Wait};
use crate::proxy::handle::within;
use crate::proxy::{Handle, proxy, read};

/// A lock that passes on when its holder dies.
///
/// | property | |
/// |---|---|
/// | belongs to | a thread of a process |
/// | reentrant | no: a second `lock` by the same thread returns [`LockError::Deadlock`], a `try_lock` returns [`LockError::WouldBlock`] |
/// | fair | yes: the longest waiter is next, and no other caller overtakes it |
/// | recovers | when the connection of the holder ends; the next holder gets an error with the guard inside |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy, and holds none of its parent's locks: an inherited guard does nothing in
/// the child.
///
/// # Crash
/// When a process dies while it holds the lock, the next holder gets [`LockError::OwnerDied`] with the guard inside. A
/// process that dies while it waits is removed from the waiters.
///
/// # Source
/// Python's `multiprocessing.Manager().Lock`, which a dead holder keeps for ever. Tokens: Kleppmann, "How to do
/// distributed locking", 2016.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let lock = Manager::in_process()?.lock()?;
/// {
///     let held = lock.lock().unwrap();
///     assert_eq!(held.token(), 1); // each holder gets a greater one
/// } // released here
/// assert!(lock.try_lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Mutex")]
pub struct Lock {
    handle: Handle,
}

proxy!(Lock);

impl Lock {
    /// Takes the lock. Waits until it is free.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard inside: the lock is held. [`LockError::Deadlock`], [`LockError::Call`]:
    /// the lock is not held.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<LockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::Forever)
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if the lock is held; otherwise as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<LockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::No)
    }

    /// Takes the lock. Waits at most `timeout` until it is free (`Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if the lock was held until then; otherwise as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<LockGuard<'_>> {
        self.lock_with(Duration::ZERO, within(timeout))
    }

    /// Takes the lock for at most `lease`. Waits until it is free. After the lease, the lock passes on even if its
    /// holder lives, so a process that was stopped does not block the others.
    ///
    /// If you change external data under a leased lock, send the [`token`](LockGuard::token) with each change, and let
    /// the receiver refuse tokens lower than the highest it has seen.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_leased(&self, lease: Duration) -> LockResult<LockGuard<'_>> {
        // A lease of zero would mean no lease.
        self.lock_with(lease.max(Duration::from_nanos(1)), Wait::Forever)
    }

    fn lock_with(&self, lease: Duration, wait: Wait) -> LockResult<LockGuard<'_>> {
        let granted = acquire(&self.handle, lease, wait)?;
        granted.hand_over(LockGuard::new(self, granted.token))
    }

    /// Returns `true` if the lock is held at this moment.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Lock(LockOp::IsLocked), read::bool)
    }
}

/// What a manager returns when it grants a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub(super) token: u64,
    pub(super) owner_died: bool,
    pub(super) timed_out: bool,
}

impl Granted {
    pub(super) fn of<P>(reply: &Reply<P>) -> Result<Self, CallError> {
        match *reply {
            Reply::Granted { token, owner_died, timed_out }
            | Reply::GrantedLease { token, owner_died, timed_out, .. } => {
                Ok(Self { token, owner_died, timed_out })
            }
            _ => Err(CallError::Protocol),
        }
    }

    /// Returns the guard, inside an error if the last holder died.
    pub(super) fn hand_over<G>(self, guard: G) -> LockResult<G> {
        if self.owner_died { Err(LockError::OwnerDied(guard)) } else { Ok(guard) }
    }
}

pub(super) fn acquire(handle: &Handle, lease: Duration, wait: Wait) -> Result<Granted, CallError> {
    let lease = nanos_of(lease);
    Granted::of(&handle.call(Op::Lock(LockOp::Acquire { lease }), wait)?)
}

/// Returns `true` unless this process knows that a lock is lost. A child holds none of its parent's locks.
pub(super) fn is_held(handle: &Handle, token: u64, taken_in: Epoch) -> bool {
    taken_in.is_current() && handle.backend().validity(handle.id(), token) == Validity::Held
}

/// Runs `lost` once this process finds out that a lock is lost.
pub(super) fn watch(handle: &Handle, token: u64, taken_in: Epoch, lost: OnLost) {
    if taken_in.is_current() {
        handle.backend().watch(handle.id(), token, lost);
    } else {
        lost();
    }
}

/// Releases a lock. If the call fails, the connection has ended and the lock with it, or the lease had expired.
pub(super) fn release(handle: &Handle, token: u64, taken_in: Epoch) {
    if !taken_in.is_current() {
        return;
    }
    if let Err(error) = handle.call(Op::Lock(LockOp::Release { token }), Wait::No) {
        tracing::warn!(lock = %handle.id(), token, %error, "a lock was not released");
    }
}

/// A held [`Lock`]. Dropping it releases the lock.
///
/// It belongs to the thread that took the lock, and cannot be sent to another thread.
///
/// # When the lock is lost
/// The lock belongs to the connection over which it was taken. If that ends while the process lives, because the server
/// was killed or gave the client up, the lock passes on. Later calls may use a new connection, but they do not get the
/// lock back: [`is_valid`](Self::is_valid) returns `false`, [`on_lost`](Self::on_lost) runs, and dropping the guard does
/// nothing. The same holds when a [lease](Lock::lock_leased) is over.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use mp::manager::Manager;
///
/// let manager = Manager::start()?;
/// let lock = manager.lock()?;
/// let held = lock.lock().unwrap();
/// let is_lost = Arc::new(AtomicBool::new(false));
/// let lost = Arc::clone(&is_lost);
/// held.on_lost(move || lost.store(true, Ordering::Relaxed));
/// assert!(held.is_valid());
/// manager.shutdown()?; // The server ends, and the lock with it.
/// assert!(!held.is_valid());
/// assert!(is_lost.load(Ordering::Relaxed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "release")]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    token: u64,
    taken_in: Epoch,
    not_send: PhantomData<*const ()>,
}

impl<'a> LockGuard<'a> {
    pub(super) fn new(lock: &'a Lock, token: u64) -> Self {
        Self { lock, token, taken_in: Epoch::current(), not_send: PhantomData }
    }

    /// Returns a fencing token: a number that is greater than that of every earlier holder of this lock, however that
    /// one ended. Send it with each change of what the lock protects, and let the receiver refuse a token that is lower
    /// than the highest it has seen.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Returns `false` if the lock is lost, as far as this process knows: its connection has ended, or its lease is
    /// over.
    ///
    /// This does not call the manager. It asks the operating system whether the other side has closed the connection,
    /// so it notices at once that the server was killed. A lease never ends later here than at the manager: it is counted
    /// from the moment at which the call was sent and the time for which the manager says that it waited, on a clock that
    /// goes on while the system is suspended. So time for which this process or the server was stopped counts too. A
    /// server of version 3 or 4 of the protocol does not say how long a call waited: the lease is counted from the call.
    ///
    /// `true` may be out of date when you use it: the process can be stopped between the question and the change. Only
    /// a receiver that compares [tokens](Self::token) rules that out.
    ///
    /// # Fork safety
    /// In a forked child, which holds nothing that its parent holds, this returns `false`.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_held(&self.lock.handle, self.token, self.taken_in)
    }

    /// Runs `lost` once, if this process finds out that it lost the lock while the guard exists, or at once if it has
    /// lost it already.
    ///
    /// No thread watches the connection. The thread that finds out runs `lost`:
    ///
    /// | who finds out | when |
    /// |---|---|
    /// | a thread whose call waits for an answer of this manager | as soon as the connection ends |
    /// | the next call of any thread of this process to this manager | at the call, even if it succeeds over a new connection |
    /// | [`is_valid`](Self::is_valid) of any guard of this manager | at the call |
    /// | for a lease: `is_valid`, or dropping the guard | at the call; no other call looks at leases |
    ///
    /// So `lost` should only set a flag, or wake somebody. It may call the manager, but must not panic.
    ///
    /// # Fork safety
    /// In a forked child, `lost` runs at once.
    pub fn on_lost(&self, lost: impl FnOnce() + Send + 'static) {
        watch(&self.lock.handle, self.token, self.taken_in, Box::new(lost));
    }

    pub(super) fn object_id(&self) -> ObjectId {
        self.lock.handle.id()
    }

    pub(super) fn set_token(&mut self, token: u64) {
        self.token = token;
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        release(&self.lock.handle, self.token, self.taken_in);
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockGuard({:?}, token {})", self.lock.handle, self.token())
    }
}
