//! A lock that survives the death of its owner: a word of this crate on the kernel's list of robust locks.
//!
//! The kernel keeps a list of the robust locks that a thread holds. When the thread dies, the kernel marks each of them
//! and wakes one waiter; the next locker sees the mark and holds the lock. A robust pthread mutex works the same way,
//! but it can lose a wake-up: its unlock forgets that others wait. If the woken waiter is overtaken and then killed,
//! the next waiter sleeps on a free lock (10 of 10). `protocol` keeps the mark of waiters until nobody sleeps, and
//! costs less.
//!
//! The lock has the layout of the C library's mutex, so that both share the thread's one list: see `list`. If the
//! layout is not the expected one, the C library's mutex itself is used, with sleeps in slices: see `mode`.
//!
//! The kernel's list cannot decide recursion, identity or poison, because two PID namespaces may hold equal thread ids.
//! So this module keeps its own list, per thread, of what the thread holds. The list answers "do I already hold this
//! lock?" exactly (the slow path asks), counts against [`HELD_MAX`], shows `fork` that a guard is alive, and turns the
//! drop of a guard that a forked child inherited into a no-op.
//!
//! Locks must not be used in signal handlers: a handler that interrupts a lock operation of its thread and takes
//! another lock overwrites the pending operation.
//!
//! # Invariants
//! 1. A lock lies in a mapping that never moves and stays mapped while any thread of this process holds it.
//! 2. An address is in a thread's own list exactly while that thread holds the lock there, except for the moments that
//!    the pending operation covers.
//! 3. The locker that gets `Acquired::OwnerDied` repairs what the lock protects before it unlocks. If it dies before
//!    that, the kernel marks the lock again, and the next locker gets the same result.
//! 4. A thread that holds a lock does not end: the kernel would pass the lock on while a forgotten guard may still lend
//!    what it protects. The process aborts instead.
//!
//! Source: Documentation/locking/robust-futexes.rst.

mod held;
mod list;
mod mode;
#[cfg(all(mp_loom, test, feature = "testing"))]
mod models;
mod protocol;
mod pthread;
mod spin;

use std::sync::atomic::{AtomicU32, Ordering};

pub use self::held::held_count;
pub(crate) use self::held::{Filling, Generation, forget_held};
use self::held::{Held, Thread};
use self::list::Links;
pub use self::mode::Mode;
#[cfg(feature = "testing")]
pub use self::mode::force_mode;
use self::protocol::Rules;
use self::spin::Tries;
use crate::adaptive::{spinning_helps, spinning_is_known};
use crate::crash;
use crate::deadline::Deadline;
use crate::futex::SLICE;

/// The most locks of this workspace that one thread may hold at the same time. The kernel recovers the newest 2,048
/// robust locks of a dead thread (measured); the rest of that room is left to other libraries.
pub const HELD_MAX: usize = 1024;

/// Why a lock was not taken. The lock is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Another thread holds it, and the caller did not want to wait.
    #[error("the lock is held")]
    WouldBlock,
    /// Another thread held it until the deadline.
    #[error("the lock was still held at the timeout")]
    TimedOut,
    /// The calling thread holds it, so that waiting would never end.
    #[error("the calling thread already holds the lock")]
    Deadlock,
    /// The thread holds [`HELD_MAX`] locks.
    #[error("the calling thread holds {HELD_MAX} locks, the most that are recovered if it dies")]
    TooManyHeld,
    /// The thread could not be watched: all thread-specific keys of the C library are taken, or there is no memory.
    /// `ESRCH` stands for a thread that the C library does not know.
    #[error("the thread cannot be watched for locks that it would leave held (error {0})")]
    Unwatched(i32),
    /// The C library cannot make sense of the lock's words: another program wrote into them.
    #[error("the lock's memory was overwritten (error {0})")]
    Corrupt(i32),
    /// The lock was made by a process that sees its thread's list of robust locks, and this process does not see its
    /// own: it has another C library, or a sandbox refuses get_robust_list(2).
    #[error(
        "this process cannot use the lock: unlike the process that made it, it cannot read its threads' lists of robust locks (get_robust_list)"
    )]
    OtherMode,
}

/// How long a caller is willing to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// Not at all, and neither for the locks inside an object, for which a caller with `None` may wait for a moment. A task
    /// must not wait, because it would stop all tasks of its thread.
    TryOnce,
    /// Until this moment.
    Until(Deadline),
}

