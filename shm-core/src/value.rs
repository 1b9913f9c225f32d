//! `Value<T>`: one value in shared memory, behind its own lock.
//!
//! # How a value is never half written
//! A value of at most 8 bytes is one word, and `set` is one store. A larger one has two slots. The lock's version names the
//! current slot; `set` writes the other slot, then the version. Either way, a process that dies in `set`, `replace` or
//! `update` has stored all of the new value or nothing, so these never poison. [`Value::lock`] lends the value in place, so a
//! death under its guard does poison.
//!
//! | offset, aligned | at most 8 bytes | larger |
//! |---|---|---|
//! | 0 | the value | slot 0, slot 1 |
//!
//! # How a value is read without its lock
//! A reader copies the value between two looks at the version. The copy counts if both looks find the same version, and it
//! says that nobody changes the value in place. A store of a small value needs no new version, because the copy is one load.
//! A larger value is copied from the slot that the version names; before that slot is written again, the version changes.

use std::fmt;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use mp_sys::crash;
use mp_sys::line::Short;
use mp_sys::locked::{CONTROL_BYTES, Guard, Held, Locked};
use mp_sys::memory::MemoryError;
use mp_sys::named::{ExistingSpan, Segment, What};
use mp_sys::robust::Patience;
use mp_sys::span::SPAN_ALIGN;

use crate::element::Element;
use crate::error::{LockError, LockResult};
use crate::kind;
use crate::named::{self, NameError};
use crate::protected::{FOR_EVER, PanicWatch, Protected, no_journal, poison_text, within};
use crate::travel::{Parts, Travels, travels};

/// Bytes of a word.
const WORD: usize = 8;

/// One value that processes share, behind a lock.
///
/// | property | |
/// |---|---|
/// | size | 64 bytes of shared memory for a `T` of at most 8 bytes; otherwise 56 bytes and two `T`, rounded up |
/// | shared with | processes forked after it was made; by [name](crate::named), any process of this user |
/// | reentrant | no: if this thread holds the guard, every use of the value returns [`LockError::Deadlock`], and `try_lock` returns [`LockError::WouldBlock`] |
/// | fair | no |
/// | reading | [`get`](Self::get) takes no lock, unless another thread is changing the value at that moment |
/// | recovers | at once: the kernel wakes a waiter when the holder dies |
/// | drop | closes this process's handle; the value lives as long as any process has a handle |
///
/// # Fork safety
/// A forked child shares the value. It never holds its parent's locks: an inherited guard does nothing there.
///
/// # Crash
/// `set`, `replace` and `update` store the whole value or nothing, and never poison. A process that dies while it holds the
/// guard of [`lock`](Self::lock) poisons the value: every operation then returns [`LockError::Poisoned`], with the value or
/// the guard inside, until [`clear_poison`](Self::clear_poison) is called.
///
/// # Source
/// Python's `multiprocessing.Value`. There `v.value += 1` loses updates and a dead holder keeps the lock for ever; here
/// [`update`](Self::update) is atomic.
///
/// # Examples
/// ```
/// # extern crate shm_core as mp;
/// use mp::Value;
///
/// let hits = Value::new(0_u64)?;
/// hits.update(|n| n + 1)?; // atomic between processes
/// *hits.lock().unwrap() += 1; // lends the value in place
/// assert_eq!(hits.get()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Mutex")]
#[doc(alias = "Synchronized")]
#[derive(Clone)]
pub struct Value<T: Element> {
    protected: Protected,
    value: PhantomData<T>,
    /// Dropped after the lock, which is inside it.
    segment: Option<Segment>,
}

impl<T: Element> Value<T> {
    /// Whether the value is one word, which one store replaces.
    const IS_SMALL: bool = size_of::<T>() <= WORD && align_of::<T>() <= WORD;
    /// The alignment of a slot.
    const ALIGN: usize = {
        assert!(size_of::<T>() > 0, "a value has at least one byte");
        assert!(align_of::<T>() <= SPAN_ALIGN, "a value is aligned to at most 64 bytes");
        if align_of::<T>() > WORD { align_of::<T>() } else { WORD }
    };
    /// The offset of the value, or of slot 0, in the data.
    const FIRST: usize = CONTROL_BYTES.next_multiple_of(Self::ALIGN) - CONTROL_BYTES;
    /// The number of bytes from slot 0 to slot 1.
    const SLOT: usize = size_of::<T>().next_multiple_of(Self::ALIGN);
    const SECOND: usize = Self::FIRST + Self::SLOT;
    const DATA_BYTES: usize = if Self::IS_SMALL { WORD } else { Self::SECOND + Self::SLOT };

