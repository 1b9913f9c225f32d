//! Synchronization between processes.
//!
//! | object | what it is |
//! |---|---|
//! | [`Lock`] | one holder at a time |
//! | [`RLock`] | the same, and the holder can take it again |
//! | [`RwLock`] | a value for many readers or one writer |
//! | [`Semaphore`] | a number of permits |
//! | [`BoundedSemaphore`] | the same, but never more than at the beginning |
//! | [`Event`] | a flag to wait for |
//! | [`Barrier`] | parties that wait for each other |
//! | [`Condition`] | waiting for a change of what a lock protects |

mod barrier;
mod bounded;
mod condition;
mod dead;
mod event;
#[cfg(feature = "tokio")]
mod guarded;
mod lock;
mod rlock;
mod rwlock;
mod semaphore;
mod wait_guard;

pub use mp_sys::robust::HELD_MAX;

pub use self::barrier::{Barrier, PARTIES_MAX, Party};
pub use self::bounded::BoundedSemaphore;
pub use self::condition::{Condition, WAITERS_MAX};
pub use self::event::Event;
#[cfg(feature = "tokio")]
pub use self::guarded::Guarded;
pub use self::lock::{Lock, LockGuard};
pub use self::rlock::{DEPTH_MAX, RLock, RLockGuard};
pub use self::rwlock::{READERS_MAX, READS_MAX, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use self::semaphore::{PERMITS_MAX, PERMITS_SPARE, Permit, Semaphore};
pub use self::wait_guard::WaitGuard;
