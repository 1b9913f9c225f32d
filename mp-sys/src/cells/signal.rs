//! A word that several processes wait on, in a span: alone, or with other words behind it.

use std::mem::size_of;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::adaptive::Signal;
use crate::named::{ExistingSpan, Placed};
use crate::span::{SPAN_ALIGN, Span};

/// A [`Signal`] in a span: a word that several processes wait on.
#[derive(Debug)]
pub struct SharedSignal {
    place: NonNull<Signal>,
    span: Span,
}

// SAFETY: a signal is atomics only, and the span keeps it mapped.
unsafe impl Send for SharedSignal {}
// SAFETY: as above.
unsafe impl Sync for SharedSignal {}

impl SharedSignal {
    /// Makes a signal of the bytes in `span`, as they are (zero is a valid start).
    ///
    /// # Errors
    /// Returns the span if it is too small.
    pub fn new(span: Span) -> Result<Self, Span> {
        if span.len() < size_of::<Signal>() {
            return Err(span);
        }
        Ok(Self { place: span.start().cast(), span })
    }

    /// Returns a handle of a signal that this process or another one made before.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        Self::new(existing.into_span())
    }
}

impl Clone for SharedSignal {
    /// Makes another handle of the same signal.
    fn clone(&self) -> Self {
        Self { place: self.place, span: self.span.twin() }
    }
}

impl Placed for SharedSignal {
    const CLASS: u8 = 6;

    fn span(&self) -> &Span {
        &self.span
    }
}

impl Deref for SharedSignal {
    type Target = Signal;

    fn deref(&self) -> &Signal {
        // SAFETY: `new` found room for a signal at the aligned start of a span that nothing else uses; any bits are a
        // valid signal.
        unsafe { self.place.as_ref() }
    }
}

/// A [`Signal`] in a span, on a cache line of its own, and words behind it.
#[derive(Debug)]
pub struct SignalledWords {
    signal: NonNull<Signal>,
    words: NonNull<AtomicU64>,
    count: usize,
    span: Span,
}

// SAFETY: a signal and words are atomics only, and the span keeps them mapped.
unsafe impl Send for SignalledWords {}
// SAFETY: as above.
unsafe impl Sync for SignalledWords {}

impl Clone for SignalledWords {
    /// Makes another handle of the same words.
    fn clone(&self) -> Self {
        Self { signal: self.signal, words: self.words, count: self.count, span: self.span.twin() }
    }
}

impl Placed for SignalledWords {
    const CLASS: u8 = 7;

    fn span(&self) -> &Span {
        &self.span
    }
}

impl SignalledWords {
    /// Bytes of a span for `count` words, or `None` if that overflows.
    #[must_use]
    pub fn bytes_for(count: usize) -> Option<usize> {
        count.checked_mul(size_of::<AtomicU64>())?.checked_add(SPAN_ALIGN)
    }

    /// Makes a signal and words of the bytes in `span`, as they are (zero is a valid start).
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(count)` bytes.
    pub fn new(span: Span, count: usize) -> Result<Self, Span> {
        if Self::bytes_for(count).is_none_or(|bytes| bytes > span.len()) {
            return Err(span);
        }
        let signal = span.start().cast();
        // SAFETY: the check above found that the span has a line for the signal and `count` words behind it.
        let words = unsafe { span.start().add(SPAN_ALIGN) }.cast();
        Ok(Self { signal, words, count, span })
    }

    /// Returns a handle of a signal and words that this process or another one made before.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn attach(existing: ExistingSpan<Self>, count: usize) -> Result<Self, Span> {
        Self::new(existing.into_span(), count)
    }

    /// The signal.
    #[inline]
    #[must_use]
    pub fn signal(&self) -> &Signal {
        // SAFETY: at the aligned start of a span that `self` keeps; any bits are a valid signal.
        unsafe { self.signal.as_ref() }
    }

    /// The words.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `count` words lie behind the signal, at a multiple of 64, in the span that `self` keeps; any bits are
        // valid, and only atomics access them.
        unsafe { NonNull::slice_from_raw_parts(self.words, self.count).as_ref() }
    }
}

const _: () = assert!(size_of::<Signal>() <= SPAN_ALIGN);