/// What the newest owner left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It released the lock.
    Clean,
    /// It died. The caller holds the lock and must repair what it protects.
    OwnerDied,
}

/// What made a lock. The value lies where the C library keeps a mutex's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// This crate: see [`protocol`].
    Own,
    /// The C library, in a process of [`Mode::Pthread`].
    Pthread,
}

/// Stands for [`Kind::Own`]. No type of the C library has these bits.
const OWN_KIND: u32 = u32::from_ne_bytes(*b"mp-1");

/// A robust lock in shared memory, laid out as the C library's mutex.
#[repr(C)]
pub(crate) struct RobustMutex {
    word: AtomicU32,
    /// The C library's counters.
    counters: [AtomicU32; 3],
    kind: AtomicU32,
    spins: AtomicU32,
    links: Links,
    rest: [AtomicU32; REST_WORDS],
}

/// Words of the C library's mutex beyond those that both kinds use.
const REST_WORDS: usize = size_of::<libc::pthread_mutex_t>().saturating_sub(40) / 4;

const _: () = assert!(size_of::<RobustMutex>() >= size_of::<libc::pthread_mutex_t>());
const _: () = assert!(align_of::<RobustMutex>() >= align_of::<libc::pthread_mutex_t>());

impl RobustMutex {
    /// Makes a free lock at `place`.
    ///
    /// # Safety
    /// - `place` is valid for writes, aligned, in shared memory.
    /// - Nobody uses a lock at `place`.
    pub(crate) unsafe fn init(place: *mut Self) {
        let zero = || AtomicU32::new(0);
        let free = Self {
            word: zero(),
            counters: [zero(), zero(), zero()],
            kind: AtomicU32::new(OWN_KIND),
            spins: zero(),
            links: Links::new(),
            rest: std::array::from_fn(|_| zero()),
        };
        // SAFETY: the caller's place is writable and aligned, and nobody uses it.
        unsafe { place.write(free) };
        if Mode::current() == Mode::Pthread {
            // SAFETY: as above; the place has room for the C library's mutex (asserted).
            unsafe { pthread::init(place.cast()) };
        }
    }

    /// Takes the lock. After [`Acquired::OwnerDied`] the caller must repair.
    #[inline(always)]
    pub(crate) fn acquire(&self, patience: Patience) -> Result<Acquired, AcquireError> {
        let held = held::of_this_thread();
        // The place in the list comes first: a lock that cannot be listed must not be taken.
        let place = held.next_place()?;
        let Some(thread) = held.thread() else {
            let acquired = self.acquire_pthread(patience)?;
            held.push(place, self.address());
            return Ok(acquired);
        };
        let acquired = self.take(thread, patience)?;
        // SAFETY: this thread took the lock just now, so it is in no list; it stays mapped while it is held (invariant 1).
        unsafe { thread.head.link(&self.links) };
        crash::point();
        held.push(place, self.address());
        thread.head.end();
        Ok(acquired)
    }

    /// Takes the lock for a section in which this thread takes no other lock and runs no user code: the pending
    /// operation alone covers it, and it is in no list.
    #[inline(always)]
    pub(crate) fn acquire_briefly(&self, patience: Patience) -> Result<Acquired, AcquireError> {
        let held = held::of_this_thread();
        let place = held.next_place()?;
        let Some(thread) = held.thread() else {
            let acquired = self.acquire_pthread(patience)?;
            held.push(place, self.address());
            return Ok(acquired);
        };
        self.take(thread, patience)
    }

    /// Names the lock as pending, and takes it.
    #[inline(always)]
    fn take(&self, thread: Thread, patience: Patience) -> Result<Acquired, AcquireError> {
        thread.head.begin(&self.links);
        crash::point();
        let acquired = match protocol::try_take(&self.word, thread.id) {
            Ok(()) => Acquired::Clean,
            Err(_) => self.acquire_slowly(thread, patience)?,
        };
        crash::point();
        Ok(acquired)
    }

