//! Places for waiting processes, in a span. Each place has its own signal.

use std::mem::size_of;
use std::ptr::NonNull;

use crate::adaptive::{Signal, Watch};
use crate::named::{ExistingSpan, Placed};
use crate::span::{SPAN_ALIGN, Span};
use crate::word::{Shared, Words};

/// What all places share, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct WaitersHead<W: Words = Shared> {
    /// The newest ticket that was handed out.
    pub tickets: W::Word64,
    /// One more than the highest place that was ever taken: nobody has to look beyond it.
    pub used: W::Word64,
    /// Which of the waiters wake up often, and when a process last looked for the dead.
    pub watch: Watch<W>,
    /// How often processes have looked.
    pub looks: W::Word64,
}

/// The place of one waiting process.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct WaiterPlace<W: Words = Shared> {
    /// The stamp of the process that has the place, or 0 if the place is free.
    pub owner: W::Word64,
    /// The turn of the waiter: smaller tickets came earlier. 0 while the place is being taken or left.
    pub ticket: W::Word64,
    /// The newest ticket at the time when this waiter was notified.
    pub notified_at: W::Word64,
    /// What the waiter waits on.
    pub signal: Signal<W>,
}

/// Places for waiting processes. All zeros are a valid start: nobody waits.
#[derive(Debug)]
pub struct Waiters {
    head: NonNull<WaitersHead>,
    places: NonNull<WaiterPlace>,
    count: usize,
    span: Span,
}

// SAFETY: head and places are atomics only, and the span keeps them mapped.
unsafe impl Send for Waiters {}
// SAFETY: as above.
unsafe impl Sync for Waiters {}

impl Clone for Waiters {
    /// Makes another handle of the same places.
    fn clone(&self) -> Self {
        Self { head: self.head, places: self.places, count: self.count, span: self.span.twin() }
    }
}

impl Placed for Waiters {
    const CLASS: u8 = 8;

    fn span(&self) -> &Span {
        &self.span
    }
}

impl Waiters {
    /// Bytes of a span for `count` places, or `None` if that overflows.
    #[must_use]
    pub fn bytes_for(count: usize) -> Option<usize> {
        count.checked_mul(size_of::<WaiterPlace>())?.checked_add(size_of::<WaitersHead>())
    }

    /// Makes `count` places of the bytes in `span`, as they are.
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(count)` bytes.
    pub fn new(span: Span, count: usize) -> Result<Self, Span> {
        if Self::bytes_for(count).is_none_or(|bytes| bytes > span.len()) {
            return Err(span);
        }
        let head = span.start().cast();
        // SAFETY: the check above found that the span has room for the head and `count` places behind it.
        let places = unsafe { span.start().add(size_of::<WaitersHead>()) }.cast();
        Ok(Self { head, places, count, span })
    }

    /// Returns a handle of places that this process or another one made before.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn attach(existing: ExistingSpan<Self>, count: usize) -> Result<Self, Span> {
        Self::new(existing.into_span(), count)
    }

    /// What all places share.
    #[must_use]
    pub fn head(&self) -> &WaitersHead {
        // SAFETY: at the aligned start of a span that `self` keeps; any bits are valid.
        unsafe { self.head.as_ref() }
    }

    /// All places.
    #[must_use]
    pub fn places(&self) -> &[WaiterPlace] {
        // SAFETY: `count` places lie behind the head, at a multiple of 64, in the span that `self` keeps; any bits are
        // valid, and only atomics access them.
        unsafe { NonNull::slice_from_raw_parts(self.places, self.count).as_ref() }
    }
}

const _: () = assert!(size_of::<WaitersHead>() == SPAN_ALIGN && size_of::<WaiterPlace>() == SPAN_ALIGN);
