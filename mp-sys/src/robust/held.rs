//! The locks that a thread holds.
//!
//! Each thread has a list of addresses, oldest first. It is thread-local without a destructor, so that it works in atfork
//! handlers and in other thread-locals' destructors.
//!
//! # A thread must not end while it holds a lock
//! The kernel releases a robust mutex when its thread ends, and the next locker gets it. But safe code can forget a guard,
//! or leak it and send the `&'static mut T` that it lends to another thread: then two references to the same data would
//! be lent at once. So a thread's first lock installs a pthread destructor, which runs after Rust's own thread-local
//! destructors and aborts the process if the list is not empty. Every process that shares the lock is then told by poison,
//! which is what the kernel does for a process that dies. The end of the whole process runs no such destructor.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::robust::{AcquireError, HELD_MAX};

/// Stands for the number of held locks until the thread takes its first one.
const UNUSED: usize = usize::MAX;

/// The mutexes that a thread holds, oldest first.
pub(super) struct Held {
    count: Cell<usize>,
    addresses: [Cell<usize>; HELD_MAX],
    /// Raised in a forked child: what was taken before is its parent's.
    generation: Cell<u32>,
    /// Objects that are being made by this thread: see [`Filling`].
    filling: Cell<usize>,
}

thread_local! {
    // Constant initialisation and no destructor: access is one instruction.
    pub(super) static HELD: Held = const {
        Held {
            count: Cell::new(UNUSED),
            addresses: [const { Cell::new(0) }; HELD_MAX],
            generation: Cell::new(0),
            filling: Cell::new(0),
        }
    };
}

/// When a lock was taken, as far as forks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u32);

impl Generation {
    /// The calling thread's.
    #[inline]
    pub(crate) fn current() -> Self {
        HELD.with(|held| Self(held.generation.get()))
    }
}

/// Proof that the list has room.
pub(super) struct Place(usize);

impl Held {
    /// Where the next address goes.
    #[inline(always)]
    pub(super) fn next_place(&self) -> Result<Place, AcquireError> {
        let count = self.count.get();
        if count < HELD_MAX { Ok(Place(count)) } else { self.first_place() }
    }

    /// The list is full, or was not used yet.
    #[cold]
    fn first_place(&self) -> Result<Place, AcquireError> {
        if self.count.get() != UNUSED {
            return Err(AcquireError::TooManyHeld);
        }
        watch_this_thread()?;
        self.count.set(0);
        Ok(Place(0))
    }

    #[inline(always)]
    pub(super) fn push(&self, Place(place): Place, address: usize) {
        // Always there: `next_place` looked.
        if let Some(slot) = self.addresses.get(place) {
            slot.set(address);
            self.count.set(place.wrapping_add(1));
        }
    }

    /// Takes an address out, if it was put in by this process.
    #[inline(always)]
    pub(super) fn remove(&self, address: usize, taken: Generation) -> bool {
        let last = self.count.get().wrapping_sub(1);
        match self.addresses.get(last) {
            Some(slot) if slot.get() == address && taken.0 == self.generation.get() => {
                self.count.set(last);
                true
            }
            _ => taken.0 == self.generation.get() && self.remove_older(address),
        }
    }

    /// Guards dropped out of order.
    #[cold]
    fn remove_older(&self, address: usize) -> bool {
        let live = self.live();
        let Some(at) = live.iter().rposition(|slot| slot.get() == address) else {
            return false;
        };
        for pair in live.get(at..).unwrap_or_default().windows(2) {
            if let [older, newer] = pair {
                older.set(newer.get());
            }
        }
        self.count.set(live.len().wrapping_sub(1));
        true
    }

    pub(super) fn contains(&self, address: usize) -> bool {
        self.live().iter().any(|slot| slot.get() == address)
    }

    fn live(&self) -> &[Cell<usize>] {
        // Empty while the count stands for "unused".
        self.addresses.get(..self.count.get()).unwrap_or_default()
    }
}

/// How many locks of this workspace the calling thread holds, and objects it is just making.
#[must_use]
pub fn held_count() -> usize {
    HELD.with(|held| held.live().len().saturating_add(held.filling.get()))
}

/// In a forked child: the locks are the parent's.
pub(crate) fn forget_held() {
    HELD.with(|held| {
        if held.count.get() != UNUSED {
            held.count.set(0);
        }
        held.generation.set(held.generation.get().wrapping_add(1));
        held.filling.set(0);
    });
}

/// Counts as a held lock while it lives: the thread writes an object that has no lock yet, and must not fork.
#[derive(Debug)]
pub(crate) struct Filling(());

impl Filling {
    pub(crate) fn start() -> Self {
        HELD.with(|held| held.filling.set(held.filling.get().saturating_add(1)));
        Self(())
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        HELD.with(|held| held.filling.set(held.filling.get().saturating_sub(1)));
    }
}

/// Has the C library call [`at_thread_end`] when the calling thread ends.
fn watch_this_thread() -> Result<(), AcquireError> {
    static KEY: OnceLock<Result<libc::pthread_key_t, i32>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is writable, and the destructor is a plain function for the life of the program.
        match unsafe { libc::pthread_key_create(&raw mut key, Some(at_thread_end)) } {
            0 => Ok(key),
            code => Err(code),
        }
    });
    // EAGAIN: other libraries took all of the 1,024 keys.
    let key = (*key).map_err(AcquireError::Unwatched)?;
    // Destructors run for values that are not null.
    let marker = std::ptr::dangling::<u8>().cast();
    // SAFETY: the key was created above and is never deleted; the value is never dereferenced.
    match unsafe { libc::pthread_setspecific(key, marker) } {
        0 => Ok(()),
        code => Err(AcquireError::Unwatched(code)),
    }
}

extern "C" fn at_thread_end(_: *mut libc::c_void) {
    HELD.with(|held| {
        let count = held.live().len();
        if count > 0 {
            tracing::error!(count, "a thread ends while it holds locks: a guard was forgotten; aborting");
            std::process::abort();
        }
        // A lock taken by a later destructor starts the watch again.
        held.count.set(UNUSED);
    });
}
