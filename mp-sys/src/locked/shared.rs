//! A lock that many may read under at the same time, together with the data that it protects.
//!
//! It is built on [`Locked`], which writers take; readers register beside it ([`super::readers`]). There is no other
//! way to the data: the lock inside is not exposed, because taking it alone does not wait for the readers.

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::adaptive::{Budget, Signal};
use crate::cells::{self, Element};
use crate::cpu::current_cpu;
use crate::crash;
use crate::identity::Stamp;
use crate::locked::readers::{Kept, Kernel, READERS_MAX, Readers};
use crate::locked::reads::{self, READS_MAX};
use crate::locked::{CONTROL_BYTES, Guard, Held, Holder, Locked};
use crate::named::{ExistingSpan, Placed};
use crate::robust::{AcquireError, Filling, Generation, Patience};
use crate::span::Span;

/// Why a reader was not admitted. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The lock was not taken.
    #[error(transparent)]
    Refused(#[from] AcquireError),
    /// The lock has [`READERS_MAX`] readers, or the calling thread has [`READS_MAX`] guards of readers.
    #[error(
        "too many readers: a lock can have {READERS_MAX}, and one thread can hold {READS_MAX} read guards"
    )]
    TooManyReaders,
}

/// What lies in front of the lock. All zeros are a valid start.
#[derive(Debug)]
#[repr(C, align(64))]
struct Head {
    signal: Line<Signal>,
    used: Line<AtomicU64>,
    slots: [AtomicU64; READERS_MAX],
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Line<T>(T);

/// A lock that many may read under.
#[derive(Debug)]
pub struct SharedLock {
    head: NonNull<Head>,
    /// The budget of this process's writers while they wait for readers.
    budget: Budget,
    /// Keeps the span alive.
    locked: Locked,
}

// SAFETY: the head is atomics only, and the lock's span keeps it mapped.
unsafe impl Send for SharedLock {}
// SAFETY: as above.
unsafe impl Sync for SharedLock {}

impl SharedLock {
    /// Bytes of a span for a lock and `data_len` bytes of data, or `None` if that overflows.
    #[must_use]
    pub fn bytes_for(data_len: usize) -> Option<usize> {
        data_len.checked_add(CONTROL_BYTES)?.checked_add(size_of::<Head>())
    }

