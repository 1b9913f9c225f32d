//! Places for waiting processes, in a span: each has a signal of its own.

use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::adaptive::Signal;
use crate::span::{SPAN_ALIGN, Span};

/// What all places share, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct WaitersHead {
    /// The newest ticket that was given out.
    pub tickets: AtomicU64,
    /// One more than the highest place that was ever taken: nobody has to look beyond.
    pub used: AtomicU64,
    /// When somebody last looked for the dead, in nanoseconds since boot.
    pub last_look: AtomicU64,
}

/// The place of one waiting process.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct WaiterPlace {
    /// The stamp of the process that has the place, 0 if nobody has.
    pub owner: AtomicU64,
    /// Its turn: smaller tickets came earlier. 0 while the place is being taken or left.
    pub ticket: AtomicU64,
    /// The newest ticket there was when this waiter was notified.
    pub notified_at: AtomicU64,
    /// What it waits on.
    pub signal: Signal,
}

impl WaiterPlace {
    /// Makes one step of the place's life, if it is where the caller thinks.
    pub fn exchange_owner(&self, from: u64, to: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == from
            && self.owner.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

/// Places for waiting processes. All zero is a valid start: nobody waits.
#[derive(Debug)]
pub struct Waiters {
    head: NonNull<WaitersHead>,
    places: NonNull<WaiterPlace>,
    count: usize,
    _span: Span,
}

// SAFETY: head and places are atomics only, and the span keeps them mapped.
unsafe impl Send for Waiters {}
// SAFETY: as above.
unsafe impl Sync for Waiters {}

impl Waiters {
    /// Bytes that a span for `count` places needs; `None` if that overflows.
    #[must_use]
    pub fn bytes_for(count: usize) -> Option<usize> {
        count.checked_mul(size_of::<WaiterPlace>())?.checked_add(size_of::<WaitersHead>())
    }

    /// Lays `count` places into `span`, as they are there; gives the span back if it is too small.
    ///
    /// # Errors
    /// The span, if it has fewer than [`Self::bytes_for`]`(count)` bytes.
    pub fn new(span: Span, count: usize) -> Result<Self, Span> {
        if Self::bytes_for(count).is_none_or(|bytes| bytes > span.len()) {
            return Err(span);
        }
        let head = span.start().cast();
        // SAFETY: the span has room for the head and `count` places behind it, as was just found.
        let places = unsafe { span.start().add(size_of::<WaitersHead>()) }.cast();
        Ok(Self { head, places, count, _span: span })
    }

    /// What all places share.
    #[must_use]
    pub fn head(&self) -> &WaitersHead {
        // SAFETY: at the aligned start of a span that `self` keeps; any bits are valid.
        unsafe { self.head.as_ref() }
    }

    /// The places that were ever taken.
    #[must_use]
    pub fn used_places(&self) -> &[WaiterPlace] {
        let used = usize::try_from(self.head().used.load(Ordering::SeqCst)).unwrap_or(self.count);
        self.places().get(..used.min(self.count)).unwrap_or_default()
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
