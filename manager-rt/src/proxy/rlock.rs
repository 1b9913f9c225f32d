//! [`RLock`]: a lock that its holder may take again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::error::{LockResult, ObjectError};
use crate::proto::frame::Wait;
use crate::proto::{LockOp, ObjectId, Op};
use crate::proxy::handle::within;
use crate::proxy::lock::{acquire, release};
use crate::proxy::{Handle, proxy, read};

/// A lock that its holder may take again, and that passes on when its holder dies.
///
/// As [`Lock`](crate::Lock), but a thread that holds it takes it once more at once; it is free again when all guards are
/// dropped.
///
/// # Fork safety
/// As [`Lock`](crate::Lock).
///
/// # Crash
/// As [`Lock`](crate::Lock).
///
/// # Source
/// Python's `multiprocessing.Manager().RLock`, which belongs to a connection, so that the next thread that gets the number
/// of one that died owns its locks.
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
    /// Takes the lock, waiting until it is free or the calling thread's.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`](crate::LockError::OwnerDied) with the guard inside: the lock is held.
    /// [`LockError::Call`](crate::LockError::Call): it is not.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::Forever)
    }

    /// Takes the lock if it is free or the calling thread's.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`](crate::LockError::WouldBlock) if somebody else holds it; else as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, Wait::No)
    }

    /// Takes the lock, waiting at most `timeout` (`Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`](crate::LockError::TimedOut) if somebody else held it until then; else as
    /// [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<RLockGuard<'_>> {
        self.lock_with(Duration::ZERO, within(timeout))
    }

    /// As [`Lock::lock_leased`](crate::Lock::lock_leased). If the thread holds the lock already, the lease of the first time
    /// counts.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn lock_leased(&self, lease: Duration) -> LockResult<RLockGuard<'_>> {
        self.lock_with(lease.max(Duration::from_nanos(1)), Wait::Forever)
    }

    fn lock_with(&self, lease: Duration, wait: Wait) -> LockResult<RLockGuard<'_>> {
        let granted = acquire(&self.handle, lease, wait)?;
        granted.hand_over(RLockGuard::new(self, granted.token))
    }

    /// Whether somebody holds the lock at this moment.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::Lock(LockOp::IsLocked), read::bool)
    }
}

/// A lock that this thread holds: by the manager's epoch and the object's id.
type Held = (u128, ObjectId, Weak<Cell<u64>>);

thread_local! {
    /// What this thread holds. Its guards of one lock share the token, which changes when one of them waits for a condition.
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// The place of the token that the guards of a lock share, with this token in it.
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

/// A held [`RLock`]. Dropping the last one of a thread releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
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

    /// A number that is greater than that of every earlier holder of this lock.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.token.get()
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
