//! `ArrayGuard`: the slice that [`Array::lock`](crate::Array::lock) lends.

use std::fmt;
use std::ops::{Deref, DerefMut};

use mp_sys::line::Count;
use mp_sys::locked::Guard;

use crate::array::Array;
use crate::element::Element;
use crate::protected::{PanicWatch, poison_text};

/// An [`Array`] lent in place, as a slice. Dropping it releases the lock.
///
/// It belongs to the thread that took it, and cannot be sent to another.
///
/// # Panics
/// Reading or writing through a guard that a forked child inherited: the parent holds the lock. `mp::fork` refuses while the
/// caller holds a guard; other ways to fork do not.
#[must_use = "the lock is released when the guard is dropped"]
pub struct ArrayGuard<'a, T: Element> {
    pub(super) owner: &'a Array<T>,
    pub(super) watch: PanicWatch,
    pub(super) data: Guard<'a, [T]>,
}

impl<'a, T: Element> ArrayGuard<'a, T> {
    pub(crate) fn owner(&self) -> &'a Array<T> {
        self.owner
    }
}

impl<T: Element> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data
    }
}

impl<T: Element> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data
    }
}

impl<T: Element> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        // An inherited guard, in a forked child, holds nothing.
        if self.watch.panicked() && self.data.is_held_here() {
            self.owner.protected.poison();
        }
    }
}

impl<T: Element> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data.is_inherited() {
            return f.write_str("ArrayGuard(its parent's)");
        }
        write!(f, "ArrayGuard({})", Count(self.owner.len, "element"))
    }
}

impl<T: Element> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holder, poison) = (self.protected.holder(), poison_text(self.is_poisoned()));
        write!(f, "Array({}, {holder}{poison})", Count(self.len, "element"))
    }
}
