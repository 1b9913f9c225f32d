//! A lock with a signal in front of it, in one span, for objects whose waiters look at locked data.

use std::mem::size_of;
use std::ptr::NonNull;

use crate::adaptive::Signal;
use crate::locked::{CONTROL_BYTES, Held, Locked};
use crate::named::{ExistingSpan, Placed};
use crate::span::{SPAN_ALIGN, Span};

/// A [`Locked`], and a [`Signal`] on a cache line of its own.
#[derive(Debug, Clone)]
pub struct SignalledLock {
    signal: NonNull<Signal>,
    /// Keeps the span alive.
    locked: Locked,
}

// SAFETY: a signal is atomics only, and the lock's span keeps it mapped.
unsafe impl Send for SignalledLock {}
// SAFETY: as above.
unsafe impl Sync for SignalledLock {}

impl SignalledLock {
    /// Bytes of a span for both and `data_len` bytes of data, or `None` if that overflows.
    #[must_use]
    pub fn bytes_for(data_len: usize) -> Option<usize> {
        data_len.checked_add(CONTROL_BYTES)?.checked_add(SPAN_ALIGN)
    }

    /// Makes a free lock in `span` behind a signal, whose words stay as they are (zero is a valid start); see
    /// [`Locked::new`].
    ///
    /// # Errors
    /// Returns the span if it has fewer than [`Self::bytes_for`]`(0)` bytes.
    pub fn new(span: Span, fill: impl FnOnce(&mut Held<'_>)) -> Result<Self, Span> {
        let signal = span.start().cast();
        Ok(Self { signal, locked: Locked::new_behind(SPAN_ALIGN, span, fill)? })
    }

    /// Returns a handle of a lock that this process or another one made before.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        let span = existing.into_span();
        let signal = span.start().cast();
        Ok(Self { signal, locked: Locked::over_behind(SPAN_ALIGN, span)? })
    }

    /// The signal. Any process may use it, whether or not the lock is held.
    #[must_use]
    pub fn signal(&self) -> &Signal {
        // SAFETY: the lock was made behind a line at the aligned start of its span, which it keeps mapped; any bits are
        // a valid signal, and the lock's data does not reach there.
        unsafe { self.signal.as_ref() }
    }

    /// The lock.
    #[must_use]
    pub fn locked(&self) -> &Locked {
        &self.locked
    }
}

impl Placed for SignalledLock {
    const CLASS: u8 = 2;

    fn span(&self) -> &Span {
        self.locked.span()
    }
}

const _: () = assert!(size_of::<Signal>() <= SPAN_ALIGN);
