//! The C library's robust mutex: process-shared, of type NORMAL, with sleeps in slices.
//!
//! It is used where the layout of the C library's locks is not the expected one. Its unlock forgets that others wait.
//! So if a waiter is woken, overtaken and killed, the next waiter's wake-up is lost, and that waiter looks again after
//! a slice.
//!
//! The type is not RECURSIVE or ERRORCHECK: two PID namespaces may hold equal thread ids, and a recursive mutex then
//! lets two owners in.
//!
//! Source: pthread_mutexattr_setrobust(3).

use std::mem::MaybeUninit;

use super::{AcquireError, Acquired, Patience};
use crate::deadline::Deadline;
use crate::futex::SLICE;

// The timed lock on a clock of choice, glibc 2.30. The `libc` crate lacks it.
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

/// Makes a free mutex at `place`.
///
/// # Safety
/// - `place` is valid for writes, aligned, in shared memory, and nobody uses a mutex there.
#[cold]
pub(super) unsafe fn init(place: *mut libc::pthread_mutex_t) {
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
    // SAFETY: the caller passes a writable, aligned, unused place; the attributes are initialised.
    check(unsafe { libc::pthread_mutex_init(place, attributes) });
    // SAFETY: initialised above and not used afterwards.
    check(unsafe { libc::pthread_mutexattr_destroy(attributes) });
}

/// Takes the mutex.
///
/// # Safety
/// - A mutex was made at `mutex`, and stays mapped while it is held.
pub(super) unsafe fn acquire(
    mutex: *mut libc::pthread_mutex_t,
    patience: Patience,
) -> Result<Acquired, AcquireError> {
    let mut code = {
        // SAFETY: the caller's mutex; taking it through a shared pointer is its purpose.
        unsafe { libc::pthread_mutex_trylock(mutex) }
    };
    loop {
        match (code, patience) {
            (0, _) => return Ok(Acquired::Clean),
            (libc::EOWNERDEAD, _) => {
                // Right away: if this process dies before it has repaired what the mutex protects, the kernel marks it
                // again.
                // SAFETY: this thread just got the mutex from an owner that died, which is all that the call asks for.
                check(unsafe { libc::pthread_mutex_consistent(mutex) });
                return Ok(Acquired::OwnerDied);
            }
            (libc::EBUSY, Patience::None | Patience::TryOnce) => return Err(AcquireError::WouldBlock),
            (libc::EBUSY | libc::ETIMEDOUT, Patience::Until(deadline)) => {
                if code == libc::ETIMEDOUT && deadline.has_passed() {
                    return Err(AcquireError::TimedOut);
                }
                // SAFETY: as in the caller's contract.
                code = unsafe { wait(mutex, deadline.min(Deadline::after(SLICE))) };
            }
            (other, _) => return Err(AcquireError::Corrupt(other)),
        }
    }
}

/// # Safety
/// As [`acquire`].
unsafe fn wait(mutex: *mut libc::pthread_mutex_t, until: Deadline) -> i32 {
    let Some(until) = until.absolute_timespec() else { return libc::ETIMEDOUT };
    let until = libc::timespec { tv_sec: until.tv_sec, tv_nsec: until.tv_nsec };
    // SAFETY: the caller's mutex; `until` lives across the call.
    unsafe { pthread_mutex_clocklock(mutex, libc::CLOCK_MONOTONIC, &raw const until) }
}

/// Releases the mutex.
///
/// # Safety
/// - The calling thread holds it.
pub(super) unsafe fn release(mutex: *mut libc::pthread_mutex_t) {
    // SAFETY: the caller's thread holds it.
    unsafe { libc::pthread_mutex_unlock(mutex) };
}

/// Asserts that a set-up call succeeded. These calls fail only for invalid arguments, and theirs are constants.
fn check(code: i32) {
    assert_eq!(code, 0, "a pthread call with constant arguments succeeds");
}
