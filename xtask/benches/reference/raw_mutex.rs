//! A counter behind a robust process-shared pthread mutex, as a C program implements it: lock, add, unlock.
//!
//! The calls go to the C library without any check around them. A C program of this form hangs or miscounts if a
//! process dies in between, and saves the cost of preventing that.
#![expect(unsafe_code, reason = "pthread calls, and a counter in shared memory")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use anyhow::{Result, ensure};

use crate::reference::shared_page::{Shared, SharedPage};

/// The mutex and the data that it protects, side by side in one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Counter {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    count: UnsafeCell<u64>,
}

// SAFETY: `count` is accessed only under the mutex, which is made for use by several processes.
unsafe impl Sync for Counter {}
// SAFETY: `RawCounter::new` initialises the mutex before any process uses it; a count of 0 is valid.
unsafe impl Shared for Counter {}

/// A [`Counter`] in shared memory.
#[derive(Debug)]
pub(crate) struct RawCounter(SharedPage<Counter>);

impl RawCounter {
    /// Makes a counter of 0 that forked processes share.
    pub(crate) fn new() -> Result<Self> {
        let page = SharedPage::<Counter>::new()?;
        init(&page.mutex)?;
        Ok(Self(page))
    }

    /// Adds one under the lock.
    #[inline(always)]
    pub(crate) fn increment(&self) {
        // SAFETY: `new` initialised the mutex, and it never moves.
        unsafe { libc::pthread_mutex_lock(self.0.mutex.get()) };
        // SAFETY: the lock is held, so nobody else uses the count.
        let count = unsafe { &mut *self.0.count.get() };
        *count = count.wrapping_add(1);
        // SAFETY: this thread took it above.
        unsafe { libc::pthread_mutex_unlock(self.0.mutex.get()) };
    }

    /// The count, to be checked after all other processes have ended.
    pub(crate) fn count(&self) -> u64 {
        // SAFETY: as in `increment`; without other processes nothing writes it.
        unsafe { self.0.count.get().read() }
    }
}

/// Makes a free robust process-shared mutex at a place that no process uses yet.
pub(crate) fn init(place: &UnsafeCell<libc::pthread_mutex_t>) -> Result<()> {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: room for one attribute object.
    let mut failed = unsafe { libc::pthread_mutexattr_init(attributes) };
    // SAFETY: initialised above.
    failed |= unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
    // SAFETY: initialised above.
    failed |= unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
    // SAFETY: the place is mapped, aligned, and not yet used; the attributes are initialised.
    failed |= unsafe { libc::pthread_mutex_init(place.get(), attributes) };
    ensure!(failed == 0, "the C library makes no robust mutex");
    Ok(())
}
