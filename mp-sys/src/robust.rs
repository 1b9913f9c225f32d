//! The lock that survives its owner: a pthread mutex, process-shared, robust, of type NORMAL.
//!
//! The kernel keeps a list of the robust mutexes that a thread holds. When the thread dies, it marks each of them and
//! wakes one waiter; the next locker is told `EOWNERDEAD` and has the lock. A waiter that dies right after it was woken
//! passes the baton the same way. An own futex word and `sem_t` lose that wake-up (measured, 5 of 5).
//!
//! Not of type RECURSIVE or ERRORCHECK: two PID namespaces may hold equal thread ids, and then a recursive mutex lets
//! two owners in. So this module keeps a list of its own, per thread, of what the thread holds: it answers "do I hold
//! this one already?" exactly (the slow path asks), counts against [`HELD_MAX`], tells `fork` that a guard is alive, and
//! makes dropping a guard that a forked child inherited do nothing.
//!
//! # Invariants
//! 1. A mutex lies in a mapping that never moves and stays mapped while any thread of this process holds it.
//! 2. An address is in a thread's list exactly while that thread holds the mutex there.
//! 3. Whoever gets `EOWNERDEAD` repairs what the mutex protects, and only then marks it consistent: dying in between
//!    gives the next locker `EOWNERDEAD` again.
//! 4. A thread that holds a mutex does not end: the kernel would pass the lock on while a forgotten guard may still lend
//!    what it protects. The process aborts instead.
//!
//! Source: pthread_mutexattr_setrobust(3), Documentation/locking/robust-futexes.rst.

mod held;
#[expect(dead_code, reason = "the lock itself follows")]
mod list;
#[cfg(all(loom, test, feature = "testing"))]
mod models;
#[expect(dead_code, reason = "the lock itself follows")]
mod protocol;
mod spin;

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

use self::held::HELD;
pub use self::held::held_count;
pub(crate) use self::held::{Filling, Generation, forget_held};
use self::spin::Tries;
use crate::deadline::Deadline;

/// The most locks of this workspace that one thread may hold at the same time. The kernel recovers the newest 2,048
/// robust locks of a dead thread (measured); the rest of that room belongs to other libraries.
pub const HELD_MAX: usize = 1024;

/// Why a lock was not taken. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Somebody holds it, and the caller did not want to wait.
    #[error("the lock is held")]
    WouldBlock,
    /// Somebody held it until the deadline.
    #[error("the lock was held until the timeout")]
    TimedOut,
    /// The calling thread holds it: waiting would never end.
    #[error("the calling thread holds the lock already")]
    Deadlock,
    /// The thread holds [`HELD_MAX`] locks.
    #[error("the calling thread holds {HELD_MAX} locks, the most that are recovered if it dies")]
    TooManyHeld,
    /// The thread could not be watched (all thread-specific keys of the C library are taken, or no memory).
    #[error("the thread cannot be watched for locks that it would leave held (error {0})")]
    Unwatched(i32),
    /// The lock's words make no sense to the C library: somebody wrote into them.
    #[error("the lock's memory was overwritten (error {0})")]
    Corrupt(i32),
}

/// How long a caller is willing to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// Until then.
    Until(Deadline),
}

/// What the newest owner left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It released the lock.
    Clean,
    /// It died. The lock is held, but not yet consistent.
    OwnerDied,
}

/// A robust process-shared mutex in shared memory.
#[repr(transparent)]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a process-shared pthread mutex is made to be used from any thread through a shared pointer.
unsafe impl Sync for RobustMutex {}
// SAFETY: the object is never moved while in use (invariant 1); a reference may be used from any thread.
unsafe impl Send for RobustMutex {}

// libc lacks it: the timed lock on a clock of choice, glibc 2.30.
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

/// The bits of a robust futex word that name its owner, include/uapi/linux/futex.h.
const TID_MASK: u32 = 0x3fff_ffff;
/// Where the C library keeps the futex word inside `pthread_mutex_t`, in bytes.
#[cfg(target_env = "gnu")]
const WORD_OFFSET: usize = 0;
/// musl keeps the type first.
#[cfg(target_env = "musl")]
const WORD_OFFSET: usize = 4;

