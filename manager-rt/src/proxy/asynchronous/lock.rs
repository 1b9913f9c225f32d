//! Locks that a task of a tokio runtime holds, in whichever thread it runs.
//!
//! The server knows the holder of a lock by a number. For a blocking call, that is the number of the thread. A task
//! moves between threads, and a thread runs many tasks, so each lock that a task takes has a number of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mp_sys::fork::Epoch;

use crate::backend::Pending;
use crate::count::nanos_of;
use crate::error::{LockResult, ObjectError};
use crate::proto::{LockOp, ObjectId, Op, Wait};
use crate::proxy::lock::{Granted, is_held, watch};
use crate::proxy::{Handle, Lock, Proxy, RLock, read};
use crate::report::TASKS_FROM;

/// The first number of an owner. Those of threads begin at 1, and never come near it.
const FIRST_OWNER: u64 = TASKS_FROM;

/// What all guards of one lock have in common that one task took.
#[derive(Debug)]
struct Owner {
    number: u64,
    /// It changes when one of the guards waits for a condition.
    token: AtomicU64,
    /// Whether a wait for a condition was dropped, which released the lock.
    is_lost: AtomicBool,
}

impl Owner {
    fn next_number() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(FIRST_OWNER);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

/// A [`Lock`] or [`RLock`] that a task holds. Dropping it releases the lock, without waiting for the server.
///
/// It belongs to whoever has it: it can be held across an `.await`, and moved to another task or thread. The lock does not
/// recognise its holder by the task. If a task calls [`Lock::lock_async`] while it has the guard, it waits for itself. An
/// `RLock` is taken again with [`again_async`](Self::again_async).
///
/// What [`LockGuard`](crate::LockGuard#when-the-lock-is-lost) says about lost locks is true here too. The connection of a
/// process with tasks is watched, so [`on_lost`](Self::on_lost) runs as soon as it ends.
///
/// # Fork safety
/// It does nothing in a forked child.
///
/// # Crash
/// As [`Lock`].
///
/// # Source
/// None: Python's managers have no async calls.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::{LockError, Manager};
///
/// let manager = Manager::start()?;
/// let (lock, count) = (manager.lock()?, manager.value(&0)?);
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// runtime.block_on(async {
///     let held = lock.lock_async().await.map_err(LockError::discard)?;
///     count.set_async(&held.token()).await?; // still held
///     drop(held);
///     assert!(!lock.is_locked_async().await?);
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// manager.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct TaskGuard<'a> {
    handle: &'a Handle,
    owner: Arc<Owner>,
    taken_in: Epoch,
}

impl<'a> TaskGuard<'a> {
    fn new(handle: &'a Handle, number: u64, token: u64) -> Self {
        let owner = Owner { number, token: AtomicU64::new(token), is_lost: AtomicBool::new(false) };
        Self { handle, owner: Arc::new(owner), taken_in: Epoch::current() }
    }

    /// Takes an [`RLock`] once more, at once. The lock is free again when all guards are dropped, and all of them have the
    /// same token.
    ///
    /// # Errors
    /// [`LockError::Deadlock`](crate::LockError::Deadlock) for a [`Lock`]; [`LockError::Call`](crate::LockError::Call).
    pub fn again_async(&self) -> impl Future<Output = LockResult<Self>> + Send {
        let op = Op::Lock(LockOp::Acquire { lease: 0 });
        let pending = self.handle.call_as(self.owner.number, op, Wait::Forever);
        async move {
            let granted = Granted::of(&pending.await?)?;
            let (handle, taken_in) = (self.handle, Epoch::current());
            if granted.token == self.token() {
                let owner = Arc::clone(&self.owner);
                return granted.hand_over(Self { handle, owner, taken_in });
            }
            // The lock was lost, and free.
            granted.hand_over(Self::new(handle, self.owner.number, granted.token))
        }
    }

    /// Returns a fencing token: see [`LockGuard::token`](crate::LockGuard::token).
    #[must_use]
    pub fn token(&self) -> u64 {
        self.owner.token.load(Ordering::Relaxed)
    }

