//! A lock with poison, which every object with a lock uses.
//!
//! | control word | meaning | stored by |
//! |---|---|---|
//! | the [version](mp_sys::locked::Version) | whether the data is lent, or being written under a journal; how often it has changed | the holder |
//! | the flag: poison | 0, [`POISONED`] | set by the holder, or by the next holder after a death; cleared by any process |
//!
//! After a holder has died, the next one looks at the version. If the data was lent, it may be half changed, so the next
//! holder stores the poison. Then it finishes a journal, and then it closes the version. If it dies between any two of these
//! steps, the holder after it does the same.
//!
//! A reader without the lock gets the copy and the poison of one closed version. The poison of a moment later would be wrong:
//! by then, another process may have repaired the data and cleared the poison.

use std::sync::atomic::{AtomicU32, Ordering};

use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::locked::{Brief, Held, Holder, Locked, Seen};
use mp_sys::memory::MemoryError;
use mp_sys::named::{Kind, Segment};
use mp_sys::robust::{AcquireError, Patience};
use mp_sys::span::Span;

use crate::arena;
use crate::element::Element;
use crate::error::{LockError, LockResult};
use crate::named::{self, NameError};

/// A holder died or panicked while the data was lent.
const POISONED: u32 = 1;

/// Finishes what a dead holder left half done, if the object keeps a journal. It must be repeatable.
pub(crate) type Redo = fn(&mut Held<'_>);

/// Does nothing, for an object without a journal.
pub(crate) fn no_journal(_: &mut Held<'_>) {}

/// The lock and the data of an object.
#[derive(Debug, Clone)]
pub(crate) struct Protected {
    locked: Locked,
    redo: Redo,
}

impl Protected {
    /// Allocates a lock with `data_len` zeroed bytes of data. `fill` writes the data before any other thread can see it.
    pub(crate) fn new(
        data_len: usize,
        redo: Redo,
        fill: impl FnOnce(&mut Held<'_>),
    ) -> Result<Self, MemoryError> {
        let wanted = data_len.saturating_add(mp_sys::locked::CONTROL_BYTES);
        let span = arena::allocate(wanted)?;
        let locked = Locked::new(span, fill).map_err(|span: Span| MemoryError::NoSpace {
            wanted: u64::try_from(wanted).unwrap_or(u64::MAX),
            available: u64::try_from(span.len()).unwrap_or(u64::MAX),
        })?;
        Ok(Self { locked, redo })
    }

    /// Like [`new`](Self::new), under a name: an object of `len` elements of type `T`.
    pub(crate) fn create<T>(
        (name, kind, len): (&str, Kind, usize),
        data_len: usize,
        redo: Redo,
        fill: impl FnOnce(&mut Held<'_>),
    ) -> Result<(Self, Segment), NameError> {
        let bytes = data_len.saturating_add(mp_sys::locked::CONTROL_BYTES);
        let (locked, segment) =
            named::create::<T, _>(name, kind, len, bytes, |span| Locked::new(span, fill))?;
        Ok((Self { locked, redo }, segment))
    }

    /// Opens the object with elements of type `T` that has this name, and returns its number of elements. `data_len_of`
    /// returns the number of bytes that so many elements need.
    pub(crate) fn open_named<T>(
        name: &str,
        kind: Kind,
        data_len_of: impl FnOnce(usize) -> Option<usize>,
        redo: Redo,
    ) -> Result<(Self, usize, Segment), NameError> {
        let attach = |len, span| {
            let locked = Locked::attach(span).ok()?;
            (data_len_of(len)? <= locked.data_len()).then_some(locked)
        };
        let (locked, segment) = named::open::<T, _>(name, kind, attach)?;
        // The number that `attach` received.
        let len = named::len_of(segment.description()).unwrap_or_default();
        Ok((Self { locked, redo }, len, segment))
    }

    /// Returns the lock that arrived in a message, if it has as much data as the object needs.
    pub(crate) fn arrived(locked: Locked, data_len: usize, redo: Redo) -> Option<Self> {
        (data_len <= locked.data_len()).then_some(Self { locked, redo })
    }

    /// Returns the lock itself, for a message.
    pub(crate) fn locked(&self) -> &Locked {
        &self.locked
    }

    /// Takes the lock without lending anything: a death under it poisons nothing.
    #[inline(always)]
    pub(crate) fn quiet(&self, patience: Patience) -> Result<Held<'_>, AcquireError> {
        self.locked.acquire(patience, |held| take_over(held, self.redo))
    }

    /// Like [`quiet`](Self::quiet), for a section in which no code of a user runs.
    #[inline(always)]
    pub(crate) fn brief(&self, patience: Patience) -> Result<Brief<'_>, AcquireError> {
        self.locked.acquire_briefly(patience, |held| take_over(held, self.redo))
    }

    /// Takes the lock and opens the section: a death or panic under it poisons.
    #[inline(always)]
    pub(crate) fn open(&self, patience: Patience) -> Result<Held<'_>, AcquireError> {
        Ok(open_section(self.quiet(patience)?))
    }

    /// Copies a value without the lock. Returns `None` if other threads keep changing the data, or if one died while changing
    /// it; then the caller takes the lock. `place` returns the offset of the value at this version.
    #[inline]
    pub(crate) fn glimpse<T: Element>(&self, place: impl Fn(Seen) -> usize) -> Option<LockResult<T>> {
        let mut flag = 0;
        self.locked.glimpse(place, &mut flag).map(|copied| poisoned_if(flag, copied))
    }

    /// Like [`glimpse`](Self::glimpse), for values that lie side by side from `at` on.
    pub(crate) fn glimpse_slice<T: Element>(&self, at: usize, into: &mut [T]) -> Option<LockResult<()>> {
        self.locked.glimpse_slice(at, into).map(|flag| poisoned_if(flag, ()))
    }

    /// Returns the holder of the lock.
    pub(crate) fn holder(&self) -> Holder {
        self.locked.holder()
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        is_poisoned(self.locked.flag())
    }

    pub(crate) fn clear_poison(&self) {
        clear_poison(self.locked.flag());
    }

    /// Poisons the data. A guard that a panic drops calls this while it holds the lock.
    #[cold]
    pub(crate) fn poison(&self) {
        poison(self.locked.flag());
    }

    /// Returns the result of an operation, inside the error if the data is poisoned.
    // Not `always`: in debug builds, all copies of a large value would be in the caller's frame.
    #[inline]
    pub(crate) fn unless_poisoned<G>(&self, given: G) -> LockResult<G> {
        if self.is_poisoned() {
            return Err(LockError::Poisoned(given));
        }
        Ok(given)
    }
}

#[inline]
fn poisoned_if<G>(flag: u32, given: G) -> LockResult<G> {
    if flag == 0 { Ok(given) } else { Err(LockError::Poisoned(given)) }
}

/// The words for poison in `Debug`, after a lock's holder or value.
pub(crate) fn poison_text(is_poisoned: bool) -> &'static str {
    if is_poisoned { ", poisoned" } else { "" }
}

