//! The locks that a thread holds.
//!
//! Each thread has a list of addresses, oldest first. It is thread-local without a destructor, so that it works in atfork
//! handlers and in other thread-locals' destructors.
//!
//! # A thread must not end while it holds a lock
//! The kernel releases a robust mutex when its thread ends, and the next locker gets it. But safe code can forget a
//! guard, or leak it and send the `&'static mut T` that it lends to another thread. Two references to the same data
//! would then exist at once. So a thread's first lock installs a pthread destructor, which runs after Rust's own
//! thread-local destructors and aborts the process if the list is not empty. The lock is then poisoned for every
//! process that shares it, as it is after any death of a process. No such destructor runs when the whole process ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::identity::current_thread;
use crate::robust::list::{self, Head};
use crate::robust::{AcquireError, HELD_MAX, Mode};

/// Replaces the number of held locks until the thread takes its first one.
const UNUSED: usize = usize::MAX;

/// What a thread needs to take a lock with a word of this crate's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    /// The kernel's id of the thread.
    pub(super) id: u32,
    pub(super) head: &'static Head,
}

/// The locks that a thread holds, oldest first.
pub(super) struct Held {
    count: Cell<usize>,
    /// `None` until the thread takes its first lock, and where the C library's mutexes are used.
    thread: Cell<Option<Thread>>,
    addresses: [Cell<usize>; HELD_MAX],
    /// Raised in a forked child: locks of an earlier generation belong to the parent.
    generation: Cell<u32>,
    /// Objects that this thread is making: see [`Filling`].
    filling: Cell<usize>,
}

thread_local! {
    // Constant initialisation and no destructor: access is one instruction.
    pub(super) static HELD: Held = const {
        Held {
            count: Cell::new(UNUSED),
            thread: Cell::new(None),
            addresses: [const { Cell::new(0) }; HELD_MAX],
            generation: Cell::new(0),
            filling: Cell::new(0),
        }
    };
}

/// The list of the calling thread.
///
/// The reference must not leave the thread. `Held` is not `Sync`, which ensures that.
#[inline(always)]
pub(super) fn of_this_thread<'a>() -> &'a Held {
    let held = HELD.with(std::ptr::from_ref);
    // SAFETY: a thread-local without a destructor exists as long as its thread runs, and the callers are on that
    // thread.
    unsafe { &*held }
}

/// When a lock was taken, counted in forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u32);

impl Generation {
    /// The generation of the calling thread.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(of_this_thread().generation.get())
    }
}

/// Proof that the list has room.
pub(super) struct Place(usize);

impl Held {
    /// The place of the next address.
    #[inline(always)]
    pub(super) fn next_place(&self) -> Result<Place, AcquireError> {
        let count = self.count.get();
        if count < HELD_MAX { Ok(Place(count)) } else { self.first_place() }
    }

    /// The list is full, or has not been used yet.
    #[cold]
    fn first_place(&self) -> Result<Place, AcquireError> {
        if self.count.get() != UNUSED {
            return Err(AcquireError::TooManyHeld);
        }
        watch_this_thread()?;
        self.thread.set(match Mode::current() {
            Mode::Pthread => None,
            // A thread that the C library did not start may have no list.
            Mode::Own | Mode::OwnInSlices => Some(Thread {
                id: current_thread(),
                head: list::own_head().ok_or(AcquireError::Unwatched(libc::ESRCH))?,
            }),
        });
        self.count.set(0);
        Ok(Place(0))
    }

    #[inline(always)]
    pub(super) fn thread(&self) -> Option<Thread> {
        self.thread.get()
    }

    /// The next lock counts as the thread's first one. For a forked child, and for tests.
    pub(super) fn begin_afresh(&self) {
        if let Some(thread) = self.thread.take() {
            thread.head.begin_afresh();
        }
        self.count.set(UNUSED);
        self.generation.set(self.generation.get().wrapping_add(1));
        self.filling.set(0);
    }

    #[inline(always)]
    pub(super) fn push(&self, Place(place): Place, address: usize) {
        // The place exists: `next_place` checked it.
        if let Some(slot) = self.addresses.get(place) {
            slot.set(address);
            self.count.set(place.wrapping_add(1));
        }
    }

