//! A lock that its holder may take again.
//!
//! It is built on [`Locked`]. The calling thread's list shows exactly whether it holds the lock (see
//! [`crate::robust`]), so the code compares neither a thread id nor an owner word. (A pthread mutex of type RECURSIVE
//! lets two owners in if two PID namespaces hold equal thread ids.) The depth is stored in the data, which only the
//! holder reaches.
//!
//! It lends no data, because several entries exist at a time.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU32;

use crate::crash;
use crate::locked::{Held, Holder, Locked};
use crate::named::{ExistingSpan, Placed};
use crate::robust::{AcquireError, Generation, Patience};
use crate::span::Span;

/// The most times that a thread may enter before it leaves.
pub const DEPTH_MAX: u64 = 65_536;
/// Bytes of data before those that the tier uses.
pub const DEPTH_BYTES: usize = 8;
const DEPTH: usize = 0;

/// A lock that its holder may take again.
#[derive(Debug, Clone)]
pub struct Reentrant {
    locked: Locked,
}

impl Placed for Reentrant {
    const CLASS: u8 = 3;

    fn span(&self) -> &Span {
        self.locked.span()
    }
}

impl Reentrant {
    /// Makes a free lock in `span`.
    ///
    /// # Errors
    /// Returns the span if it is too small.
    pub fn new(span: Span) -> Result<Self, Span> {
        Ok(Self { locked: Locked::new(span, |_| {})? })
    }

    /// Returns a handle of a lock that this process or another one made before.
    ///
    /// # Errors
    /// Returns the span if it is too small.
    pub fn attach(existing: ExistingSpan<Self>) -> Result<Self, Span> {
        Ok(Self { locked: Locked::over(existing.into_span())? })
    }

    /// The flag of the lock.
    #[must_use]
    pub fn flag(&self) -> &AtomicU32 {
        self.locked.flag()
    }

    /// The thread that is inside.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.locked.holder()
    }

    /// Enters: takes the lock, or goes one level deeper if the calling thread holds it already. What the lock protects
    /// counts as lent while any entry exists.
    ///
    /// # Errors
    /// [`AcquireError`]; [`AcquireError::TooManyHeld`] also beyond [`DEPTH_MAX`].
    pub fn enter(
        &self,
        patience: Patience,
        repair: impl FnOnce(&mut Held<'_>),
    ) -> Result<Entered<'_>, AcquireError> {
        if let Some(held) = self.locked.held_here() {
            let depth = held.load_word(DEPTH);
            if depth >= DEPTH_MAX {
                held.stay_held();
                return Err(AcquireError::TooManyHeld);
            }
            held.store_word(DEPTH, depth.wrapping_add(1));
            crash::point();
            held.stay_held();
        } else {
            let held = self.locked.acquire(patience, repair)?.open_section();
            crash::point();
            held.store_word(DEPTH, 1);
            crash::point();
            held.stay_held();
        }
        Ok(self.entered())
    }

    /// Takes the lock, as deep as [`Entered::leave_for_a_while`] left it.
    ///
    /// # Errors
    /// Those of [`enter`](Self::enter).
    pub fn enter_again(
        &self,
        depth: u64,
        patience: Patience,
        repair: impl FnOnce(&mut Held<'_>),
    ) -> Result<Entered<'_>, AcquireError> {
        let held = self.locked.acquire(patience, repair)?.open_section();
        crash::point();
        held.store_word(DEPTH, depth.max(1));
        crash::point();
        held.stay_held();
        Ok(self.entered())
    }

    fn entered(&self) -> Entered<'_> {
        Entered { reentrant: self, taken: Generation::current(), not_send: PhantomData }
    }
}

/// An entry. Dropping it leaves; the last drop releases the lock.
#[derive(Debug)]
pub struct Entered<'a> {
    reentrant: &'a Reentrant,
    /// In a forked child, an inherited entry is of an older generation.
    taken: Generation,
    /// A robust lock belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Entered<'_> {
    /// Whether the calling thread really holds the lock. It does not if a forked child inherited this entry.
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.taken == Generation::current() && self.reentrant.locked.is_held_here()
    }

    /// Releases the lock at whatever depth it is held. Returns the depth, which is 0 if this thread does not hold the lock.
    /// Until the lock is taken again, dropping an entry does nothing.
    pub fn leave_for_a_while(&self) -> u64 {
        if self.taken != Generation::current() {
            return 0;
        }
        let Some(held) = self.reentrant.locked.held_here() else {
            return 0;
        };
        let depth = held.load_word(DEPTH);
        held.store_word(DEPTH, 0);
        crash::point();
        depth
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.taken != Generation::current() {
            return;
        }
        let Some(held) = self.reentrant.locked.held_here() else {
            return;
        };
        let depth = held.load_word(DEPTH);
        held.store_word(DEPTH, depth.saturating_sub(1));
        crash::point();
        if depth > 1 {
            held.stay_held();
        }
    }
}
