//! [`RLock`]: a lock that its holder can take again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::error::{LockResult, ObjectError};
use crate::proto::{LockOp, ObjectId, Op, Wait};
use crate::proxy::handle::within;
use crate::proxy::lock::{acquire, is_held, release, watch};
use crate::proxy::{Handle, proxy, read};

/// A lock that its holder can take again, and that passes on when its holder dies.
///
/// Like [`Lock`](crate::Lock), but the thread that holds the lock can take it again at once. The lock is free again
/// when all guards are dropped.
///
/// # Fork safety
/// As [`Lock`](crate::Lock).
///
/// # Crash
/// As [`Lock`](crate::Lock).
///
/// # Source
/// Python's `multiprocessing.Manager().RLock`, which belongs to a connection. There, a thread that gets the number of a
/// dead thread owns that thread's locks.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Manager;
///
/// let lock = Manager::in_process()?.rlock()?;
/// let outer = lock.lock().unwrap();
/// let inner = lock.lock().unwrap();
/// assert_eq!(outer.token(), inner.token());
/// drop(outer);
/// assert!(lock.is_locked()?);
/// drop(inner);
/// assert!(!lock.is_locked()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RLock {
    handle: Handle,
}

proxy!(RLock);

impl RLock {
    /// Takes the lock. Waits until it is free, unless the calling thread holds it already.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`](crate::LockError::OwnerDied) with the guard inside: the lock is held.
    /// [`LockError::Call`](crate::LockError::Call): the lock is not held.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::Forever)
    }

    /// Takes the lock if it is free, or if the calling thread holds it already.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`](crate::LockError::WouldBlock) if another holder has it; otherwise as
    /// [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::No)
    }

    /// Takes the lock. Waits at most `timeout` (`Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`](crate::LockError::TimedOut) if another holder had it until then; otherwise as
    /// [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, within(timeout))
    }

    /// Like [`Lock::lock_leased`](crate::Lock::lock_leased). If the thread holds the lock already, the first lease
    /// applies.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    pub fn lock_leased(&self, lease: Duration) -> LockResult<RLockGuard<'_>> {
        self.lock_with(lease.max(Duration::from_nanos(1)), Wait::Forever)
    }

    fn lock_with(&self, lease: Duration, wait: Wait) -> LockResult<RLockGuard<'_>> {
        let granted = acquire(&self.handle, lease, wait)?;
        granted.hand_over(RLockGuard::new(self, granted.token))
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

/// A lock that this thread holds, identified by the manager's epoch and the object's id.
type Held = (u128, ObjectId, Weak<Cell<u64>>);

thread_local! {
    /// The locks that this thread holds. All guards of one lock share the token, which changes when one of them waits
    /// for a condition.
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Returns the cell with this token that the guards of a lock share, and makes it if there is none.
fn shared_token(handle: &Handle, token: u64) -> Rc<Cell<u64>> {
    let (epoch, id) = (handle.backend().epoch(), handle.id());
    HELD.with_borrow_mut(|held| {
        held.retain(|(.., token)| token.strong_count() > 0);
        let same = held.iter().filter(|(of, object, _)| (*of, *object) == (epoch, id));
        let found = same.filter_map(|(.., shared)| shared.upgrade()).find(|shared| shared.get() == token);
        found.unwrap_or_else(|| {
            let shared = Rc::new(Cell::new(token));
            held.push((epoch, id, Rc::downgrade(&shared)));
            shared
        })
    })
}

/// A held [`RLock`]. Dropping the last guard of a thread releases the lock.
///
/// It belongs to the thread that took the lock, and cannot be sent to another thread.
#[doc(alias = "release")]
#[must_use = "the lock is released when the guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    token: Rc<Cell<u64>>,
    taken_in: Epoch,
}

impl<'a> RLockGuard<'a> {
    fn new(lock: &'a RLock, token: u64) -> Self {
        Self { lock, token: shared_token(&lock.handle, token), taken_in: Epoch::current() }
    }

    /// Returns a fencing token, as [`LockGuard::token`](crate::LockGuard::token). All guards of a thread have the same.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token.get()
    }

    /// Returns `false` if the lock is lost, as far as this process knows: see
    /// [`LockGuard::is_valid`](crate::LockGuard::is_valid).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_held(&self.lock.handle, self.token.get(), self.taken_in)
    }

    /// Runs `lost` once, if this process finds out that it lost the lock: see
    /// [`LockGuard::on_lost`](crate::LockGuard::on_lost). This counts until the last guard of the thread is dropped.
    pub fn on_lost(&self, lost: impl FnOnce() + Send + 'static) {
        watch(&self.lock.handle, self.token.get(), self.taken_in, Box::new(lost));
    }

    pub(super) fn object_id(&self) -> ObjectId {
        self.lock.handle.id()
    }

    pub(super) fn set_token(&mut self, token: u64) {
        self.token.set(token);
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        release(&self.lock.handle, self.token.get(), self.taken_in);
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RLockGuard({:?}, token {})", self.lock.handle, self.token())
    }
}