    /// Whether this thread added the address in this process.
    #[inline(always)]
    pub(super) fn has(&self, address: usize, taken: Generation) -> bool {
        taken.0 == self.generation.get() && (self.is_newest(address) || self.contains(address))
    }

    #[inline(always)]
    fn is_newest(&self, address: usize) -> bool {
        let last = self.count.get().wrapping_sub(1);
        self.addresses.get(last).is_some_and(|slot| slot.get() == address)
    }

    /// Removes an address.
    #[inline(always)]
    pub(super) fn remove(&self, address: usize) {
        if self.is_newest(address) {
            self.count.set(self.count.get().wrapping_sub(1));
        } else {
            self.remove_older(address);
        }
    }

    /// Removes an address that is not the newest: guards were dropped out of order.
    #[cold]
    fn remove_older(&self, address: usize) {
        let live = self.live();
        let Some(at) = live.iter().rposition(|slot| slot.get() == address) else {
            return;
        };
        for pair in live.get(at..).unwrap_or_default().windows(2) {
            if let [older, newer] = pair {
                older.set(newer.get());
            }
        }
        self.count.set(live.len().wrapping_sub(1));
    }

    #[cold]
    pub(super) fn contains(&self, address: usize) -> bool {
        self.live().iter().any(|slot| slot.get() == address)
    }

    fn live(&self) -> &[Cell<usize>] {
        // Empty while the count is [`UNUSED`].
        self.addresses.get(..self.count.get()).unwrap_or_default()
    }
}

/// How many locks of this workspace the calling thread holds, plus the objects that it is making.
#[must_use]
pub fn held_count() -> usize {
    HELD.with(|held| held.live().len().saturating_add(held.filling.get()))
}

/// Starts a forked child's list: the locks are the parent's, and the thread has another id.
pub(crate) fn forget_held() {
    HELD.with(Held::begin_afresh);
}

/// Counts as a held lock while it lives: the thread is writing an object that has no lock yet, and must not fork.
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

/// Makes the C library call [`at_thread_end`] when the calling thread ends.
fn watch_this_thread() -> Result<(), AcquireError> {
    let key = key()?;
    // The C library runs destructors only for values that are not null.
    let marker = std::ptr::dangling::<u8>().cast();
    // SAFETY: the key was created above and is never deleted; the value is never dereferenced.
    match unsafe { libc::pthread_setspecific(key, marker) } {
        0 => Ok(()),
        code => Err(AcquireError::Unwatched(code)),
    }
}

/// The key whose destructor is [`at_thread_end`].
///
/// Several threads may create one at once, and all but one delete theirs. No thread waits for the first, because a
/// forked child may not have that thread.
fn key() -> Result<libc::pthread_key_t, AcquireError> {
    static KEY: AtomicU32 = AtomicU32::new(NO_KEY);
    let known = KEY.load(Ordering::Relaxed);
    if known != NO_KEY {
        return Ok(known);
    }
    let mut key = 0;
    // SAFETY: `key` is writable, and the destructor is a plain function for the life of the program.
    match unsafe { libc::pthread_key_create(&raw mut key, Some(at_thread_end)) } {
        0 => {}
        // EAGAIN: other libraries have taken all of the 1,024 keys.
        code => return Err(AcquireError::Unwatched(code)),
    }
    match KEY.compare_exchange(NO_KEY, key, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(key),
        Err(earlier) => {
            // SAFETY: the key was made above, and no thread has a value for it.
            unsafe { libc::pthread_key_delete(key) };
            Ok(earlier)
        }
    }
}

/// Means that there is no key yet: the C library's keys are small numbers.
const NO_KEY: u32 = u32::MAX;

extern "C" fn at_thread_end(_: *mut libc::c_void) {
    HELD.with(|held| {
        let count = held.live().len();
        if count > 0 {
            tracing::error!(
                count,
                "a thread ended while it held locks (a guard was forgotten); aborting the process"
            );
            std::process::abort();
        }
        // If a later destructor takes a lock, the watch starts again.
        held.count.set(UNUSED);
    });
}