    /// Creates a value in shared memory.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no shared memory for it.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        let fill = |held: &mut Held<'_>| Self::commit(held, value);
        let protected = Protected::new(Self::DATA_BYTES, no_journal, fill)?;
        Ok(Self { protected, value: PhantomData, segment: None })
    }

    /// Creates a value under a name, which other programs of this user can open.
    ///
    /// # Errors
    /// [`NameError::Exists`] if a living process uses the name; [`NameError::BadName`]; or a shortage of memory or
    /// descriptors.
    pub fn create(name: &str, value: T) -> Result<Self, NameError> {
        let fill = |held: &mut Held<'_>| Self::commit(held, value);
        let (protected, segment) =
            Protected::create::<T>((name, kind::VALUE, 1), Self::DATA_BYTES, no_journal, fill)?;
        Ok(Self { protected, value: PhantomData, segment: Some(segment) })
    }

    /// Opens the value of this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also for a name that killed processes left; [`NameError::WrongType`] for another kind of
    /// object or another `T`; [`NameError::WrongVersion`] for an incompatible build.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let (protected, _, segment) =
            Protected::open_named::<T>(name, kind::VALUE, |_| Some(Self::DATA_BYTES), no_journal)?;
        Ok(Self { protected, value: PhantomData, segment: Some(segment) })
    }

    /// Returns the value that the newest `set`, `replace`, `update` or guard has stored.
    ///
    /// This takes no lock and delays nobody: any number of threads and processes can read at the same time. While a guard
    /// lends the value, `get` waits for the guard, as [`lock`](Self::lock) does.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the value inside, which may be half changed. [`LockError::Deadlock`] while this thread
    /// holds the guard: read through the guard instead.
    #[doc(alias = "value")]
    #[inline]
    pub fn get(&self) -> LockResult<T> {
        match self.protected.glimpse(|seen| Self::slot(seen.slot())) {
            Some(outcome) => outcome,
            None => self.get_locked(),
        }
    }

    /// Reads under the lock, for a value that another thread is changing, or was changing when it died.
    #[cold]
    fn get_locked(&self) -> LockResult<T> {
        let held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        self.protected.unless_poisoned(Self::current(&held))
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with `value` inside, which was not stored; otherwise the same as [`get`](Self::get).
    #[doc(alias = "value")]
    #[inline]
    pub fn set(&self, value: T) -> Result<(), LockError<T>> {
        let mut held = self.protected.brief(FOR_EVER).map_err(LockError::refused)?;
        let value = self.protected.unless_poisoned(value)?;
        Self::commit(&mut held, value);
        Ok(())
    }

    /// Replaces the value and returns the previous value.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with `value` inside, which was not stored; otherwise the same as [`get`](Self::get).
    #[inline]
    pub fn replace(&self, value: T) -> LockResult<T> {
        let mut held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        let value = self.protected.unless_poisoned(value)?;
        let previous = Self::current(&held);
        Self::commit(&mut held, value);
        Ok(previous)
    }

    /// Replaces the value with what `change` makes of it, atomically among all processes, and returns the previous value.
    ///
    /// The lock is held while `change` runs. If it panics, or the process dies in it, nothing has changed.
    ///
    /// # Panics
    /// In a child that `change` forked by means that did not refuse: the parent holds the lock.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the value inside, and `change` did not run; otherwise the same as [`get`](Self::get).
    #[inline]
    pub fn update(&self, change: impl FnOnce(T) -> T) -> LockResult<T> {
        let mut held = self.protected.quiet(FOR_EVER).map_err(LockError::refused)?;
        let previous = self.protected.unless_poisoned(Self::current(&held))?;
        let changed = change(previous);
        held.refuse_inherited();
        Self::commit(&mut held, changed);
        Ok(previous)
    }

    /// Waits until the lock is free, takes it, and lends the value in place.
    ///
    /// # Errors
    /// [`LockError::Poisoned`] with the guard inside: the caller holds the lock. [`LockError::Deadlock`] and
    /// [`LockError::TooManyHeld`]: the caller does not hold it.
    #[doc(alias = "get_lock")]
    #[doc(alias = "get_obj")]
    #[doc(alias = "acquire")]
    #[inline(always)]
    pub fn lock(&self) -> LockResult<ValueGuard<'_, T>> {
        self.lock_with(FOR_EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if the lock is held; otherwise the same as [`lock`](Self::lock).
    pub fn try_lock(&self) -> LockResult<ValueGuard<'_, T>> {
        self.lock_with(Patience::None)
    }

    /// Takes the lock, waiting at most `timeout` (monotonic clock; `Duration::MAX` waits for ever).
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if the lock did not become free in time; otherwise the same as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> LockResult<ValueGuard<'_, T>> {
        self.lock_with(within(timeout))
    }

    #[inline(always)]
    fn lock_with(&self, patience: Patience) -> LockResult<ValueGuard<'_, T>> {
        // First, so that the answer is known before the lock's exchange has finished.
        let watch = PanicWatch::start();
        let held = self.protected.open(patience).map_err(LockError::refused)?;
        let at = Self::current_place(&held);
        let guard = ValueGuard { owner: self, watch, data: held.into_guard(at) };
        self.protected.unless_poisoned(guard)
    }

    /// Returns whether a holder died or panicked and nobody has called `clear_poison` since.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.protected.is_poisoned()
    }

    /// Declares that the value is in order again, typically after a good one was stored through the poisoned guard.
    pub fn clear_poison(&self) {
        self.protected.clear_poison();
    }

    #[inline]
    fn slot(slot: usize) -> usize {
        if Self::IS_SMALL || slot == 0 { Self::FIRST } else { Self::SECOND }
    }

    #[inline]
    fn current_place(held: &Held<'_>) -> usize {
        Self::slot(held.version().slot())
    }

    #[inline]
    fn current(held: &Held<'_>) -> T {
        held.read(Self::current_place(held))
    }

    /// Stores the value so that a death at any instruction leaves the old value or the new one.
    #[inline]
    fn commit(held: &mut Held<'_>, value: T) {
        if Self::IS_SMALL {
            held.store_word(Self::FIRST, word_of(value));
            crash::point();
        } else {
            let unused = held.unused_slot();
            held.write(Self::slot(unused), value);
            crash::point();
            held.flip();
        }
    }
}