impl RobustMutex {
    /// Makes a free mutex at `place`.
    ///
    /// # Safety
    /// - `place` is valid for writes, aligned, in shared memory.
    /// - Nobody uses a mutex at `place`.
    pub(crate) unsafe fn init(place: *mut Self) {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` points to room for one attribute object.
        check(unsafe { libc::pthread_mutexattr_init(attributes) });
        // SAFETY: initialised above.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: initialised above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) });
        // SAFETY: initialised above.
        check(unsafe { libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_NORMAL) });
        // SAFETY: the caller gives a writable, aligned, unused place; the attributes are initialised.
        check(unsafe { libc::pthread_mutex_init(place.cast(), attributes) });
        // SAFETY: initialised above and not used afterwards.
        check(unsafe { libc::pthread_mutexattr_destroy(attributes) });
    }

    /// Takes the mutex. After [`Acquired::OwnerDied`] the caller must repair and call `make_consistent`.
    #[inline(always)]
    pub(crate) fn acquire(&self, patience: Patience) -> Result<Acquired, AcquireError> {
        HELD.with(|held| {
            // The place in the list comes first: a mutex that cannot be listed is not taken.
            let place = held.next_place()?;
            // SAFETY: `self` is an initialised mutex; taking it through a shared pointer is its purpose.
            let code = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
            let acquired = if code == 0 { Acquired::Clean } else { self.acquire_slowly(code, patience)? };
            // Nothing of this thread used the list in between.
            held.push(place, self.address());
            Ok(acquired)
        })
    }

    #[cold]
    fn acquire_slowly(&self, code: i32, patience: Patience) -> Result<Acquired, AcquireError> {
        if code != libc::EBUSY {
            return outcome(code);
        }
        let Patience::Until(deadline) = patience else {
            return Err(AcquireError::WouldBlock);
        };
        if self.held_here() {
            return Err(AcquireError::Deadlock);
        }
        let attempt = || {
            // A look first: a failed exchange takes the line from the holder.
            if self.owner() != 0 {
                return None;
            }
            // SAFETY: as in `acquire`.
            let code = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
            (code != libc::EBUSY).then_some(code)
        };
        match TRIES.with(|tries| tries.until_some(attempt)) {
            Some(code) => outcome(code),
            None => self.block(deadline),
        }
    }

    fn block(&self, deadline: Deadline) -> Result<Acquired, AcquireError> {
        let Some(until) = deadline.absolute_timespec() else {
            // SAFETY: as in `acquire`.
            return outcome(unsafe { libc::pthread_mutex_lock(self.0.get()) });
        };
        let until = libc::timespec { tv_sec: until.tv_sec, tv_nsec: until.tv_nsec };
        // SAFETY: as in `acquire`; `until` lives across the call.
        outcome(unsafe { pthread_mutex_clocklock(self.0.get(), libc::CLOCK_MONOTONIC, &raw const until) })
    }

    /// Marks the mutex consistent after the repair.
    ///
    /// # Safety
    /// - The calling thread holds it through [`Acquired::OwnerDied`].
    #[cold]
    pub(crate) unsafe fn make_consistent(&self) {
        // SAFETY: the caller holds the mutex in the inconsistent state, which is all the call asks for.
        check(unsafe { libc::pthread_mutex_consistent(self.0.get()) });
    }

    /// Runs `last` and releases the mutex, if the calling thread took it in this process: a guard that a forked child
    /// inherited holds nothing, whatever the child has taken itself since.
    #[inline(always)]
    pub(crate) fn release(&self, taken: Generation, last: impl FnOnce()) {
        HELD.with(|held| {
            if held.remove(self.address(), taken) {
                last();
                // SAFETY: the list said that this thread holds the mutex (invariant 2).
                unsafe { libc::pthread_mutex_unlock(self.0.get()) };
            }
        });
    }

    /// Whether the calling thread holds it.
    pub(crate) fn held_here(&self) -> bool {
        HELD.with(|held| held.contains(self.address()))
    }

    /// The kernel's id of the thread that holds the mutex, 0 if nobody does.
    pub(crate) fn owner(&self) -> u32 {
        let word: *const AtomicU32 = self.0.get().wrapping_byte_add(WORD_OFFSET).cast();
        // SAFETY: both C libraries keep the futex word there, aligned, and change it by atomic operations only.
        let word = unsafe { &*word };
        word.load(Ordering::Relaxed) & TID_MASK
    }

    #[inline]
    fn address(&self) -> usize {
        self.0.get().addr()
    }
}

thread_local! {
    static TRIES: Tries = const { Tries::new() };
}

impl std::fmt::Debug for RobustMutex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RobustMutex").field("owner", &self.owner()).finish()
    }
}

fn outcome(code: i32) -> Result<Acquired, AcquireError> {
    match code {
        0 => Ok(Acquired::Clean),
        libc::EOWNERDEAD => Ok(Acquired::OwnerDied),
        libc::EBUSY => Err(AcquireError::WouldBlock),
        libc::ETIMEDOUT => Err(AcquireError::TimedOut),
        other => Err(AcquireError::Corrupt(other)),
    }
}

/// The set-up calls fail for invalid arguments only, and theirs are constants.
fn check(code: i32) {
    assert_eq!(code, 0, "a pthread call with constant arguments succeeds");
}
