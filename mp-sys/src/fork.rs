//! Lets a process find out that it was forked.
//!
//! Everything that is cached about a process (its identity, the chunk from which it allocates, the children that it may
//! wait for) is wrong in a forked child. So everything cached carries the [`Epoch`] of the process that cached it. The
//! epoch is one word in a page with `MADV_WIPEONFORK`. In any child, however it was made, the kernel shows zeros there,
//! and the first look assigns the child a new epoch. That costs two loads, and also catches a raw `clone`, which atfork
//! handlers miss. If a sandbox refuses such a page, the word lies elsewhere, and the child's atfork handler clears it.
//!
//! Three pthread_atfork handlers do what must happen at the moment of the fork. In the parent, they call the function of
//! [`call_before_forks`], and count the fork (see [`forks`]). In the child, they record its depth, forget the locks that the parent's thread holds, and close the
//! descriptors that the child must not have (see [`ClosedOnFork`]).
//!
//! Source: madvise(2), pthread_atfork(3).

mod depth;
mod descriptors;
mod generations;

use std::ops::{Deref, DerefMut};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

pub(crate) use self::depth::depth;
pub use self::descriptors::{BeforeOpening, CLOSED_ON_FORK_MAX, ClosedOnFork, NotTaken, OtherProcess};
pub use self::generations::Generations;
use crate::quiet::Quiet;

/// The word that a fork wipes: in a page of its own, or [`Words::epoch`]. Null until the first look; never unmapped.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// The newest epoch among this process and its ancestors. A fork copies it, so a child's epoch is always greater.
static NEWEST: AtomicU64 = AtomicU64::new(0);
/// The words that a process writes when it begins or starts another one, on one page: after a fork, the first write to
/// each page is expensive.
pub(crate) static WORDS: Words = Words {
    forks: AtomicU64::new(0),
    under_way: AtomicU32::new(0),
    kept_parent: AtomicI32::new(NO_PARENT),
    started: AtomicU32::new(0),
    parent: AtomicU32::new(0),
    starter: AtomicU32::new(0),
    epoch: AtomicU64::new(0),
    depth: depth::Depth::new(),
};
/// The value of [`Words::kept_parent`] if nothing is kept.
pub(crate) const NO_PARENT: RawFd = -1;
static HANDLERS: Once = Once::new();
/// See [`call_before_forks`].
static BEFORE: OnceLock<fn()> = OnceLock::new();

/// See [`WORDS`].
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Words {
    /// Twice the forks that this process and its ancestors made since the handlers were installed.
    forks: AtomicU64,
    /// Forks of this process that have begun and not yet ended.
    under_way: AtomicU32,
    /// The descriptor of [`Parent::keep`](crate::reexec::Parent::keep).
    pub(crate) kept_parent: AtomicI32,
    /// The process that knows which process started it, and that starter. A forked child does not count as such a
    /// process.
    pub(crate) started: AtomicU32,
    pub(crate) parent: AtomicU32,
    /// The process that last started another one. A forked child does not count as that process.
    pub(crate) starter: AtomicU32,
    /// The epoch, if there is no page that the kernel wipes; otherwise 0.
    epoch: AtomicU64,
    /// See [`depth()`].
    depth: depth::Depth,
}

/// Distinguishes a process from its ancestors. Siblings may share an epoch, because memory never passes between
/// siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of the calling process.
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        let page = PAGE.load(Ordering::Acquire);
        if !page.is_null() {
            // SAFETY: a non-null PAGE points to a static, or to the one mapping made in `first_look`, aligned and never unmapped.
            let epoch = unsafe { &*page }.load(Ordering::Relaxed);
            if epoch != 0 {
                return Self(epoch);
            }
        }
        first_look()
    }

    /// The epoch as a number, never 0.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether the calling process is the one in which this epoch was taken.
    #[inline]
    #[must_use]
    pub fn is_current(self) -> bool {
        self == Self::current()
    }
}