/// Puts a small value at the start of a word.
#[inline]
fn word_of<T: Element>(value: T) -> u64 {
    let mut word = [0_u8; WORD];
    for (slot, byte) in word.iter_mut().zip(bytemuck::bytes_of(&value)) {
        *slot = *byte;
    }
    u64::from_ne_bytes(word)
}

impl<T: Element> Travels for Value<T> {
    type Object = Locked;

    fn what() -> What {
        named::of::<T>(kind::VALUE)
    }

    fn parts(&self) -> Parts<'_, Locked> {
        Parts { object: self.protected.locked(), count: 1, segment: self.segment.as_ref() }
    }

    fn arrive(object: ExistingSpan<Locked>, _: usize) -> Option<Self> {
        let locked = Locked::attach(object).ok()?;
        let protected = Protected::arrived(locked, Self::DATA_BYTES, no_journal)?;
        Some(Self { protected, value: PhantomData, segment: None })
    }

    fn open_named(name: &str) -> Result<Self, NameError> {
        Self::open(name)
    }
}

travels!(Value<T: Element>);

// Like std's locks and atomics: poison reports what a panic left.
impl<T: Element> UnwindSafe for Value<T> {}
impl<T: Element> RefUnwindSafe for Value<T> {}

impl<T: Element + fmt::Debug> fmt::Debug for Value<T> {
    /// Shows the value, or its holder while it is lent. It takes no lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poison = poison_text(self.is_poisoned());
        // Copied first, because the value's own `Debug` may take long.
        match self.protected.glimpse(|seen| Self::slot(seen.slot())) {
            Some(Ok(value) | Err(LockError::Poisoned(value))) => {
                write!(f, "Value({}{poison})", Short::<T>(&value))
            }
            _ => write!(f, "Value({}{poison})", self.protected.holder()),
        }
    }
}

/// A [`Value`] lent in place. Dropping it releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
///
/// # Panics
/// Reading or writing through a guard that a forked child inherited: the parent holds the lock. `mp::fork` refuses while the
/// caller holds a guard; other ways to fork do not.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ValueGuard<'a, T: Element> {
    owner: &'a Value<T>,
    watch: PanicWatch,
    data: Guard<'a, T>,
}

impl<'a, T: Element> ValueGuard<'a, T> {
    pub(crate) fn owner(&self) -> &'a Value<T> {
        self.owner
    }
}

impl<T: Element> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Element> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: Element> Drop for ValueGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // An inherited guard, in a forked child, holds nothing.
        if self.watch.panicked() && self.data.is_held_here() {
            self.owner.protected.poison();
        }
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data.is_inherited() {
            return f.write_str("ValueGuard(its parent's)");
        }
        write!(f, "ValueGuard({})", Short(&*self.data))
    }
}
