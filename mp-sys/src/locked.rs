//! Data in shared memory that only the holder of its lock can reach.
//!
//! A [`Locked`] owns a span: a robust lock, control words, and data. Anybody may read the control words. Only [`Held`],
//! which exists while this thread holds the lock, reaches the data, or a [`Guard`] made from it, which lends the data
//! in place as `&mut T`. That is exclusive because the span is (no other object of this process lies there) and the
//! lock is (across processes as well), and valid because the types accept any bits.
//!
//! Without the lock, data can only be copied. A copy is thrown away if the version shows that it may be a mixture.
//!
//! | offset | what |
//! |---|---|
//! | 0 | the lock (40 bytes with glibc on x86-64) |
//! | [`CONTROL_BYTES`] - 16 | the [`Version`], 8 bytes |
//! | [`CONTROL_BYTES`] - 8 | a flag of 4 bytes, whose meaning the tier defines; 4 unused bytes |
//! | [`CONTROL_BYTES`] | data |

mod access;
mod brief;
mod glimpse;
mod guard;
mod holder;
mod readers;
mod reads;
mod shared;
mod signalled;
pub(crate) mod suspects;
mod taken;
mod version;

use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

pub use self::brief::Brief;
pub use self::guard::Guard;
pub use self::holder::Holder;
pub use self::readers::READERS_MAX;
pub use self::reads::READS_MAX;
pub use self::shared::{ReadError, ReadGuard, SharedLock};
pub use self::signalled::SignalledLock;
use self::taken::Taken;
pub use self::version::{Seen, Version};
use crate::cells::{self, Element};
use crate::crash;
use crate::named::{ExistingSpan, Placed};
use crate::robust::{AcquireError, Acquired, Filling, Generation, Patience, RobustMutex};
use crate::span::{SPAN_ALIGN, Span};
use crate::word::Shared;

/// Bytes before the data.
pub const CONTROL_BYTES: usize = size_of::<Control>();

#[repr(C)]
struct Control {
    mutex: RobustMutex,
    version: Version,
    flag: AtomicU32,
    unused: AtomicU32,
}

/// A lock in shared memory, and the data that it protects.
pub struct Locked {
    control: NonNull<Control>,
    data_len: usize,
    span: Span,
}