    /// Returns `false` if the lock is lost, as far as this process knows: see
    /// [`LockGuard::is_valid`](crate::LockGuard::is_valid).
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.owner.is_lost.load(Ordering::Relaxed) && is_held(self.handle, self.token(), self.taken_in)
    }

    /// Runs `lost` once, if this process finds out that it lost the lock: see
    /// [`LockGuard::on_lost`](crate::LockGuard::on_lost).
    pub fn on_lost(&self, lost: impl FnOnce() + Send + 'static) {
        watch(self.handle, self.token(), self.taken_in, Box::new(lost));
    }

    pub(super) fn object_id(&self) -> ObjectId {
        self.handle.id()
    }

    /// Begins an operation on another object in the name of this holder.
    pub(super) fn call_with(&self, handle: &Handle, op: Op<crate::proto::Raw<'_>>, wait: Wait) -> Pending {
        handle.call_as(self.owner.number, op, wait)
    }

    pub(super) fn set_token(&self, token: u64) {
        self.owner.token.store(token, Ordering::Relaxed);
    }

    /// Records that the lock was released although there are guards.
    pub(super) fn lose(&self) {
        self.owner.is_lost.store(true, Ordering::Relaxed);
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        if self.taken_in.is_current() {
            self.handle.post(Op::Lock(LockOp::Release { token: self.token() }));
        }
    }
}

impl fmt::Debug for TaskGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskGuard({:?}, token {})", self.handle, self.token())
    }
}

/// The methods that both locks have.
macro_rules! locks {
    ($name:ident) => {
        impl $name {
            /// As [`lock`](Self::lock), in a task of a tokio runtime. If the future is dropped before it is ready, it does not
            /// take the lock, and the next waiter gets it.
            ///
            /// # Errors
            /// [`LockError::OwnerDied`](crate::LockError::OwnerDied) with the guard inside: the lock is held.
            /// [`LockError::Call`](crate::LockError::Call): the lock is not held.
            pub fn lock_async(&self) -> impl Future<Output = LockResult<TaskGuard<'_>>> + Send {
                acquire(self.handle(), Duration::ZERO, Wait::Forever)
            }

            /// As [`try_lock`](Self::try_lock), in a task of a tokio runtime.
            ///
            /// # Errors
            /// [`LockError::WouldBlock`](crate::LockError::WouldBlock); otherwise as
            /// [`lock_async`](Self::lock_async).
            pub fn try_lock_async(&self) -> impl Future<Output = LockResult<TaskGuard<'_>>> + Send {
                acquire(self.handle(), Duration::ZERO, Wait::No)
            }

            /// As [`lock_leased`](Self::lock_leased), in a task of a tokio runtime.
            ///
            /// # Errors
            /// As for [`lock_async`](Self::lock_async).
            pub fn lock_leased_async(
                &self,
                lease: Duration,
            ) -> impl Future<Output = LockResult<TaskGuard<'_>>> + Send {
                // A lease of zero would mean no lease.
                acquire(self.handle(), lease.max(Duration::from_nanos(1)), Wait::Forever)
            }

            /// As [`is_locked`](Self::is_locked), in a task of a tokio runtime.
            ///
            /// # Errors
            /// [`ObjectError`].
            pub fn is_locked_async(&self) -> impl Future<Output = Result<bool, ObjectError>> + Send {
                self.handle().ask_async(Op::Lock(LockOp::IsLocked), read::bool)
            }
        }
    };
}

locks!(Lock);
locks!(RLock);

fn acquire(
    handle: &Handle,
    lease: Duration,
    wait: Wait,
) -> impl Future<Output = LockResult<TaskGuard<'_>>> + Send {
    let number = Owner::next_number();
    let pending = handle.call_as(number, Op::Lock(LockOp::Acquire { lease: nanos_of(lease) }), wait);
    async move {
        let granted = Granted::of(&pending.await?)?;
        granted.hand_over(TaskGuard::new(handle, number, granted.token))
    }
}
