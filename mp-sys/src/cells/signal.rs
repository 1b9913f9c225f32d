//! A word that several processes wait on, in a span.

use std::mem::size_of;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::adaptive::Signal;
use crate::span::Span;

/// A [`Signal`] in a span: a word that several processes wait on.
#[derive(Debug)]
pub struct SharedSignal {
    place: NonNull<Signal>,
    _span: Span,
}

// SAFETY: a signal is atomics only, and the span keeps it mapped.
unsafe impl Send for SharedSignal {}
// SAFETY: as above.
unsafe impl Sync for SharedSignal {}

impl SharedSignal {
    /// Lays a signal into `span`, as it is there (zero is a valid start); gives the span back if it is too small.
    ///
    /// # Errors
    /// The span, if it is too small.
    pub fn new(span: Span) -> Result<Self, Span> {
        if span.len() < size_of::<Signal>() {
            return Err(span);
        }
        Ok(Self { place: span.start().cast(), _span: span })
    }
}

impl Deref for SharedSignal {
    type Target = Signal;

    fn deref(&self) -> &Signal {
        // SAFETY: `new` found room for a signal at the aligned start of a span that nothing else uses; any bits are one.
        unsafe { self.place.as_ref() }
    }
}