// SAFETY: everything behind the pointer is reached through a process-shared mutex or atomics; the span owns the mapping.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    /// Makes a free lock in `span`, over the data that is there; version and flag become 0. `fill` may write the data
    /// first. It takes no lock for that: nobody knows it yet.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`CONTROL_BYTES`] bytes.
    pub fn new(span: Span, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, Span> {
        Self::new_behind(0, span, fill)
    }

    /// Does the same, and leaves `lead` bytes, whole cache lines, in front.
    fn new_behind(lead: usize, span: Span, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, Span> {
        let locked = Self::over_behind(lead, span)?;
        // SAFETY: the span is exclusively owned, has room for a lock there, and is aligned to a cache line; the mutex is
        // the first field.
        unsafe { RobustMutex::init(locked.control.cast().as_ptr()) };
        let control = locked.control();
        control.version.reset();
        control.flag.store(0, Ordering::Relaxed);
        control.unused.store(0, Ordering::Relaxed);
        let filling = Filling::start();
        // Dropping this releases nothing: the lock is not in the thread's list.
        fill(&mut Held::new(&locked));
        drop(filling);
        Ok(locked)
    }

    /// Returns a handle of a lock that this process or another one made before.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`CONTROL_BYTES`] bytes.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        Self::over(existing.into_span())
    }

    pub(crate) fn over(span: Span) -> Result<Self, Span> {
        Self::over_behind(0, span)
    }

    fn over_behind(lead: usize, span: Span) -> Result<Self, Span> {
        let Some(data_len) = span.len().checked_sub(CONTROL_BYTES).and_then(|len| len.checked_sub(lead))
        else {
            return Err(span);
        };
        // SAFETY: the check above found that the span has `lead` bytes and room for the control part behind them.
        let control = unsafe { span.start().add(lead) }.cast();
        Ok(Self { control, data_len, span })
    }

    #[inline]
    fn control(&self) -> &Control {
        // SAFETY: the span keeps the memory mapped, and everything in `Control` is made for shared use.
        unsafe { self.control.as_ref() }
    }

    /// A word whose meaning the tier defines. Any process may read it; the tier decides who may store to it.
    #[inline]
    #[must_use]
    pub fn flag(&self) -> &AtomicU32 {
        &self.control().flag
    }

    /// The version of the data. Any process may read it.
    #[inline]
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.control().version
    }

    /// Bytes of data.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.data_len
    }

    /// Takes the lock. If its newest owner died, `repair` runs before any other process can get the lock. A process
    /// that dies in `repair` leaves the repair to the next locker.
    ///
    /// # Errors
    /// [`AcquireError`]; the lock is then not held.
    #[inline(always)]
    pub fn acquire(
        &self,
        patience: Patience,
        repair: impl FnOnce(&mut Held<'_>),
    ) -> Result<Held<'_>, AcquireError> {
        let acquired = self.control().mutex.acquire(patience)?;
        // Two values, so that the one on the fast path never has an address.
        if acquired == Acquired::Clean { Ok(Held::new(self)) } else { Ok(self.take_over(repair)) }
    }

    /// Takes the lock as [`acquire`](Self::acquire) does, for a section as [`Brief`] describes it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[inline(always)]
    pub fn acquire_briefly(
        &self,
        patience: Patience,
        repair: impl FnOnce(&mut Held<'_>),
    ) -> Result<Brief<'_>, AcquireError> {
        let acquired = self.control().mutex.acquire_briefly(patience)?;
        let mut brief = Brief::new(Held::new(self));
        if acquired == Acquired::OwnerDied {
            brief.repair(repair);
        }
        Ok(brief)
    }

    #[cold]
    fn take_over(&self, repair: impl FnOnce(&mut Held<'_>)) -> Held<'_> {
        let mut held = Held::new(self);
        repair(&mut held);
        crash::point();
        held
    }

    /// The lock as held, if the calling thread holds it. Only for locks that lend no data: another `Held` may exist.
    pub(crate) fn held_here(&self) -> Option<Held<'_>> {
        self.is_held_here().then(|| Held::closing_section(self))
    }

    /// Whether the calling thread holds the lock.
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.control().mutex.held_here()
    }

    /// The address of `bytes` bytes of data from `at` on.
    ///
    /// # Panics
    /// If they do not lie in the data: the tiers compute offsets from the sizes they made the span for.
    #[inline]
    fn place(&self, at: usize, bytes: usize) -> NonNull<u8> {
        let inside = at.checked_add(bytes).is_some_and(|end| end <= self.data_len);
        assert!(inside, "an access lies inside the locked data");
        // SAFETY: the data begins CONTROL_BYTES behind the start of the span, and `at` lies inside it.
        unsafe { self.control.cast::<u8>().add(CONTROL_BYTES.wrapping_add(at)) }
    }
}

impl Placed for Locked {
    const CLASS: u8 = 1;

    fn span(&self) -> &Span {
        &self.span
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // By a guard of another handle, or by a forgotten one. The drop of the last handle shows which.
        if suspects::is_held_by_this_process(self.control()) {
            suspects::note(self);
            self.span.never_go_home();
        }
    }
}

