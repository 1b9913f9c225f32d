//! `Brief`: a held lock for a few stores.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use crate::crash;
use crate::locked::Held;

/// A lock that is held for a section in which its thread takes no other lock and runs no user code. Dropping it
/// releases the lock.
///
/// It costs less than a [`Held`]. It lends nothing in place, since that would be user code. It does not count as held,
/// because no `fork` can happen in such a section.
#[derive(Debug)]
pub struct Brief<'a> {
    /// Never dropped, because its drop would look for the lock in the thread's list.
    held: ManuallyDrop<Held<'a>>,
}

impl<'a> Brief<'a> {
    #[inline(always)]
    pub(super) fn new(held: Held<'a>) -> Self {
        Self { held: ManuallyDrop::new(held) }
    }

    #[cold]
    pub(super) fn repair(&mut self, repair: impl FnOnce(&mut Held<'a>)) {
        repair(&mut self.held);
        crash::point();
    }
}

impl<'a> Deref for Brief<'a> {
    type Target = Held<'a>;

    #[inline(always)]
    fn deref(&self) -> &Held<'a> {
        &self.held
    }
}

impl DerefMut for Brief<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.held
    }
}

impl Drop for Brief<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.held.locked.control().mutex.release_briefly();
    }
}