/// Handles the first look in this process: makes the page if there is none, and stores a new epoch in it.
#[cold]
fn first_look() -> Epoch {
    install_handlers();
    let word = page();
    let fresh = NEWEST.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    match word.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Epoch(fresh),
        Err(earlier) => Epoch(earlier),
    }
}

fn page() -> &'static AtomicU64 {
    let existing = PAGE.load(Ordering::Acquire);
    if !existing.is_null() {
        // SAFETY: a non-null PAGE points to a static, or to the one mapping made below, aligned and never unmapped.
        return unsafe { &*existing };
    }
    let made = map_wiped_page().unwrap_or_else(|error| {
        tracing::debug!(%error, "the kernel wipes no page at a fork: the atfork handler clears the word instead");
        ptr::from_ref(&WORDS.epoch).cast_mut()
    });
    match PAGE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: `made` is a static, or a fresh private mapping of one page, aligned, zeroed and never unmapped.
        Ok(_) => unsafe { &*made },
        // A second thread was first. The spare page (4 KiB, at most one per thread, once) stays: unmapping it would
        // need one more unsafe operation for no benefit.
        // SAFETY: as above for the mapping that the other thread published.
        Err(other) => unsafe { &*other },
    }
}

fn map_wiped_page() -> Result<*mut AtomicU64, Errno> {
    let length = rustix::param::page_size();
    // SAFETY: a null hint without MAP_FIXED lets the kernel choose; no existing mapping is touched.
    let mapped = unsafe {
        mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    let page = mapped?;
    // Miri has no fork.
    if cfg!(miri) {
        return Ok(page.cast());
    }
    // SAFETY: the range is exactly the mapping made above; WIPEONFORK changes only what a child sees.
    let advised = unsafe { madvise(page, length, Advice::LinuxWipeOnFork) };
    // This works since Linux 4.14. A sandbox may refuse it; the page then stays unused.
    advised.map(|()| page.cast())
}

/// A number that every fork changes, in the parent and in the child.
///
/// Another process cannot have inherited an object that was made after the last fork. A raw `clone` runs no handlers,
/// so this number misses it; it leaves the C library's own thread data stale as well.
#[inline]
#[must_use]
pub fn forks() -> u64 {
    // Sequentially consistent because the argument of `BeforeOpening` needs it; for a load that costs nothing on
    // x86-64.
    WORDS.forks.load(Ordering::SeqCst)
}

/// Installs the atfork handlers once. Code that relies on the count of forks calls it first.
///
/// # Panics
/// If the C library has no memory for one more entry.
pub fn install_handlers() {
    HANDLERS.call_once(|| {
        // Miri has no fork.
        if cfg!(miri) {
            return;
        }
        // SAFETY: the handlers are plain functions for the life of the program that never unwind. That of the child only
        // touches atomics and thread-locals without destructors; those of the parent may do anything.
        let failed = unsafe { libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
        // ENOMEM is the only documented failure, for a few bytes.
        assert_eq!(failed, 0, "pthread_atfork has memory for one entry");
    });
}

/// Lets a function run before each fork of this process, in the thread that forks. Only the first function that is
/// passed here runs: there is one crate that needs this.
///
/// It must not wait for anything without a deadline, since a fork in a signal handler may have interrupted whoever would
/// end the wait.
pub fn call_before_forks(call: fn()) {
    install_handlers();
    BEFORE.get_or_init(|| call);
}

extern "C" fn before_fork() {
    if let Some(call) = BEFORE.get() {
        // A panic must not reach the C library. There is nobody to report it to.
        drop(std::panic::catch_unwind(call));
    }
    descriptors::fork_begins();
    count_fork();
}

extern "C" fn in_parent() {
    count_fork();
    descriptors::fork_ended();
}

// A child runs other steps as well: see `child/in_place.rs`.
#[unsafe(link_section = "mp_fork")]
extern "C" fn in_child() {
    count_fork();
    // Read first, so that no page has to be copied if the kernel has wiped the word.
    if WORDS.epoch.load(Ordering::Relaxed) != 0 {
        WORDS.epoch.store(0, Ordering::Relaxed);
    }
    depth::deepen();
    descriptors::close_in_child();
    crate::robust::forget_held();
    crate::budget::forget_other_threads();
}

/// Runs before and after the fork, so that anything made in between, by a handler or another thread, is known to have
/// been copied.
fn count_fork() {
    WORDS.forks.fetch_add(1, Ordering::SeqCst);
}

/// Process-wide state behind a lock, which starts afresh in a forked child.
///
/// A child of a process with several threads may find a lock held by a thread that it does not have. So the state and
/// its lock belong to an epoch: the first use in a child makes new ones. The child drops the contents of the parent's
/// state if no thread held the lock at the moment of the fork; otherwise it leaks them.
#[derive(Debug)]
pub struct PerProcess<T> {
    current: AtomicPtr<Generation<T>>,
    /// Whether a child starts with its parent's state, if no thread was using it at the fork.
    inherited: bool,
}

#[derive(Debug)]
struct Generation<T> {
    epoch: Epoch,
    state: Mutex<T>,
}

/// This process's state, locked.
#[derive(Debug)]
pub struct State<T: 'static> {
    state: MutexGuard<'static, T>,
    /// Declared after the guard, so it ends when the lock is released.
    _quiet: Option<Quiet>,
}

impl<T> State<T> {
    #[inline]
    fn new(generation: &'static Generation<T>, quiet: Option<Quiet>) -> Self {
        Self { state: generation.state.lock().unwrap_or_else(PoisonError::into_inner), _quiet: quiet }
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for State<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}

impl<T: Default + Send + 'static> PerProcess<T> {
    /// Makes a state that `T::default()` creates at the first use in each process.
    #[must_use]
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), inherited: false }
    }

    /// Makes a state as [`new`](Self::new) does, but a child starts with its parent's state, unless another thread was
    /// using it at the moment of the fork.
    #[must_use]
    pub const fn inherited() -> Self {
        Self { current: AtomicPtr::new(ptr::null_mut()), inherited: true }
    }

    /// Locks this process's state.
    ///
    /// Events under the lock are reported to subscribers of `tracing` afterwards, through
    /// [`quiet::tell`](crate::quiet::tell).
    pub fn lock(&'static self) -> State<T> {
        self.lock_with(Some(Quiet::begin()))
    }

    /// Locks as [`lock`](Self::lock) does, for a few lines that call nothing that could report an event. A thread that
    /// has just forked then has one page less to copy.
    pub fn lock_briefly(&'static self) -> State<T> {
        self.lock_with(None)
    }

    #[inline]
    fn lock_with(&'static self, quiet: Option<Quiet>) -> State<T> {
        let current = self.current.load(Ordering::Acquire);
        if !current.is_null() {
            // SAFETY: a non-null pointer comes from `Box::into_raw` in `renew`, and generations are never freed.
            let generation: &'static Generation<T> = unsafe { &*current };
            if generation.epoch.is_current() {
                return State::new(generation, quiet);
            }
        }
        State::new(self.renew(current), quiet)
    }

    #[cold]
    fn renew(&'static self, stale: *mut Generation<T>) -> &'static Generation<T> {
        let epoch = Epoch::current();
        // SAFETY: generations are never freed, and a non-null pointer is one.
        let parents = unsafe { stale.as_ref() };
        let state = if self.inherited { parents.and_then(take).unwrap_or_default() } else { T::default() };
        let fresh = Box::into_raw(Box::new(Generation { epoch, state: Mutex::new(state) }));
        match self.current.compare_exchange(stale, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                drop(parents.and_then(take));
                // SAFETY: `fresh` was made above and is never freed.
                unsafe { &*fresh }
            }
            Err(other) => {
                // SAFETY: `fresh` came from `Box::into_raw` above and was not published.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: the published generation is never freed.
                unsafe { &*other }
            }
        }
    }
}

impl<T: Default + Send + 'static> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the contents of the parent's state, unless a thread that this process does not have was using it.
fn take<T: Default>(stale: &Generation<T>) -> Option<T> {
    stale.state.try_lock().ok().map(|mut state| std::mem::take(&mut *state))
}