/// A held lock: access to its data. Dropping it releases the lock.
///
/// It belongs to the thread that took it. In a forked child, dropping an inherited one does nothing.
#[derive(Debug)]
pub struct Held<'a> {
    locked: &'a Locked,
    /// When the lock was taken, and whether the release closes the version: one word for both, which saves 10 ns.
    taken: Taken,
    /// A robust lock belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl<'a> Held<'a> {
    #[inline(always)]
    fn new(locked: &'a Locked) -> Self {
        Self { locked, taken: Taken::now(), not_send: PhantomData }
    }

    fn closing_section(locked: &'a Locked) -> Self {
        Self { locked, taken: Taken::now().closing_section(), not_send: PhantomData }
    }

    /// Consumes this value without releasing the lock.
    #[expect(clippy::mem_forget, reason = "the lock stays held, and is released through another value")]
    pub(crate) fn stay_held(self) {
        std::mem::forget(self);
    }

    /// Whether the calling thread really holds the lock. It does not if a forked child inherited this value.
    #[inline(always)]
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.taken.generation() == Generation::current() && self.locked.is_held_here()
    }

    /// Continues after code that may have forked, such as a user's closure. A child that returned from it holds no
    /// lock.
    ///
    /// # Panics
    /// In such a child.
    #[inline]
    pub fn refuse_inherited(&self) {
        if self.taken.generation() != Generation::current() {
            guard::inherited();
        }
    }

    /// The flag.
    #[inline]
    #[must_use]
    pub fn flag(&self) -> &'a AtomicU32 {
        self.locked.flag()
    }

    /// The version.
    #[inline]
    #[must_use]
    pub fn version(&self) -> &'a Version {
        self.locked.version()
    }

    /// Marks the data as lent until the lock is released: nobody copies it meanwhile, and the process that takes over
    /// from a dead owner finds the mark. (A guard that a forked child inherited stores nothing.)
    #[inline(always)]
    #[must_use]
    pub fn open_section(mut self) -> Self {
        self.version().lend();
        self.taken = self.taken.closing_section();
        self
    }

    /// Marks the data as being written. Nobody copies it until [`end_write`](Self::end_write), or until the process
    /// that takes over from a dead owner has closed the version.
    #[inline(always)]
    pub fn begin_write(&mut self) {
        self.version().begin_write();
        crash::point();
    }

    /// Moves the data to the tier's other slot, which was written while nobody read it.
    #[inline(always)]
    pub fn flip(&mut self) {
        self.version().flip();
        crash::point();
    }

    /// Returns the tier's slot that does not hold the data, for the caller to write. A reader may still be copying it,
    /// but then finds that the data has moved.
    #[inline(always)]
    #[must_use]
    pub fn unused_slot(&mut self) -> usize {
        version::before_any_change::<Shared>();
        self.version().slot() ^ 1
    }

    /// Marks the data as whole.
    #[inline(always)]
    pub fn end_write(&mut self) {
        self.version().close();
        crash::point();
    }

    /// Lends one value in place.
    ///
    /// # Panics
    /// If it does not lie aligned in the data.
    #[inline]
    #[must_use]
    pub fn into_guard<T: Element>(self, at: usize) -> Guard<'a, T> {
        let place = self.aligned_place::<T>(at, size_of::<T>());
        // SAFETY: checked to lie in the data, initialised; the lock is held. If this panics, no guard exists.
        unsafe { cells::repair_in_place(place.as_ptr(), 1) };
        // SAFETY: a valid `T` by now, in the data, aligned.
        unsafe { Guard::new(place, self) }
    }

    /// Lends `len` values in place.
    ///
    /// # Panics
    /// If they do not lie aligned in the data.
    #[inline]
    #[must_use]
    pub fn into_slice_guard<T: Element>(self, at: usize, len: usize) -> Guard<'a, [T]> {
        let bytes = len.checked_mul(size_of::<T>()).expect("an access lies inside the locked data");
        let place = self.aligned_place::<T>(at, bytes);
        // SAFETY: as in `into_guard`.
        unsafe { cells::repair_in_place(place.as_ptr(), len) };
        // SAFETY: `len` valid values by now, in the data, aligned.
        unsafe { Guard::new(NonNull::slice_from_raw_parts(place, len), self) }
    }

    #[inline]
    fn aligned_place<T>(&self, at: usize, bytes: usize) -> NonNull<T> {
        self.locked.aligned_place(at, bytes)
    }
}

impl Locked {
    #[inline]
    fn aligned_place<T>(&self, at: usize, bytes: usize) -> NonNull<T> {
        const { assert!(align_of::<T>() <= SPAN_ALIGN, "a span starts at a multiple of 64") };
        let from_start = CONTROL_BYTES.wrapping_add(at);
        // `at` is a constant where this is inlined, and so is the result.
        assert!(from_start.is_multiple_of(align_of::<T>()), "an access is aligned");
        self.place(at, bytes).cast()
    }
}

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.locked.control().mutex.release(self.taken.generation(), || {
            if self.taken.closes_section() {
                self.locked.version().close();
                crash::point();
            }
        });
    }
}

const _: () = assert!(CONTROL_BYTES.is_multiple_of(8) && CONTROL_BYTES < SPAN_ALIGN);
