//! A turn that processes pass on through a condition variable, as a careful C program implements it: a futex word
//! beside a robust mutex.
//!
//! `pthread_cond_t` cannot be the reference, because it hangs when a waiter is killed. This one is not complete either:
//! it loses a notification when the notified process dies, and saves the cost of preventing that.
#![expect(unsafe_code, reason = "pthread calls, and a turn in shared memory")]

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU32;

use anyhow::Result;

use crate::reference::raw_futex;
use crate::reference::raw_mutex::init;
use crate::reference::shared_page::{Shared, SharedPage};

/// The mutex, the data that it protects, and the word that changes with each notification.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Turn {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    turn: UnsafeCell<u32>,
    notified: AtomicU32,
}

// SAFETY: `turn` is accessed only under the mutex, which is made for use by several processes.
unsafe impl Sync for Turn {}
// SAFETY: `RawCondition::new` initialises the mutex before any process uses it; 0 is a valid turn and a valid word.
unsafe impl Shared for Turn {}

/// A [`Turn`] in shared memory.
#[derive(Debug)]
pub(crate) struct RawCondition(SharedPage<Turn>);

impl RawCondition {
    /// Makes a turn that belongs to side 0, and that forked processes share.
    pub(crate) fn new() -> Result<Self> {
        let page = SharedPage::<Turn>::new()?;
        init(&page.mutex)?;
        Ok(Self(page))
    }

    /// Passes the turn to `side`.
    pub(crate) fn give(&self, side: u32) {
        self.lock();
        // SAFETY: the lock is held, so nobody else uses the turn.
        unsafe { self.0.turn.get().write(side) };
        self.unlock();
        raw_futex::advance(&self.0.notified);
    }

    /// Waits until it is the turn of `side`.
    pub(crate) fn wait_for(&self, side: u32) {
        self.lock();
        // SAFETY: the lock is held whenever the condition is checked.
        while unsafe { self.0.turn.get().read() } != side {
            let seen = raw_futex::current(&self.0.notified);
            self.unlock();
            raw_futex::wait_while(&self.0.notified, seen);
            self.lock();
        }
        self.unlock();
    }

    fn lock(&self) {
        // SAFETY: `new` initialised the mutex, and it never moves.
        unsafe { libc::pthread_mutex_lock(self.0.mutex.get()) };
    }

    fn unlock(&self) {
        // SAFETY: this thread took it before: both callers pair it with `lock`.
        unsafe { libc::pthread_mutex_unlock(self.0.mutex.get()) };
    }
}