    #[cold]
    #[inline(never)]
    fn acquire_slowly(&self, thread: Thread, patience: Patience) -> Result<Acquired, AcquireError> {
        if !spinning_is_known() {
            // The first call in a process reads files and so allocates. A user's allocator may take a robust lock,
            // which would end this pending operation. Nothing is held yet.
            thread.head.end();
            spinning_helps();
            thread.head.begin(&self.links);
        }
        let acquired = self.contend(thread, patience);
        if acquired.is_err() {
            thread.head.end();
        }
        acquired
    }

    fn contend(&self, thread: Thread, patience: Patience) -> Result<Acquired, AcquireError> {
        let patience = match patience {
            // The thread's id in the word is only a hint: see the module documentation.
            Patience::Until(_) if self.owner() == thread.id && self.held_here() => {
                return Err(AcquireError::Deadlock);
            }
            other => other,
        };
        let spin = || TRIES.with(|tries| tries.until(|| self.owner() == 0));
        protocol::take(&self.word, thread.id, self.rules(), patience, spin)
    }

    #[cold]
    #[inline(never)]
    fn acquire_pthread(&self, patience: Patience) -> Result<Acquired, AcquireError> {
        if self.kind() == Kind::Own {
            return Err(AcquireError::OtherMode);
        }
        if matches!(patience, Patience::Until(_)) && self.held_here() {
            return Err(AcquireError::Deadlock);
        }
        // SAFETY: the kind shows that a process in the same mode made the C library's mutex here.
        unsafe { pthread::acquire(self.as_pthread(), patience) }
    }

    /// Runs `last` and releases the lock, if the calling thread took it in this process. A guard that a forked child
    /// inherited holds nothing, whatever the child itself has taken since.
    #[inline(always)]
    pub(crate) fn release(&self, taken: Generation, last: impl FnOnce()) {
        let held = held::of_this_thread();
        if !held.has(self.address(), taken) {
            return;
        }
        last();
        let Some(thread) = held.thread() else {
            return self.release_pthread(held);
        };
        thread.head.begin(&self.links);
        crash::point();
        // SAFETY: this thread's list said that it holds the lock (invariant 2), so it is linked there.
        unsafe { thread.head.unlink(&self.links) };
        crash::point();
        held.remove(self.address());
        self.give_up(thread);
    }

    /// Releases a lock that [`acquire_briefly`](Self::acquire_briefly) took.
    #[inline(always)]
    pub(crate) fn release_briefly(&self) {
        let held = held::of_this_thread();
        match held.thread() {
            Some(thread) => self.give_up(thread),
            None => self.release_pthread(held),
        }
    }

    /// Frees the word of the pending operation, and ends that operation.
    #[inline(always)]
    fn give_up(&self, thread: Thread) {
        if protocol::try_give_up(&self.word, thread.id).is_err() {
            self.give_up_slowly(thread);
        }
        crash::point();
        thread.head.end();
    }

    #[cold]
    #[inline(never)]
    fn give_up_slowly(&self, thread: Thread) {
        protocol::give_up(&self.word, thread.id, self.rules());
    }

    #[cold]
    #[inline(never)]
    fn release_pthread(&self, held: &Held) {
        held.remove(self.address());
        // SAFETY: `acquire_pthread` took the mutex in this thread, and the caller releases it once.
        unsafe { pthread::release(self.as_pthread()) };
    }

    /// Whether the calling thread holds the lock.
    pub(crate) fn held_here(&self) -> bool {
        held::of_this_thread().contains(self.address())
    }

    /// The kernel's id of the thread that holds the lock, or 0 if no thread holds it.
    pub(crate) fn owner(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & protocol::OWNER
    }

    /// Whether the newest owner died, and nobody has taken the lock since.
    pub(crate) fn has_dead_owner(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word & protocol::OWNER == 0 && word & protocol::OWNER_DIED != 0
    }

    fn kind(&self) -> Kind {
        if self.kind.load(Ordering::Relaxed) == OWN_KIND { Kind::Own } else { Kind::Pthread }
    }

    fn rules(&self) -> Rules {
        match self.kind() {
            Kind::Own => Rules { slice: Mode::current().slice(), forgets: false },
            Kind::Pthread => Rules { slice: SLICE, forgets: true },
        }
    }

    fn as_pthread(&self) -> *mut libc::pthread_mutex_t {
        (&raw const *self).cast_mut().cast()
    }

    #[inline]
    fn address(&self) -> usize {
        (&raw const *self).addr()
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