#[inline]
pub(crate) fn is_poisoned(flag: &AtomicU32) -> bool {
    flag.load(Ordering::Relaxed) != 0
}

pub(crate) fn clear_poison(flag: &AtomicU32) {
    flag.store(0, Ordering::Release);
}

#[cold]
pub(crate) fn poison(flag: &AtomicU32) {
    flag.store(POISONED, Ordering::Release);
}

/// Opens the section: from here on, the data may be half changed. The release of the lock closes it.
#[inline(always)]
pub(crate) fn open_section(held: Held<'_>) -> Held<'_> {
    let held = held.open_section();
    crash::point();
    held
}

/// Repairs the data after the newest holder has died.
#[cold]
pub(crate) fn take_over(held: &mut Held<'_>, redo: Redo) {
    if held.version().is_lent() {
        poison(held.flag());
        crash::point();
    }
    redo(held);
    // Whatever the dead holder was doing, the data is now whole or poisoned.
    held.end_write();
}

/// The guard's part of the poison rule: as in `std::sync`, a panic that started while the guard was alive poisons.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanicWatch {
    panicking_before: bool,
}

impl PanicWatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Self { panicking_before: std::thread::panicking() }
    }

    #[inline]
    pub(crate) fn panicked(self) -> bool {
        !self.panicking_before && std::thread::panicking()
    }
}

/// The patience that waits for ever.
pub(crate) const FOR_EVER: Patience = Patience::Until(Deadline::NEVER);

pub(crate) fn within(timeout: std::time::Duration) -> Patience {
    Patience::Until(Deadline::after(timeout))
}