    /// Makes a free lock in a span of zeros; see [`Locked::new`].
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(0)` bytes.
    pub fn new(span: Span, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, Span> {
        let head = span.start().cast();
        let locked = Locked::new_behind(size_of::<Head>(), span, fill)?;
        Ok(Self { head, budget: Budget::before_a_lock(), locked })
    }

    /// Returns a handle of a lock that this process or another one made before.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        let span = existing.into_span();
        let head = span.start().cast();
        let locked = Locked::over_behind(size_of::<Head>(), span)?;
        Ok(Self { head, budget: Budget::before_a_lock(), locked })
    }

    #[inline]
    fn readers(&self) -> Readers<'_> {
        // SAFETY: the lock was made behind a head at the aligned start of its span, which it keeps mapped; any bits are
        // valid atomics, and the lock's data does not reach there.
        let head = unsafe { self.head.as_ref() };
        let version = self.locked.version();
        Readers { signal: &head.signal.0, used: &head.used.0, slots: &head.slots, version }
    }

    /// Bytes of data.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.locked.data_len()
    }

    /// A word whose meaning the tier defines.
    #[inline]
    #[must_use]
    pub fn flag(&self) -> &AtomicU32 {
        self.locked.flag()
    }

    /// Lends the value at `at` for reading. `told` runs if a writer died while the value was lent to it.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Panics
    /// If the value does not lie aligned in the data.
    #[inline]
    pub fn read<T: Element>(
        &self,
        at: usize,
        patience: Patience,
        told: impl FnOnce(&AtomicU32),
    ) -> Result<ReadGuard<'_, T>, ReadError> {
        let data = self.locked.aligned_place::<T>(at, size_of::<T>());
        let listed = reads::list(self.address())?;
        let (readers, own, first) = (self.readers(), Stamp::current().to_bits(), current_line());
        let slot = if listed.again {
            // A waiting writer already waits for this thread.
            readers.register(own, first).ok_or(Kept::Full)
        } else {
            readers.enter(own, first)
        };
        let slot = match slot {
            Ok(slot) => slot,
            Err(Kept::Full) => return Err(ReadError::TooManyReaders),
            Err(Kept::Out) => self.register_locked::<T>(at, patience, told, own)?,
        };
        let guard = ReadGuard {
            data,
            lock: self,
            slot,
            taken: Generation::current(),
            listed: ManuallyDrop::new((listed, Filling::start())),
            not_send: PhantomData,
        };
        // SAFETY: aligned, in the data, and initialised; no writer is in while the guard is registered.
        if !T::is_valid_bit_pattern(unsafe { data.cast::<T::Bits>().as_ref() }) {
            // After the death of a writer the value is repaired. So something other than a lock operation wrote this.
            return Err(AcquireError::Corrupt(libc::EINVAL).into());
        }
        Ok(guard)
    }

    /// Registers under the lock: a writer waits or is in.
    #[cold]
    fn register_locked<T: Element>(
        &self,
        at: usize,
        patience: Patience,
        told: impl FnOnce(&AtomicU32),
        own: u64,
    ) -> Result<usize, ReadError> {
        let held = self.acquire::<T>(at, patience, told)?;
        let slot = self.readers().register(own, current_line());
        drop(held);
        slot.ok_or(ReadError::TooManyReaders)
    }

    /// Lends the value at `at` for changing, once all readers have left. `told` runs if an earlier writer died while
    /// the value was lent to it.
    ///
    /// # Errors
    /// [`AcquireError`]; [`AcquireError::Deadlock`] also while the calling thread reads.
    ///
    /// # Panics
    /// If the value does not lie aligned in the data.
    #[inline]
    pub fn write<T: Element>(
        &self,
        at: usize,
        patience: Patience,
        told: impl FnOnce(&AtomicU32),
    ) -> Result<Guard<'_, T>, AcquireError> {
        if reads::has(self.address()) {
            return Err(if patience == Patience::None {
                AcquireError::WouldBlock
            } else {
                AcquireError::Deadlock
            });
        }
        let mut held = self.acquire::<T>(at, patience, told)?;
        held.begin_write();
        if !self.readers().drain(patience, &self.budget, &Kernel) {
            held.end_write();
            return Err(if patience == Patience::None {
                AcquireError::WouldBlock
            } else {
                AcquireError::TimedOut
            });
        }
        let held = held.open_section();
        crash::point();
        Ok(held.into_guard(at))
    }

    /// Takes the lock alone. A writer that died with the value has left its mark in the version; no reader is in then.
    fn acquire<T: Element>(
        &self,
        at: usize,
        patience: Patience,
        told: impl FnOnce(&AtomicU32),
    ) -> Result<Held<'_>, AcquireError> {
        self.locked.acquire(patience, |held| {
            if held.version().is_lent() {
                told(held.flag());
                crash::point();
                let place = held.aligned_place::<T>(at, size_of::<T>());
                // SAFETY: checked to lie in the data, initialised; the lock is held, and no reader is in.
                unsafe { cells::repair(place.as_ptr(), 1) };
            }
            held.end_write();
        })
    }

    /// A copy of the value at `at`, made without a lock; `None` while a writer changes it.
    ///
    /// # Panics
    /// If the value does not lie in the data.
    #[must_use]
    pub fn glimpse<T: Element>(&self, at: usize) -> Option<T> {
        let mut flag = 0;
        self.locked.glimpse(|_| at, &mut flag)
    }

    /// Who has the lock alone, or waits for readers with it.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.locked.holder()
    }

    /// How many read at the moment, those among them that died.
    #[must_use]
    pub fn reader_count(&self) -> usize {
        self.readers().count()
    }

    fn address(&self) -> usize {
        self.head.addr().get()
    }
}

/// Where a reader begins to look for a slot.
#[inline]
fn current_line() -> usize {
    usize::try_from(current_cpu()).unwrap_or(0)
}

impl Clone for SharedLock {
    /// Makes another handle of the same lock.
    fn clone(&self) -> Self {
        Self { head: self.head, budget: Budget::before_a_lock(), locked: self.locked.clone() }
    }
}

impl Placed for SharedLock {
    const CLASS: u8 = 9;

    fn span(&self) -> &Span {
        self.locked.span()
    }
}

/// A value lent for reading, beside other readers. Dropping the guard ends that.
///
/// The guard belongs to the thread that took it. Until the drop, that thread refuses to fork, and an attempt to write
/// tells it that it would wait for itself.
#[derive(Debug)]
pub struct ReadGuard<'a, T> {
    data: NonNull<T>,
    lock: &'a SharedLock,
    slot: usize,
    /// In a forked child, an inherited guard is of an older generation, and gives the child no rights.
    taken: Generation,
    listed: ManuallyDrop<(reads::Listed, Filling)>,
    not_send: PhantomData<*const ()>,
}

impl<T> ReadGuard<'_, T> {
    /// Whether this process really reads. It does not if a forked child inherited this guard.
    #[inline]
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.taken == Generation::current()
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    /// # Panics
    /// In a forked child that inherited the guard: nothing keeps writers from the value there.
    #[inline]
    fn deref(&self) -> &T {
        if !self.is_held_here() {
            inherited();
        }
        // SAFETY: valid and aligned, as `read` found, in memory that the borrowed lock keeps mapped; while this process is
        // registered as a reader, nobody writes.
        unsafe { self.data.as_ref() }
    }
}

#[cold]
fn inherited() -> ! {
    panic!("the guard of a reader belongs to the process that took it, not to a forked child");
}

impl<T> Drop for ReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_held_here() {
            return;
        }
        self.lock.readers().leave(self.slot);
        // SAFETY: dropped here only, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.listed) };
    }
}

// SAFETY: sharing a guard shares `&T` only, and `Element` types are Sync.
unsafe impl<T: Sync> Sync for ReadGuard<'_, T> {}

const _: () = assert!(READS_MAX <= READERS_MAX);
