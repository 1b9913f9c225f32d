//! `Guard`: lends the data of a held lock in place.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::fork;
use crate::locked::Held;

/// A held lock that lends its data in place. Dropping it releases the lock.
///
/// # Panics
/// If a forked child uses a guard that it inherited, by any kind of fork: the parent still holds the lock and the data.
#[derive(Debug)]
pub struct Guard<'a, T: ?Sized> {
    data: NonNull<T>,
    held: Held<'a>,
    /// [`fork::depth`] of the process that took the lock. `held` cannot replace it: `held` knows only about the thread
    /// that took the lock, and threads may share a guard.
    depth: u32,
}

impl<'a, T: ?Sized> Guard<'a, T> {
    /// Lends `data`, which `held` protects.
    ///
    /// # Safety
    /// - `data` is a valid `T` in the data of `held`'s lock, aligned.
    #[inline(always)]
    pub(super) unsafe fn new(data: NonNull<T>, held: Held<'a>) -> Self {
        Self { data, held, depth: fork::depth() }
    }

    #[inline(always)]
    fn refuse_inherited(&self) {
        if self.depth != fork::depth() {
            inherited();
        }
    }

    /// Whether a forked child inherited this guard from its parent, so that using it would panic.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.depth != fork::depth()
    }

    /// Whether the calling thread really holds the lock. It does not if a forked child inherited this guard.
    #[inline(always)]
    #[must_use]
    pub fn is_held_here(&self) -> bool {
        self.held.is_held_here()
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.refuse_inherited();
        // SAFETY: made by `Held::into_guard`: valid, aligned, in memory that stays mapped, and under the held lock, which
        // this process took.
        unsafe { self.data.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.refuse_inherited();
        // SAFETY: as in `deref`, and `self` is exclusive.
        unsafe { self.data.as_mut() }
    }
}

// SAFETY: sharing a guard shares `&T` only, and `Element` types are Sync.
unsafe impl<T: ?Sized + Sync> Sync for Guard<'_, T> {}

#[cold]
#[inline(never)]
pub(super) fn inherited() -> ! {
    panic!("a forked child used a guard that it inherited: its parent holds the lock")
}
